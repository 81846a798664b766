"""What a refusal says to a person: its words, without the secrets of the request that they may repeat."""

from __future__ import annotations

import base64
import codecs
import html
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from urllib.parse import unquote

import h11

from trio_socket_task._text import MASK, quoted

SHOWN = 200
"""Characters shown of a body: a sentence or two, and no more than fits into a log line."""
_READ = 16 * 1024
"""Bytes of a body that are looked at, and characters of any other text."""
_LONGEST = 32 * 1024
"""Characters of query and fields up to which they are taken apart: more than servers take. In the answer to more every
word is masked that stands in them."""
_LEAST_READ = 1024
"""Characters of the answer to more that are looked at."""
_TEXT = re.compile(r"(text/.*|.*[/+](json|xml)|)")  # RFC 6838 section 4.2.8; none where the server does not say
_HTML = "text/html"
_UNSEEN = re.compile(r"<(script|style)\b.*?(</\1\s*>|$)|<!--.*?(-->|$)|<[^>]*(>|$)", re.DOTALL | re.IGNORECASE)
_PUBLIC = re.compile(
    rb"host|origin|user-agent|accept(-charset|-encoding|-language)?|content-type|cache-control|pragma|upgrade"
    rb"|connection|sec-websocket-(version|extensions)"
)
"""Fields that tell of the program or the connection; the value of any other may be a secret, a subprotocol, too."""
_NAME = re.compile(
    r".*(token|secret|passw|passphrase|credential|signature|session|ticket|jwt|csrf|xsrf|auth(?!or(?!i[sz]))).*"
    r"|.*(key|pass|pwd|sid|sig|code|nonce|otp)\W*",
    re.IGNORECASE,
)
"""Names of fields, parameters and cookies whose values are secrets, whatever they look like."""
_LONGEST_NAME = 64
"""Characters of a longer name that count, its last."""
_ORDINARY = re.compile(
    r"algorithm|aws4|basic|bearer|credentials?|date|digest|false|hmac|host|none|null|realm|request|response|ticket|true"
    r"|(access|api|auth|client|refresh|session|user)?(auth|code|id|key|name|pass|passw(or)?d|secret|session|token|user)"
    r"|access|authorization|client|refresh|signature"
)
"""Words beside a secret, in lower case: schemes, names of parameters, and what stands there instead of a secret."""
_LEAST = 4
"""Characters of a word that is masked alone: a shorter one stands in any sentence by chance."""
_RANDOM = re.compile(r"(?=.{8})(?:[^\W_]*[_-])*(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{6}[\w-]*", re.IGNORECASE)
"""What looks like a secret whatever its name is: eight characters, of which letters and digits are mixed in a word."""
_RUN = re.compile(r"[\w-]+")
_PREFIX = 8
"""Characters by which a secret is known that a server has shortened."""
_ESCAPE = re.compile(
    r"%([0-9a-f]{2})|\\u([0-9a-f]{4})|&#x([0-9a-f]{1,6});|&#([0-9]{1,7});|\\[\\/\"'bfnrt]"
    r"|&(?:amp|apos|equals|gt|lt|nbsp|num|percnt|plus|quot|sol);",
    re.IGNORECASE,
)
"""A character as URLs, JSON, HTML and XML write it."""
_DEPTH = 3
"""How often one is written inside another, as in ``%252B``."""
_FILLER = "\0"
_GAP = rf"{_FILLER}{{0,32}}"  # bounded, so that it takes linear time
_WORD = re.compile(rf"(?:(?:{_GAP}[a-zA-Z0-9])+|(?:{_GAP}[^\W -~])+)(?:{_GAP}=(?!{_GAP}[^\W_])){{0,2}}")
"""A word, with the padding of base64. Chinese words, say, stand beside others without a space."""


def mask_echo(request: h11.Request, text: str) -> str:
    """Return what was answered to a request, with its query and the secrets of its fields masked.

    Servers and proxies quote requests that they refuse, whole, in parts or shortened, and in the spelling of another
    format. So the words of the text are compared, and which word follows which, and not what stands between them: this
    takes a time in proportion to the lengths of request and text.
    """
    path, _, query = request.target.decode().partition("?")
    fields = [("", query)]
    fields += [(name.decode(), value.decode()) for name, value in request.headers if not _PUBLIC.fullmatch(name)]
    shown = set(_words(f"{path} {dict(request.headers)[b'host'].decode()}"))  # as in the URL that errors name
    if sum(len(name) + len(value) for name, value in fields) > _LONGEST:
        text, values = text[:_LEAST_READ], _FILLER.join(value for _, value in fields).lower()
        values += unquote(values)
        words = {word for word in _words(text) if len(word) >= _LEAST and word in values}
        return _mask({(word,) for word in words - shown if not _ORDINARY.fullmatch(word)}, shown, text)
    if query:
        text = text.replace(f"?{query}", f"?{MASK}")
    secrets = {secret for name, value in fields for secret in _secrets(name, value) if not shown.issuperset(secret)}
    return _mask(secrets, shown, text[:_READ])


def _mask(secrets: set[tuple[str, ...]], shown: set[str], text: str) -> str:
    longer = sorted(secret[0] for secret in secrets if len(secret) == 1)
    spans: list[tuple[int, int]] = []
    before, start = "", 0
    for found in _WORD.finditer(_unescape(text)):
        word = _word(found)
        if (before, word) in secrets:
            spans.append((start, found.end()))
        if (word,) in secrets or (len(word) >= _PREFIX and word not in shown and _begins(word, longer)):
            spans.append(found.span())
        before, start = word, found.start()
    parts, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += [text[end:start], MASK]
        end = stop
    return "".join([*parts, text[end:]])


def _begins(word: str, longer: list[str]) -> bool:
    """Whether one of the words, which are sorted, starts with a word."""
    at = bisect_left(longer, word)
    return at < len(longer) and longer[at].startswith(word)


def _secrets(name: str, value: str) -> Iterator[tuple[str, ...]]:
    """Return what is masked of the value of a field, or of a query: words, and words that follow one another."""
    plain = _unescape(value).replace(_FILLER, "")
    whole = [value] if _NAME.fullmatch(name) else []
    parts = re.split(r"[;,\s]" if name else "&", value)
    for part in (*parts, *re.split(r"[?&;,\s]", plain)):  # the latter of a URL in a parameter, or of a list in a cookie
        pairs = part.partition("="), part.partition(":")
        whole += [rest for key, _, rest in pairs if _NAME.fullmatch(key[-_LONGEST_NAME:])]
    whole += [run for run in _RUN.findall(plain) if _RANDOM.match(run)]
    scheme, *credentials = value.split(maxsplit=1)[:2] or [""]
    if scheme.lower() == "basic":
        with suppress(ValueError):  # it is not base64, or not text
            whole.append(base64.b64decode("".join(credentials)).decode())
    whole += [unquote(secret) for secret in whole]
    whole += [secret.encode(errors="replace").decode("latin-1") for secret in whole]  # as HTTP takes what is not ASCII
    whole += [secret.replace("\\", " ") for secret in whole]  # as JSON takes the mark, whatever letter comes behind it
    for secret in set(whole):
        words = _words(secret)
        yield from pairwise(words)
        yield from ((word,) for word in words if len(word) >= _LEAST and not _ORDINARY.fullmatch(word))


def _words(text: str) -> list[str]:
    return [_word(found) for found in _WORD.finditer(_unescape(text))]


def _word(found: re.Match[str]) -> str:
    return found[0].replace(_FILLER, "").rstrip("=").lower()


def _unescape(text: str) -> str:
    """Return text of the same length, where what is escaped stands at the end of its escape, behind fillers."""
    for _ in range(_DEPTH):
        text = _ESCAPE.sub(lambda escape: _character(escape).rjust(len(escape[0]), _FILLER), text)
    return text


def _character(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    if code:
        return chr(int(code, 16))
    return html.unescape(escape[0])[:1] if escape[3] or escape[4] else " "  # others are of marks, none of a word


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
