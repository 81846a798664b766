"""Servers for tests, and the block that one lives in."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import final

import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import wrap_server_stream

from trio_socket_task._service_nursery import ServiceBlock

from ._certificates import contexts
from ._connection import ClientGoneError, ClientLeft, ServerConnection, cancel_when
from ._faulty_stream import Line
from ._handlers import Checked, Handler, call_handler, check_handler, echo
from ._memory import MemoryEnd, memory_connection
from ._misuse import MisuseError

_logger = logging.getLogger("trio_socket_task.testing")
_HOST = "127.0.0.1"
_GRACE = 1.0
"""Seconds that handlers may take to end when the block is left; then they are cancelled."""


@final
class SocketServer:
    """A WebSocket server for one test, spoken by trio-websocket. Made by `open_memory_server` and `open_test_server`.

    What a handler raises cancels the block and comes out of it. A client that goes away ends its handler quietly; a
    handler that returns closes its connection with 1000. Of connections that come in the same instant either may be
    the first, because Trio shuffles.
    """

    def __init__(self, handler: Handler, nursery: trio.Nursery) -> None:
        self.url: str = "ws://memory.test/"
        """Where a client finds it."""
        self.ssl_context: ssl.SSLContext | None = None
        """What a client needs to trust it; None without TLS."""
        self.connections: list[ServerConnection] = []
        """Every connection that sent a good handshake, the earliest first."""
        self._nursery = nursery
        self._body = trio.CancelScope()  # of the block's body
        self._address: tuple[str, int] | None = None  # in memory it has none
        self._context: ssl.SSLContext | None = None
        self._lines: set[Line] = set()
        self._arrivals = trio.lowlevel.ParkingLot()
        self._departures = trio.lowlevel.ParkingLot()
        self._handlers: list[Handler] = []  # all that there were, the current one last
        self._failures: list[BaseException] = []
        self._ending = False
        self._asks_for_scripts = True  # whether a script that nobody has played fails the test
        self.handler = handler

    @property
    def handler(self) -> Handler:
        """What the next connection meets; it may be changed."""
        return self._handlers[-1]

    @handler.setter
    def handler(self, handler: Handler) -> None:
        self._handlers.append(check_handler(handler))
        if isinstance(handler, Checked):
            handler.begin()

    def __repr__(self) -> str:
        return f"<SocketServer {self.url} {len(self._lines)} connected>"

    async def dial(self, _host: str, _port: int) -> trio.abc.Stream:
        """Connect to this server, whatever the URL says: ``connect_socket(url, dial=server.dial)``.

        If this is cancelled, nothing is left open.
        """
        await trio.lowlevel.checkpoint()
        if self._ending:
            raise ConnectionRefusedError("the test server's block has ended")
        if self._address is not None:
            return await trio.open_tcp_stream(*self._address)
        client, server = memory_connection()
        self._nursery.start_soon(self._serve, server)
        return client

    async def wait_connection(self, number: int = 1, *, within: float = 60.0) -> ServerConnection:
        """Wait for the connection of that number, counted from 1, to send its handshake.

        If this is cancelled, the server is unharmed.

        Raises:
            AssertionError: It did not come within so many seconds.
        """
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise MisuseError(f"wait_connection() counts from 1, not from {number!r}")
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while len(self.connections) < number:
                await self._arrivals.park()
            return self.connections[number - 1]
        raise AssertionError(
            f"connection {number} has not come within {within:g} s, {len(self.connections)} have; "
            "let the program connect"
        )

    async def serve_forever(self) -> None:
        """Wait until this is cancelled, or a handler fails, and keep no record of what comes meanwhile."""
        while True:
            for connection in self.connections:
                connection._forget_received()
            self.connections.clear()
            await self._arrivals.park()

    async def _rest(self) -> None:
        """Be found in memory only."""

    async def _listen(self, *, tls: bool, port: int) -> None:
        """Be found on a port of the loopback interface."""
        if tls:
            self._context, self.ssl_context = contexts()
        (listener,) = await trio.open_tcp_listeners(port, host=_HOST)
        self._address = listener.socket.getsockname()
        self.url = f"{'wss' if tls else 'ws'}://{_HOST}:{self._address[1]}/"
        self._nursery.start_soon(partial(trio.serve_listeners, self._serve, [listener], handler_nursery=self._nursery))

    async def _serve(self, stream: MemoryEnd | trio.SocketStream) -> None:
        """Serve one connection to its end."""
        if self._context is None or isinstance(stream, MemoryEnd):
            line = Line(stream)
        else:
            line = Line(trio.SSLStream(stream, self._context, server_side=True, https_compatible=True))
        self._lines.add(line)
        try:
            async with trio.open_nursery() as nursery:
                connection = await nursery.start(self._speak, line)
                if connection is not None:
                    self.connections.append(connection)
                    self._arrivals.unpark_all()
                    await self._run_handler(connection)
                elif line.meets_tls:
                    self._fail(MisuseError("a server in memory speaks no TLS; give the program a URL with ws://"))
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await line.end()
            self._lines.remove(line)
            self._departures.unpark_all()

    async def _speak(self, line: Line, task_status: trio.TaskStatus[ServerConnection | None]) -> None:
        """Let trio-websocket speak; where a client makes it stumble, the connection is over."""
        began = False
        try:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as patience:
                    nursery.start_soon(cancel_when, line.ended, patience)
                    # Whatever the handler does, the server reads: only stall() stops it.
                    request = await wrap_server_stream(nursery, line, message_queue_size=2**31, max_message_size=2**40)
                    began = True
                    task_status.started(ServerConnection(line, request))
        except* Exception as stumbles:  # noqa: BLE001 (whatever h11 and wsproto raise)
            _logger.debug("the connection is over: %r", stumbles)
            await line.end()
        if not began:
            task_status.started(None)

    async def _run_handler(self, connection: ServerConnection) -> None:
        try:
            await call_handler(self.handler, connection)
            await connection._finish()
        except (ClientLeft, ClientGoneError):
            pass
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            cancelled, others = group.split(trio.Cancelled)
            failures = None if others is None else others.split((ClientLeft, ClientGoneError))[1]
            if failures is not None:
                self._fail(failures)
            if cancelled is not None:
                raise cancelled from None
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _fail(self, error: BaseException) -> None:
        """Let the block end with a handler's error."""
        self._failures.append(error)
        self._body.cancel()

    async def _drain(self) -> None:
        """Let handlers come to their end; faults end first, so that they can."""
        self._ending = True
        for line in self._lines:
            line.read_on()
        with trio.move_on_after(0 if self._failures else _GRACE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up_when_idle, nursery.cancel_scope)
                while self._lines:
                    await self._departures.park()
                nursery.cancel_scope.cancel()
        self._stop()

    async def _give_up_when_idle(self, patience: trio.CancelScope) -> None:
        """End the grace where time does not pass by itself, when everyone waits."""
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, MockClock) and clock.autojump_threshold == math.inf and not clock.rate:
            await wait_all_tasks_blocked()
            patience.cancel()

    def _stop(self) -> None:
        self._ending = True
        self._nursery.cancel_scope.cancel()

    def _judge(self, error: BaseException | None) -> None:
        """Raise what went wrong on this side; what the body raised by itself goes first."""
        if error is not None and not _is_only_cancelled(error):
            for failure in self._failures:
                error.add_note(f"the handler of the test server raised, too: {failure!r}")
            return
        if self._failures:
            for other in self._failures[1:]:
                self._failures[0].add_note(f"another handler raised, too: {other!r}")
            raise self._failures[0]
        if error is None and self._asks_for_scripts:
            for connection in self.connections:
                if connection._unfinished is not None:
                    raise connection._unfinished
            for handler in self._handlers:
                if isinstance(handler, Checked):
                    handler.check()


def _is_only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


@final
class ServerBlock(ServiceBlock[SocketServer]):
    """The block of a server."""

    maker = "open_test_server"

    def __init__(self, handler: Handler, listen: Callable[[SocketServer], Awaitable[None]]) -> None:
        self._handler = handler
        self._listen = listen

    async def start(self, nursery: trio.Nursery) -> SocketServer:
        """Begin to listen."""
        self._server = SocketServer(self._handler, nursery)
        await self._listen(self._server)
        self._server._body.__enter__()
        return self._server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        server = self._server
        try:
            was_cancelled = server._body.__exit__(kind, error, traceback)  # by a handler's failure
        except BaseException as others:
            error = others
            raise
        else:
            error = None if was_cancelled else error
        finally:
            try:
                await super().__aexit__(None, error, None)
            finally:
                server._judge(error)
        return was_cancelled

    async def finish(self) -> None:
        """Let the handlers come to their end."""
        await self._server._drain()

    def abort(self) -> None:
        """Cancel the handlers."""
        self._server._stop()


def open_memory_server(handler: Handler = echo) -> AbstractAsyncContextManager[SocketServer]:
    """Open a WebSocket server without sockets, so that a test's time can be virtual.

    ``async with open_memory_server() as server:`` gives a `SocketServer`; its ``dial`` goes into
    ``connect_socket(server.url, dial=server.dial)``, or once into ``open_socket_manager(dial=server.dial)``.

    Leaving the block lets handlers come to their end for a second, then cancels them. When the body raises, they are
    cancelled at once.

    Args:
        handler: What each connection meets.

    Raises:
        MisuseError: `handler` cannot be called.
    """
    return ServerBlock(check_handler(handler), SocketServer._rest)


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
        MisuseError: `handler` cannot be called.
        OSError: The port is taken.
        ModuleNotFoundError: trustme is not installed.
    """
    return ServerBlock(check_handler(handler), partial(SocketServer._listen, tls=tls, port=port))
