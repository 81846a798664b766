"""The URL of a proxy, checked and taken apart."""

from __future__ import annotations

import functools
import re
from typing import Literal, final
from urllib.parse import SplitResult, unquote

import attrs

from ._errors import InvalidOptionsError
from ._url import RefusedError, port_of, split_host, split_url

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_CREDENTIAL = 255  # RFC 1929 section 2


@final
@attrs.frozen(kw_only=True, repr=False)
class Proxy:
    """A proxy, and who asks it."""

    scheme: str
    """One of http, https, socks4, socks4a, socks5 and socks5h."""
    host: str
    """The name in its ASCII form, or the address without brackets."""
    port: int
    """The port."""
    peer: str
    """The host and the port, as they are named to people."""
    server_name: str
    """The name that TLS asks for and checks: without a trailing dot (RFC 6066 section 3)."""
    user: str | None
    """None where it is not told who asks."""
    password: str | None
    """None where there is no user, and with SOCKS 4, which knows none."""


def check_proxy(proxy: object, *, dials: bool) -> Proxy | Literal[True] | None:
    """Check the option `proxy`, which cannot be a URL where the program `dials` by itself.

    Raises:
        InvalidOptionsError: It breaks its rule.
    """
    if proxy is None or proxy is True:
        return proxy
    if not isinstance(proxy, str):
        raise InvalidOptionsError("proxy", proxy, "must be a URL, True for the environment's proxy, or None for none")
    if dials:
        raise InvalidOptionsError("proxy", proxy, "must not be given together with dial, which finds its own way")
    return parse_proxy(proxy)


def parse_proxy(url: str) -> Proxy:
    """Take the URL of a proxy apart.

    Raises:
        InvalidOptionsError: It is none.
    """
    try:
        return _take_apart(url)
    except RefusedError as refusal:
        rule = str(refusal)
    raise InvalidOptionsError("proxy", url, rule)  # not in the block above: its errors may quote the URL


@functools.lru_cache  # as the URLs of servers
def _take_apart(url: str) -> Proxy:
    parts = split_url(url)
    if "://" not in url or parts.scheme not in _DEFAULT_PORTS:
        raise RefusedError(f"must start with one of {', '.join(f'{scheme}://' for scheme in _DEFAULT_PORTS)}")
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        raise RefusedError("must have neither path nor query nor fragment, of which a user and a password have %-codes")
    host, written_host = split_host(parts)
    port = port_of(parts, _DEFAULT_PORTS[parts.scheme])
    user, password = _credentials(parts)
    return Proxy(
        scheme=parts.scheme,
        host=host,
        port=port,
        peer=f"{written_host}:{port}",
        server_name=host.rstrip("."),
        user=user,
        password=password,
    )


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    """Return the user and the password, without their %-codes."""
    if "@" not in parts.netloc:
        return None, None
    try:
        user = unquote(parts.username or "", errors="strict")
        password = None if parts.password is None else unquote(parts.password, errors="strict")
    except UnicodeDecodeError as error:
        raise RefusedError("must have %-codes of UTF-8 in user and password") from error
    if not user or (password is None and not parts.scheme.startswith("socks4")):
        raise RefusedError("must have both a user and a password, or neither")
    both = user + (password or "")
    if _CONTROL.search(both):
        raise RefusedError("must not have control characters in user and password")
    if parts.scheme.startswith("http"):
        if ":" in user:
            raise RefusedError("must have no colon in its user (RFC 7617 section 2)")
    elif not both.isascii() or not all(0 < len(one) <= _MAX_CREDENTIAL for one in (user, password) if one is not None):
        raise RefusedError(f"must have a user and a password of 1 to {_MAX_CREDENTIAL} ASCII characters (RFC 1929)")
    return user, password
