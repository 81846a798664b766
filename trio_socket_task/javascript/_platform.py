"""What the engine lacks and Python has: text codecs and URLs; and time and chance, which a test wants for itself."""

from __future__ import annotations

import base64
import codecs
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, final
from urllib.parse import quote, urljoin, urlsplit

import trio

_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
_ENCODINGS: Final = {
    **{name: name for name in ("utf-8", "koi8-r", "koi8-u", "gbk", "gb18030", "big5", "shift_jis")},
    **{f"iso8859-{number}": f"iso-8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    **{f"cp{number}": f"windows-{number}" for number in range(1250, 1259)},
    **dict.fromkeys(("ascii", "iso8859-1"), "windows-1252"),
    "iso8859-9": "windows-1254",
    **dict.fromkeys(("utf-16", "utf-16-le"), "utf-16le"),
    "utf-16-be": "utf-16be",
    "cp866": "ibm866",
    "mac-roman": "macintosh",
    "gb2312": "gbk",
    "big5hkscs": "big5",
    "cp932": "shift_jis",
    "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp",
    **dict.fromkeys(("euc_kr", "cp949"), "euc-kr"),
    **dict.fromkeys(("tis-620", "iso8859-11", "cp874"), "windows-874"),
}
"""The encodings of the Encoding Standard that Python has, by Python's names."""
_WIDER: Final = {"big5": "big5hkscs", "shift_jis": "cp932", "euc-kr": "cp949", "windows-874": "cp874"}
"""Python's names of those that have more characters in the standard than Python's codec of that name."""
_SAFE: Final = "!$%&'()*+,-./:;=?@[]_~|"


@final
class Clock:
    """The script's wall clock: it begins at the time that it is given, and goes on as Trio's does."""

    def __init__(self, start: float | None) -> None:
        self._offset = (time.time() if start is None else start) - trio.current_time()

    def milliseconds(self) -> float:
        """Return the milliseconds since 1970."""
        return (trio.current_time() + self._offset) * 1000

    def of_trio(self, milliseconds: float) -> int:
        """Return the milliseconds since 1970 of a time on Trio's clock."""
        return round(milliseconds + self._offset * 1000)


def random_answers(seed: int | None) -> dict[str, Callable[[], object]]:
    """Return what the prelude asks of chance."""
    return {"isSeeded": lambda: seed is not None, "random": Random(seed).random}  # noqa: S311 (a script's jitter)


def codec(label: str) -> str:
    """Return the name that the Encoding Standard has for an encoding.

    Raises:
        ValueError: There is none of that label.
    """
    try:
        return _ENCODINGS[codecs.lookup(label.strip()).name]
    except (LookupError, ValueError):
        raise ValueError(f"there is no encoding {label!r}") from None


def encode(text: str) -> str:
    """Return text in UTF-8, in Base64."""
    return base64.b64encode(text.encode()).decode()


def decode(encoding: str, is_fatal: object, is_stream: object, data: str) -> list[str]:
    """Return the text of bytes in Base64, and in Base64 the bytes of a character that is not complete.

    Raises:
        TypeError: The bytes are not in that encoding, and that is fatal.
    """
    decoder = codecs.getincrementaldecoder(_WIDER.get(encoding, encoding))("strict" if is_fatal else "replace")
    try:
        text = decoder.decode(base64.b64decode(data), final=not is_stream)
    except UnicodeError:
        raise TypeError(f"the data is not valid {encoding}") from None
    return [text, base64.b64encode(decoder.getstate()[0]).decode()]


def split_url(url: str, base: str | None) -> Mapping[str, str]:
    """Return the parts of a URL by the names that JavaScript has for them.

    Raises:
        TypeError: It is none.
    """
    try:
        parts = urlsplit(urljoin(base, url.strip()) if base is not None else url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_special = parts.scheme in _PORTS
    if not parts.scheme or (is_special and not parts.hostname):
        raise TypeError(f"Invalid URL: {url}")
    host = parts.hostname or ""
    return {
        "protocol": f"{parts.scheme}:",
        "username": parts.username or "",
        "password": parts.password or "",
        "hostname": f"[{host}]" if ":" in host else host,
        "port": "" if port is None or port == _PORTS.get(parts.scheme) else str(port),
        "pathname": quote(parts.path, safe=_SAFE) or ("/" if is_special else ""),
        "search": f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "",
        "hash": f"#{quote(parts.fragment, safe=_SAFE)}" if parts.fragment else "",
    }
