"""What of a URL, a header, a message or another's words is shown to people: never a secret, no control characters.

`Header` shows names only by itself.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from contextlib import suppress

MASK = "***"
_WORD = re.compile(r"(?<!\S)[^\s@?/\\]*[@?/\\]\S*")  # with a mark that every URL has, or its userinfo, or query
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}:[/\\]{2}")  # bounded, so that it takes linear time
_PART = re.compile(r'[^"<>]+')  # of a word: no URL has these marks, which often surround one
_LIKE_URL = re.compile(r"[^:]*:[^@]*@|[^/]*//[^/]*@|[^?/]*/[^?]*\?[\w%]|[^?]*\?[^=]*=|[^#]*#[\w.%-]+=")
"""What starts as userinfo, or as a path or a name with a query or parameters in its fragment, without a scheme."""
_AFTER_URL = "\"')>],.;:!"
_SCHEME = re.compile(r"[^:/?#@\\]*:[/\\]{2,}|(?:wss?|https?):[/\\]?|[/\\]*", re.IGNORECASE)  # as browsers take them
_MARK = re.compile(r"([?#])")
_AUTHORITY = re.compile(r"(?:@?[^:\[\]@%\s]+|\[[^\]@\s]*\])?(?::[0-9]+)?")  # RFC 3986 section 3.2, without userinfo
_UNTIL_AT = re.compile(r".*(?:@|%40)", re.DOTALL)
_NESTED = re.compile(r"[:\s]|//|%3a", re.IGNORECASE)  # what another URL in a path has before its userinfo ends
_HIDDEN_ARGUMENTS = frozenset({"header", "protocols", "data", "message", "reply", "answer", "line"})
"""Arguments of which no value is ever quoted: what they hold may be a secret."""
_URL_ARGUMENTS = frozenset({"url", "target", "proxy"})
_INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode's control characters, surrogates, line separators
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120


def mask_url(url: str) -> str:
    """Return a URL, well-formed or not, without its userinfo, query and fragment, which may be secrets.

    What stands before an ``@`` is userinfo, except in the path of a well-formed URL, as in ``/@user``.
    """
    scheme = _SCHEME.match(url)
    start = scheme[0] if scheme else ""
    place, mark, hidden = (*_MARK.split(url[len(start) :], maxsplit=1), "", "")[:3]
    authority, slash, path = place.partition("/")
    is_plain = _AUTHORITY.fullmatch(authority)
    is_absolute = is_plain and (start == "/" or start.endswith("//"))
    if is_absolute:
        start, place = f"{start}{authority}{slash}", path
    until_at, is_late = _UNTIL_AT.match(place), _UNTIL_AT.match(hidden)
    before = place if is_late else until_at[0] if until_at else ""
    if not is_plain or (until_at and not is_absolute) or _NESTED.search(f"/{before}"):
        if is_late:
            return printable(f"{start}{MASK}")  # a password may hold any mark, and so may a query
        if until_at:
            place = f"{MASK}@{place[until_at.end() :]}"
        elif not is_plain and authority.partition(":")[2]:
            place = f"{authority.partition(':')[0]}:{MASK}{slash}{path}"  # a port that is none may be a password
    return printable(f"{start}{place}{mark}{MASK if mark else ''}")


def printable(text: str, limit: int | None = None) -> str:
    r"""Return text with its control characters made visible, as in ``\x1b``, and cut to so many characters."""
    if limit is not None and len(text) > limit:
        text = text[:limit] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character != "\t" and (unicodedata.category(character) in _INVISIBLE or character in _REORDERING):
        return f"\\x{ord(character):02x}" if character <= "\xff" else f"\\u{ord(character):04x}"
    return character


def quoted(text: str, limit: int | None = None) -> str:
    """Return what a peer or another program said: `printable`, and masked the URLs in it and what looks like one."""
    return printable(_WORD.sub(_mask_word, text), limit)


def _mask_word(word: re.Match[str]) -> str:
    url = _URL.search(word[0])
    start = url.start() if url else len(word[0])
    before = _PART.sub(lambda part: _mask_found(part[0]) if _LIKE_URL.match(part[0]) else part[0], word[0][:start])
    return before + _mask_found(word[0][start:])


def _mask_found(text: str) -> str:
    url = text.rstrip(_AFTER_URL)
    return mask_url(url) + text[len(url) :]


def kind_of(value: object) -> str:
    """Return what kind of value it is, and nothing of what is in it."""
    name = type(value).__name__
    with suppress(Exception):  # of a subclass, or of a memoryview that was released
        if isinstance(value, str):
            return f"a {name} of {len(value)} characters"
        if isinstance(value, bytes | bytearray | memoryview):
            return f"{name} of length {len(value)}"
    return "None" if value is None else f"a value of the type {name}"


def text_of(error: BaseException | None) -> str:
    """Return what an error says, or the name of its type where it says nothing, or raises instead."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (whatever a program's own raises)
        text = ""
    return text or type(error).__name__


def shown_value(argument: str, value: object) -> str:
    """Return what an error says of the value of an argument."""
    if argument.lstrip("-") in _HIDDEN_ARGUMENTS:
        return kind_of(value)
    if argument in _URL_ARGUMENTS:
        return repr(mask_url(value)) if isinstance(value, str) else kind_of(value)
    try:
        return quoted(_SHORT.repr(value))
    except Exception:  # noqa: BLE001 (of a program's own, or a number of more digits than Python writes)
        return kind_of(value)


def name_character(text: str, position: int) -> str:
    """Name the character that breaks a rule, and where it stands, instead of quoting what is around it."""
    return f"U+{ord(text[position]):04X} at position {position}"
