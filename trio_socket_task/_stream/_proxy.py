"""The way through a proxy: TCP to it, its TLS, and its connection to the server."""

from __future__ import annotations

import base64
from collections.abc import Awaitable
from functools import partial
from typing import TypeVar, final

import attrs
import h11
import trio

from trio_socket_task._errors import ProxyError
from trio_socket_task._options import Options
from trio_socket_task._proxy_url import Proxy

from ._causes import describe, root_cause
from ._http import Exchange, Responder
from ._progress import Progress
from ._tls import TlsWire
from ._wire import Wire, close_forcefully, wire_over

_T = TypeVar("_T")
_INSTALL = 'pip install "trio-socket-task[socks]"'


@final
@attrs.frozen(kw_only=True)
class Tunnel:
    """A connection to the server, through a proxy or straight to it."""

    wire: Wire
    stream: trio.abc.Stream
    """What the wire goes over: its addresses are the connection's."""
    received: bytes = b""
    """Bytes of the server's that have come already."""
    dial_seconds: float
    proxy_seconds: float | None = None


async def open_tunnel(proxy: Proxy, options: Options, progress: Progress) -> Tunnel:
    """Connect through a proxy; if it is cancelled, or fails, nothing is left open.

    Raises:
        ProxyError: The proxy cannot be reached, is not trusted, or does not let the connection through.
    """
    return await _Opening(proxy, options, progress).run()


@final
class _Opening:
    """One way through one proxy."""

    def __init__(self, proxy: Proxy, options: Options, progress: Progress) -> None:
        self._proxy = proxy
        self._options = options
        self._progress = progress
        self._who = f"the proxy {proxy.peer}"

    async def run(self) -> Tunnel:
        """Connect."""
        proxy, started = self._proxy, trio.current_time()
        self._progress.connects_to_proxy(proxy.peer)
        stream = await self._blamed(f"{self._who} cannot be reached", self._dial())
        connected = trio.current_time()
        wire = plain = wire_over(stream, is_ours=True, tcp_no_delay=self._options.tcp_no_delay)
        try:
            if proxy.scheme.startswith("socks"):
                await self._ask_by_socks(stream)
                received = b""
            else:
                if proxy.scheme == "https":
                    wire = await self._secure(wire)
                received = await self._ask_by_connect(wire)
        except BaseException:
            await close_forcefully(plain)
            raise
        return Tunnel(
            wire=wire,
            stream=stream,
            received=received,
            dial_seconds=connected - started,
            proxy_seconds=trio.current_time() - connected,
        )

    async def _dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self._proxy.host, self._proxy.port)

    async def _blamed(self, what: str, step: Awaitable[_T]) -> _T:
        """Wait for a step, whose failure is the proxy's."""
        try:
            return await step
        except Exception as error:  # noqa: BLE001 (of Trio, OpenSSL, the resolver or python-socks)
            cause = root_cause(error)
            raise ProxyError(self._options.address.url, f"{what}: {describe(cause)}") from cause

    async def _secure(self, wire: Wire) -> TlsWire:
        self._progress.secures_proxy(self._proxy.peer)
        secured = TlsWire(wire, self._options.proxy_ssl_context, self._proxy.server_name)
        await self._blamed(f"the TLS handshake with {self._who} failed", secured.handshake())
        return secured

    async def _ask_by_connect(self, wire: Wire) -> bytes:
        """Ask an HTTP proxy (RFC 7231 section 4.3.6), and return what came behind its answer: the server's bytes."""
        who, address = self._who, self._options.address
        self._progress.passes_proxy(self._proxy.peer)
        other = Responder(
            url=address.url,
            responds=partial(self._progress.proxy_responds, self._proxy.peer),
            who=who,
            broke=f"the connection to {who} broke",
            ended=f"{who} closed the connection without an answer",
            lost=ProxyError,
            refusal=ProxyError,
        )
        header = [("Host", address.peer)]
        if self._proxy.user is not None:
            credentials = base64.b64encode(f"{self._proxy.user}:{self._proxy.password}".encode())
            header.append(("Proxy-Authorization", f"Basic {credentials.decode()}"))  # RFC 7617
        exchange = Exchange(wire, other)
        await exchange.exchange(h11.Request(method="CONNECT", target=address.peer, headers=header))
        return exchange.rest

    async def _ask_by_socks(self, stream: trio.SocketStream) -> None:
        address, scheme = self._options.address, self._proxy.scheme
        try:
            from ._socks import ask_to_connect  # noqa: PLC0415 (python-socks is not always there)
        except ImportError as error:
            why = f"a {scheme} proxy needs python-socks, which is not installed; {_INSTALL}"
            raise ProxyError(address.url, why) from error
        self._progress.passes_proxy(self._proxy.peer)
        if scheme.startswith("socks4") and ":" in address.host:
            raise ProxyError(address.url, f"{self._who} speaks {scheme}, which has no IPv6 addresses; use socks5h")
        asking = ask_to_connect(stream, self._proxy, address.host, address.port)
        await self._blamed(f"{self._who} did not connect to {address.peer}", asking)
