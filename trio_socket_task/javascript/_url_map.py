"""Where the URLs of a script really lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast, final
from urllib.parse import urlsplit

from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._text import mask_url
from trio_socket_task._url import check_url

_ANY: Final = "*"


@final
class UrlMap:
    """Beginnings of URLs, each with what takes its place; ``*`` is whatever is left, up to its path."""

    def __init__(self, places: Mapping[str, str] | None) -> None:
        """Check the map.

        Raises:
            InvalidOptionsError: It maps what is no ws or wss URL, or to what is none.
        """
        self._places: list[tuple[str, str]] = []
        if not isinstance(places, Mapping | None):
            raise InvalidOptionsError("map", type(places).__name__, "must be a mapping of URLs to URLs")
        for start, place in (places or {}).items():
            for url in (place,) if start == _ANY else (start, place):
                _check(url)
            self._places.append((start.rstrip("/"), place.rstrip("/")))
        self._places.sort(key=lambda one: (one[0] != _ANY, len(one[0])), reverse=True)

    def lookup(self, url: str) -> str:
        """Return where a URL leads."""
        for start, place in self._places:
            if start == _ANY:
                parts = urlsplit(url)
                if parts.scheme.lower() in {"ws", "wss"}:
                    return place + parts._replace(scheme="", netloc="").geturl()
            elif url == start or url.startswith((f"{start}/", f"{start}?")):
                return place + url[len(start) :]
        return url


def _check(url: object) -> None:
    try:
        check_url(cast("str", url))
    except InvalidOptionsError as error:
        shown = mask_url(url) if isinstance(url, str) else type(url).__name__
        raise InvalidOptionsError("map", shown, f"must map ws or wss URLs to such: url {error.rule}") from None
