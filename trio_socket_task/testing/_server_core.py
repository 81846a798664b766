"""What serves the connections of a `SocketServer`, and knows what went wrong."""

from __future__ import annotations

import logging
import math
import ssl
from functools import partial
from typing import final

import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import wrap_server_stream

from ._certificates import contexts
from ._connection import ServerConnection
from ._faulty_stream import FaultyStream
from ._handlers import Checked, Handler, call_handler, check_handler
from ._memory import MemoryEnd, memory_connection
from ._misuse import MisuseError
from ._server_session import ClientGoneError, ClientLeft, ServerSession, cancel_when

_logger = logging.getLogger("trio_socket_task.testing")
_HOST = "127.0.0.1"
_GRACE = 1.0
"""Seconds that handlers may take to end when the block is left; then they are cancelled."""


@final
class ServerCore:
    """The connections of a server and their handlers, from the start of its block to the end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.url: str = "ws://memory.test/"
        self.ssl_context: ssl.SSLContext | None = None
        """What a client needs to trust it; None without TLS."""
        self.connections: list[ServerConnection] = []
        self.body: trio.CancelScope = trio.CancelScope()
        """The scope of the block's body."""
        self.arrivals: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        """Where those are parked who wait for a connection."""
        self._nursery = nursery
        self._address: tuple[str, int] | None = None  # in memory it has none
        self._context: ssl.SSLContext | None = None
        self._streams: set[FaultyStream] = set()
        self._departures = trio.lowlevel.ParkingLot()
        self._handlers: list[Handler] = []  # all that there were, the current one last
        self._failures: list[BaseException] = []
        self._ending = False

    @property
    def connected(self) -> int:
        """How many connections are served."""
        return len(self._streams)

    @property
    def handler(self) -> Handler:
        """What the next connection meets."""
        return self._handlers[-1]

    def set_handler(self, handler: Handler) -> None:
        """Set what the next connection meets."""
        self._handlers.append(check_handler(handler))
        if isinstance(handler, Checked):
            handler.begin()

    async def listen(self, *, tls: bool = False, port: int = 0) -> None:
        """Listen on a port of the loopback interface."""
        if tls:
            self._context, self.ssl_context = contexts()
        (listener,) = await trio.open_tcp_listeners(port, host=_HOST)
        self._address = listener.socket.getsockname()
        self.url = f"{'wss' if tls else 'ws'}://{_HOST}:{self._address[1]}/"
        self._nursery.start_soon(partial(trio.serve_listeners, self._serve, [listener], handler_nursery=self._nursery))

    async def dial(self) -> trio.abc.Stream:
        """Connect to it."""
        await trio.lowlevel.checkpoint()
        if self._ending:
            raise ConnectionRefusedError("the test server's block has ended")
        if self._address is not None:
            return await trio.open_tcp_stream(*self._address)
        client, server = memory_connection()
        self._nursery.start_soon(self._serve, server)
        return client

    # A connection

    async def _serve(self, transport: MemoryEnd | trio.SocketStream) -> None:
        """Serve one connection to its end."""
        if self._context is None or isinstance(transport, MemoryEnd):
            stream = FaultyStream(transport)
        else:
            tls = trio.SSLStream(transport, self._context, server_side=True, https_compatible=True)
            stream = FaultyStream(tls)
        self._streams.add(stream)
        try:
            async with trio.open_nursery() as nursery:
                connection = await nursery.start(self._run_websocket, stream)
                if connection is not None:
                    self.connections.append(connection)
                    self.arrivals.unpark_all()
                    await self._run_handler(connection)
                elif stream.meets_tls:
                    self._fail(MisuseError("a server in memory speaks no TLS; give the program a URL with ws://"))
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await stream.end()
            self._streams.remove(stream)
            self._departures.unpark_all()

    async def _run_websocket(self, stream: FaultyStream, task_status: trio.TaskStatus[ServerConnection | None]) -> None:
        """Run trio-websocket; where a client makes it fail, the connection is over."""
        began = False
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                with trio.CancelScope() as until_ended:
                    nursery.start_soon(cancel_when, stream.ended, until_ended)
                    # Whatever the handler does, the server reads: only stall() stops it.
                    request = await wrap_server_stream(
                        nursery, stream, message_queue_size=2**31, max_message_size=2**40
                    )
                    began = True
                    task_status.started(ServerConnection(ServerSession(stream, request)))
        except BaseExceptionGroup as group:  # except* fails on PyPy 3.11 where anything is left to be raised
            others = group.split(Exception)[1]
            if others is not None:
                raise others from None
            _logger.debug("the connection is over: %r", group)  # whatever h11 and wsproto raise
            await stream.end()
        if not began:
            task_status.started(None)

    async def _run_handler(self, connection: ServerConnection) -> None:
        try:
            await call_handler(self.handler, connection)
            await connection.session.finish()
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
        """End the block with a handler's error."""
        self._failures.append(error)
        self.body.cancel()

    # The end

    async def drain(self) -> None:
        """Wait for handlers to come to their end, then abort; stalls end first, so that they can."""
        self._ending = True
        for stream in self._streams:
            stream.resume_reading()
        with trio.move_on_after(0 if self._failures else _GRACE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up_when_idle, nursery.cancel_scope)
                while self._streams:
                    await self._departures.park()
                nursery.cancel_scope.cancel()
        self.abort()

    async def _give_up_when_idle(self, grace: trio.CancelScope) -> None:
        """End the grace where time does not pass by itself, when everyone waits."""
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, MockClock) and clock.autojump_threshold == math.inf and not clock.rate:
            await wait_all_tasks_blocked()
            grace.cancel()

    def abort(self) -> None:
        """Cancel every connection."""
        self._ending = True
        self._nursery.cancel_scope.cancel()

    def raise_failures(self, error: BaseException | None, *, requires_scripts: bool) -> None:
        """Raise what went wrong on this side; what the body raised by itself, `error`, goes first."""
        if error is not None and not _is_only_cancelled(error):
            for failure in self._failures:
                error.add_note(f"the handler of the test server raised, too: {failure!r}")
            return
        if self._failures:
            for other in self._failures[1:]:
                self._failures[0].add_note(f"another handler raised, too: {other!r}")
            raise self._failures[0]
        if error is None and requires_scripts:
            for connection in self.connections:
                if connection.session.unfinished is not None:
                    raise connection.session.unfinished
            for handler in self._handlers:
                if isinstance(handler, Checked):
                    handler.check()


def _is_only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
