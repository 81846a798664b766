"""What the body of a refusal says to a person."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Mapping
from contextlib import suppress

from trio_socket_task._text import quoted

SHOWN = 200
"""Characters shown of a body: a sentence or two, and no more than fits into a log line."""
_READ = 16 * 1024
"""Bytes of a body that are looked at."""
_TEXT = re.compile(r"(text/.*|.*[/+](json|xml)|)")  # RFC 6838 section 4.2.8; none where the server does not say
_HTML = "text/html"
_UNSEEN = re.compile(r"<(script|style)\b.*?(</\1\s*>|$)|<!--.*?(-->|$)|<[^>]*(>|$)", re.DOTALL | re.IGNORECASE)


def explanation(header: Mapping[str, str], body: bytes) -> str:
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
    return quoted(" ".join(text.split()), SHOWN)
