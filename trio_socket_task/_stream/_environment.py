"""Which proxy a connection goes through: the one that was asked for, or the environment's."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

from trio_socket_task._errors import InvalidOptionsError, ProxyError
from trio_socket_task._options import Options
from trio_socket_task._proxy_url import Proxy, parse_proxy
from trio_socket_task._url import Address

_KINDS = {True: ("wss", "socks", "https", "all"), False: ("ws", "socks", "https", "http", "all")}
"""Whose proxy is taken, the preferred one first: the scheme's own, then as in RFC 6455 section 4.1, step 3."""
_ASKS_SYSTEM = sys.platform in ("darwin", "win32")
"""Whether the settings of the system count, too, where the environment has none."""


def choose_proxy(options: Options) -> Proxy | None:
    """Return the proxy of a connection; None where it goes straight to the server.

    Raises:
        ProxyError: The environment names one that is none.
    """
    if options.proxy is not True:
        return options.proxy
    if options.dial is not None or is_loopback(options.address.host):
        return None
    if not _ASKS_SYSTEM and not any(name[-6:].lower() == "_proxy" for name in os.environ):
        return None  # before what asks takes milliseconds to import
    return _proxy_of_environment(options.address)


def _proxy_of_environment(address: Address) -> Proxy | None:
    from urllib import request  # noqa: PLC0415 (as said)

    proxies = request.getproxies()
    kind = next((kind for kind in _KINDS[address.secure] if proxies.get(kind)), None)
    # A name may be listed with or without a port, an address of IPv6 with or without brackets.
    names = (f"{address.server_name}:{address.port}", address.peer)
    if kind is None or any(request.proxy_bypass(name) for name in names):
        return None
    url = proxies[kind]
    bare = url.removeprefix("http://") if kind == "socks" else url  # some systems write SOCKS like this
    if "://" not in bare:
        url = f"{'socks5h' if kind == 'socks' else 'http'}://{bare}"
    try:
        return parse_proxy(url)
    except InvalidOptionsError as error:
        source = _source(f"{kind}_proxy")
        why = f"{source} names a proxy that is none: it {error.rule}"
        raise ProxyError(address.url, why) from error


def _source(variable: str) -> str:
    """Return where a proxy was named, to people."""
    for name in (variable, variable.upper()):
        if name in os.environ:
            return f"the environment variable {name}"
    return f"the environment, or the system, by {variable.upper()}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by name (RFC 6761 section 6.3) or address."""
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if ":" in name:
        address = ipaddress.IPv6Address(name)
        return (address.ipv4_mapped or address).is_loopback
    if not name[-1:].isalnum() or not name[:1].isdigit():
        return False
    try:
        return socket.inet_aton(name)[0] == 127  # noqa: PLR2004 (RFC 1122 section 3.2.1.3; also such as 127.1)
    except OSError:
        return False
