"""A SOCKS proxy's part of an opening, by python-socks, which only this module needs."""

from __future__ import annotations

import math
from typing import final

import python_socks
import trio
from python_socks.async_ import trio as trio_socks

from trio_socket_task._proxy_url import Proxy

_TYPES = {"4": python_socks.ProxyType.SOCKS4, "5": python_socks.ProxyType.SOCKS5}


@final
class _Connected(trio_socks.Proxy):
    """The connection to the proxy, in place of one that python-socks would make to the proxy's first address only."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(python_socks.ProxyType.SOCKS5, "", 0)
        self._stream = stream

    async def connect(self, *_arguments: object, **_keywords: object) -> trio.socket.SocketType:
        """Return it."""
        await trio.lowlevel.checkpoint()
        return self._stream.socket


async def ask_to_connect(stream: trio.SocketStream, proxy: Proxy, host: str, port: int) -> None:
    """Let the proxy connect to the server; if it is cancelled, or fails, the stream is closed.

    A name is resolved by the proxy of socks5h and socks4a, and here for socks5 and socks4.

    Raises:
        python_socks.ProxyError: It refused, or closed the connection.
        OSError: The connection broke, or the name does not resolve here.
    """
    version, here = proxy.scheme[5], proxy.scheme in ("socks4", "socks5")
    socks = trio_socks.Proxy(
        _TYPES[version], proxy.host, proxy.port, proxy.user, proxy.password, rdns=not here, forward=_Connected(stream)
    )
    await socks.connect(host, port, timeout=math.inf)  # the opening has a deadline of its own
