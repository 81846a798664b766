"""What a refusal says to a person: its words, without the secrets of the request that they may repeat."""

from __future__ import annotations

import base64
import codecs
import html
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import h11

from trio_socket_task._text import MASK, quoted

SHOWN = 200
"""Characters shown of a body: a sentence or two, and no more than fits into a log line."""
_READ = 16 * 1024
"""Bytes of a body that are looked at."""
_TEXT = re.compile(r"(text/.*|.*[/+](json|xml)|)")  # RFC 6838 section 4.2.8; none where the server does not say
_HTML = "text/html"
_UNSEEN = re.compile(r"<(script|style)\b.*?(</\1\s*>|$)|<!--.*?(-->|$)|<[^>]*(>|$)", re.DOTALL | re.IGNORECASE)
_LEAST = 4
"""Characters of what is masked: what is shorter stands in any sentence by chance, and is too short for a secret."""
_LONGEST = 3
"""By how much a secret may be longer than the text that it stands in, where its characters are %-codes."""
_PUBLIC = re.compile(rb"host|origin|user-agent|accept.*|upgrade|connection|sec-websocket-(version|extensions)")
"""Fields that tell of the program or the connection; the value of any other may be a secret, a subprotocol, too."""
_SEPARATOR = re.compile(r"[&;,]\s*")


def mask_echo(request: h11.Request, text: str) -> str:
    """Return what was answered to a request, with its query and the values of its fields masked.

    Servers and proxies quote requests that they refuse.
    """
    path, _, query = request.target.decode().partition("?")
    shown = path + dict(request.headers)[b"host"].decode()  # as in the URL that errors name
    values = [query, *(value.decode() for name, value in request.headers if not _PUBLIC.fullmatch(name))]
    secrets = {part for value in values for part in _parts(value) if len(part) <= _LONGEST * len(text)}
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) >= _LEAST and spelling not in shown:
            text = text.replace(spelling, MASK)
    return text


def _parts(value: str) -> Iterator[str]:
    """Return a value, and what of it servers quote alone: credentials, parameters, cookies; all without their names."""
    yield value
    scheme, _, credentials = value.partition(" ")
    yield credentials
    for part in _SEPARATOR.split(value):
        yield part.partition("=")[2].strip('"') or part
    if scheme.lower() == "basic":
        with suppress(ValueError):  # it is not base64, or not text
            userinfo = base64.b64decode(credentials).decode()
            yield from (userinfo, *userinfo.split(":", 1))


def _spellings(secret: str) -> Iterator[str]:
    """Return a secret as URLs, JSON, HTML and HTTP write it."""
    for plain in (secret, unquote(secret), unquote_plus(secret)):
        yield from (plain, " ".join(plain.split()), quote(plain), quote(plain, safe=""), quote_plus(plain))
        yield from (
            html.escape(plain),
            plain.replace("/", r"\/"),
            json.dumps(plain)[1:-1],
            plain.encode().decode("latin-1"),
        )


def explanation(header: Mapping[str, str], body: bytes, request: h11.Request) -> str:
    """Return what a body of text, JSON or HTML says, on one line, cut; nothing for other kinds."""
    kind = header.get("Content-Type", "").partition(";")[0].strip().lower()
    is_encoded = header.get("Content-Encoding", "identity").strip().lower() != "identity"
    if is_encoded or not _TEXT.fullmatch(kind):
        return ""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body[:_READ])  # it may be cut inside a character
    except UnicodeDecodeError:
        if not kind:
            return ""
        text = body[:_READ].decode("latin-1")
    if "\0" in text:
        return ""
    if kind == _HTML or (not kind and text.lstrip().startswith("<")):
        text = _UNSEEN.sub(" ", text)
        with suppress(ValueError):  # a character's number of more digits than Python reads
            text = html.unescape(text)
    return quoted(mask_echo(request, " ".join(text.split())), SHOWN)
