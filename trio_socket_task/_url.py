"""A URL, checked and taken apart (RFC 6455 section 3)."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import final
from urllib.parse import SplitResult, quote, urlsplit

import attrs
import idna

from ._errors import InvalidOptionsError

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_MAX_PORT = 65535
_MAX_NAME = 253  # RFC 1035 section 2.3.4, without the root's own dot
_FORBIDDEN = re.compile(r"[^!#-;=?-\[\]_a-z~]")  # RFC 3986 section 2; brackets are common, and harm nobody
_NAME = re.compile(r"(?:[a-z0-9_~-]{1,63}\.)*[a-z0-9_~-]{1,63}\.?")


@final
@attrs.frozen(kw_only=True, repr=False)
class Address:
    """Where a socket goes."""

    url: str
    """As the caller gave it."""
    secure: bool
    """Whether the scheme is wss."""
    host: str
    """The name in its ASCII form, or the address without brackets."""
    port: int
    """The port."""
    host_header: str
    """The value of the Host field: the port is named unless it is the scheme's own (RFC 7230 section 5.4)."""
    target: str
    """The path and the query, percent-encoded where a URL may not have the character (RFC 3986 section 2)."""
    peer: str
    """The host and the port, as they are named to people."""
    server_name: str
    """The name that TLS asks for and checks: without a trailing dot (RFC 6066 section 3)."""


def check_url(url: str) -> Address:
    """Take `url` apart.

    Raises:
        InvalidOptionsError: It is not an absolute ws or wss URL without fragment and userinfo, or its host or port is
            none.
    """
    if not isinstance(url, str):
        raise InvalidOptionsError("url", url, "must be a str")
    try:
        return _take_apart(url)
    except RefusedError as refusal:
        rule = str(refusal)
    raise InvalidOptionsError("url", url, rule)  # not in the block above: its errors may quote the URL


class RefusedError(ValueError):
    """Why a URL is refused, on its way to whoever knows what it is the URL of."""


@functools.lru_cache  # programs open the same URLs again and again
def _take_apart(url: str) -> Address:
    parts = split_url(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise RefusedError("must be absolute, starting with ws:// or wss://")
    if "#" in url:
        raise RefusedError("must not have a fragment (RFC 6455 section 3)")
    if "@" in parts.netloc:
        raise RefusedError("must not have userinfo; put credentials into header")
    host, written_host = split_host(parts)
    default_port = _DEFAULT_PORTS[parts.scheme]
    port = port_of(parts, default_port)
    target = (parts.path or "/") + (f"?{parts.query}" if "?" in url else "")
    return Address(
        url=url,
        secure=parts.scheme == "wss",
        host=host,
        server_name=host.rstrip("."),
        peer=f"{written_host}:{port}",
        port=port,
        host_header=written_host if port == default_port else f"{written_host}:{port}",
        target=_FORBIDDEN.sub(lambda found: quote(found[0]), target),
    )


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL of whatever scheme.

    Raises:
        RefusedError: It is not well-formed.
    """
    if any(character <= " " or character == "\x7f" or character.isspace() for character in url):
        raise RefusedError("must not contain white space or control characters")
    if any("\ud800" <= character <= "\udfff" for character in url):
        raise RefusedError("must not contain lone surrogates")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise RefusedError("must be well-formed (RFC 3986 section 3)") from error


def port_of(parts: SplitResult, default: int) -> int:
    """Return the port.

    Raises:
        RefusedError: It is none.
    """
    try:
        port = default if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise RefusedError(f"must have a port from 1 to {_MAX_PORT}")
    return port


def split_host(parts: SplitResult) -> tuple[str, str]:
    """Return the host as a resolver takes it, and as it is written in a Host field.

    Raises:
        RefusedError: It is none.
    """
    host = parts.hostname
    if not host:
        raise RefusedError("must have a host")
    if "[" in parts.netloc:
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise RefusedError(f"must have a valid IPv6 address in its brackets ({error})") from error
        if "%" in host:
            raise RefusedError("must have an IPv6 address without a zone")
        return host, f"[{host}]"
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError as error:
            raise RefusedError(f"must have a valid international host name ({error})") from error
    if not _NAME.fullmatch(host) or len(host.rstrip(".")) > _MAX_NAME:
        raise RefusedError("must have a valid host name")
    return host, host
