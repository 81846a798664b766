"""Servers for tests, and the block that one lives in."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import final

import trio

from trio_socket_task._service_nursery import ServiceBlock

from ._checks import check_port, check_within, shown
from ._connection import ServerConnection
from ._handlers import Handler, check_handler, echo
from ._misuse import MisuseError
from ._server_core import ServerCore


@final
class SocketServer:
    """A WebSocket server for one test, spoken by trio-websocket. Made by `open_memory_server` and `open_test_server`.

    What a handler raises cancels the block and comes out of it. A client that goes away ends its handler quietly; a
    handler that returns closes its connection with 1000. Of connections that come in the same instant either may be
    the first, because Trio shuffles.
    """

    def __init__(self, core: ServerCore) -> None:
        self._core = core
        self.url: str = core.url
        """Where a client finds it."""
        self.ssl_context: ssl.SSLContext | None = core.ssl_context
        """What a client needs to trust it; None without TLS."""
        self.connections: list[ServerConnection] = core.connections
        """Every connection that sent a good handshake, the earliest first."""

    @property
    def handler(self) -> Handler:
        """What the next connection meets; it may be changed."""
        return self._core.handler

    @handler.setter
    def handler(self, handler: Handler) -> None:
        self._core.set_handler(handler)

    def __repr__(self) -> str:
        return f"<SocketServer {self.url} {self._core.connected} connected>"

    async def dial(self, _host: str, _port: int) -> trio.abc.Stream:
        """Connect to this server, whatever the URL says: ``connect_socket(url, dial=server.dial)``.

        If this is cancelled, nothing is left open.
        """
        return await self._core.dial()

    async def wait_connection(self, number: int = 1, *, within: float = 60.0) -> ServerConnection:
        """Wait for the connection of that number, counted from 1, to send its handshake.

        If this is cancelled, the server is unharmed.

        Raises:
            AssertionError: It did not come within so many seconds.
        """
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise MisuseError(f"wait_connection() counts from 1, not from {shown(number)}")
        check_within("wait_connection", within)
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while len(self.connections) < number:
                await self._core.arrivals.park()
            return self.connections[number - 1]
        raise AssertionError(
            f"connection {shown(number)} has not come within {within:g} s, {len(self.connections)} have; "
            "let the program connect"
        )

    async def serve_forever(self) -> None:
        """Wait until this is cancelled, or a handler fails, and keep no record of what comes meanwhile."""
        while True:
            for connection in self.connections:
                connection.session.forget_received()
            self.connections.clear()
            await self._core.arrivals.park()


class ServerBlock(ServiceBlock[SocketServer]):
    """The block of a server, which is in memory unless it is to `listen`."""

    maker = "open_memory_server"

    def __init__(self, handler: Handler, listen: Callable[[ServerCore], Awaitable[None]] | None = None) -> None:
        self.requires_scripts: bool = True
        """Whether a script that nobody has played fails the test."""
        self._handler = check_handler(handler)
        self._listen = listen

    async def start(self, nursery: trio.Nursery) -> SocketServer:
        """Start to listen."""
        self._core = ServerCore(nursery)
        self._core.set_handler(self._handler)
        if self._listen is not None:
            await self._listen(self._core)
        self._core.body.__enter__()
        return SocketServer(self._core)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        core = self._core
        try:
            was_cancelled = core.body.__exit__(kind, error, traceback)  # by a handler's failure
        except BaseException as others:
            error = others
            raise
        else:
            error = None if was_cancelled else error
        finally:
            try:
                await super().__aexit__(None, error, None)
            finally:
                core.raise_failures(error, requires_scripts=self.requires_scripts)
        return was_cancelled

    async def finish(self) -> None:
        """Wait for the handlers to come to their end."""
        await self._core.drain()

    def abort(self) -> None:
        """Cancel the handlers."""
        self._core.abort()


@final
class PortBlock(ServerBlock):
    """The block of a server that listens on a port."""

    maker = "open_test_server"

    def __init__(self, handler: Handler, *, tls: bool = False, port: int = 0) -> None:
        super().__init__(handler, partial(ServerCore.listen, tls=tls, port=check_port(port)))


def open_memory_server(handler: Handler = echo) -> AbstractAsyncContextManager[SocketServer]:
    """Open a WebSocket server without sockets, so that a test's time can be virtual.

    ``async with open_memory_server() as server:`` gives a `SocketServer`; its ``dial`` goes into
    ``connect_socket(server.url, dial=server.dial)``, or once into ``open_socket_manager(dial=server.dial)``.

    Leaving the block waits a second for handlers to come to their end, then cancels them. When the body raises, they
    are cancelled at once.

    Args:
        handler: What each connection meets.

    Raises:
        MisuseError: `handler` cannot be called.
    """
    return ServerBlock(handler)


def open_test_server(
    handler: Handler = echo, *, tls: bool = False, port: int = 0
) -> AbstractAsyncContextManager[SocketServer]:
    """Open a WebSocket server on a port of the loopback interface; otherwise as `open_memory_server`.

    Args:
        handler: What each connection meets.
        tls: Whether it speaks TLS, with a throw-away certificate that the server's ``ssl_context`` trusts; this needs
            the package trustme, which the extra ``testing`` brings.
        port: The port; 0 for any that is free.

    Raises:
        MisuseError: `handler` cannot be called, or `port` is none.
        OSError: The port is taken.
        ModuleNotFoundError: trustme is not installed.
    """
    return PortBlock(handler, tls=tls, port=port)
