"""One connection: the only code that opens, ends and closes its stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self, final

import trio

from trio_socket_task._checks import check_close
from trio_socket_task._errors import ConnectError, ConnectTimeoutError, SocketLostError, SocketTaskError
from trio_socket_task._events import CloseCode, CloseEvent, ErrorEvent, OpenEvent
from trio_socket_task._hooks import nothing
from trio_socket_task._options import Options
from trio_socket_task._protocol._decoder import Close, Decoder, Message, Ping, Pong, Violation
from trio_socket_task._protocol._encoder import encode_close
from trio_socket_task._protocol._state import Life, ReadyState
from trio_socket_task._stream._connect import discard, root, words
from trio_socket_task._stream._opening import Connection, open_connection
from trio_socket_task._stream._progress import Progress
from trio_socket_task._thread import HomeThread

from ._keepalive import Signs
from ._pings import Pings
from ._reader import Reading
from ._statistics import Traffic
from ._subscriptions import Listeners
from ._writer import Outgoing

_ABORT_GRACE = 0.1
"""Seconds that an aborted connection may take to write its Close frame, where the stream can only write by waiting."""
_ANSWER_GRACE = 0.1
"""Seconds that a program may take, after a protocol violation, to answer the messages that came before it."""


@final
class Driver:
    """One socket, from its first byte to its last. `run` is its task; the rest may be called by any."""

    __slots__ = (
        *("_closed", "_decoder", "_discards", "_nursery", "_phase"),
        *("_predecessors", "caught_up", "connection", "greeted", "life", "listeners"),
        *("no_more", "on_closed", "on_freed", "options", "outgoing", "pings", "reading", "settled", "signs"),
        *("silent", "thread", "traffic"),
    )

    def __init__(self, options: Options, predecessors: Sequence[Self] = ()) -> None:
        self.options = options
        self.life: Life = Life(options.address.url)
        self.listeners: Listeners = Listeners(options.receive_buffer, self._on_room)
        self.pings: Pings = Pings()
        self.on_freed: Callable[[], None] = nothing
        """Called when the socket has ended, before its close event is delivered."""
        self.on_closed: Callable[[], None] = nothing
        """Called when the close event was delivered."""
        self.connection: Connection | None = None
        """The connection, once it is open."""
        self.settled: trio.Event = trio.Event()
        """Set when the socket is open, or has ended without."""
        self.caught_up: trio.Event | None = None
        """To be set, after a violation, when the program has taken all messages that came before it."""
        self.greeted: bool = True
        """Whether the program has had its first words with the server, so that a heartbeat may have its own."""
        self.silent: bool = False
        """Whether the connection was given up because the peer showed no sign of life."""
        self.no_more: bool = False
        """Whether no message can come any more."""
        self.traffic: Traffic = Traffic()
        self.thread: HomeThread = HomeThread()
        self._predecessors = predecessors
        self._phase = trio.CancelScope(shield=True)  # what can be called off: opening, then the life, then its end
        self._closed = trio.Event()
        self._decoder = Decoder(options.max_message_size)
        self._discards = False  # whether messages that find no room are dropped: after a close of this side

    @property
    def has_closed(self) -> bool:
        """Whether the close event was delivered."""
        return self._closed.is_set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Open, serve and close the connection.

        Each is shielded, because a block that is cancelled lets its body end before its sockets, and none raises what
        the network did.
        """
        try:
            await self._open()
            if self.connection is not None:
                await self._serve(self.connection)
        finally:  # whatever happened: the slot is freed, and everyone who waits is told
            event = self.life.end()
            self.no_more = True
            self.on_freed()
            self.listeners.close.publish(event)
            self.listeners.end()
            self.settled.set()
            self._closed.set()
            self.on_closed()
            self.on_freed = nothing  # a manager's leads back to here, in a circle

    async def _open(self) -> None:
        """Open the connection, unless it is called off."""
        predecessors, self._predecessors = self._predecessors, ()
        progress = Progress(self.options.address.peer)
        with self._phase:
            for predecessor in predecessors:
                await predecessor.wait_closed()
            await trio.lowlevel.checkpoint_if_cancelled()
            self._limit(self.options.timeout)
            try:
                connection = await open_connection(self.options, progress)
            except ConnectError as error:
                self._fail(error.with_traceback(None))  # whose frames lead back to here, too
                return
            if self.life.open():
                self.connection = connection
            else:
                await discard(connection.wire)
        if self._phase.cancelled_caught:
            self._fail(ConnectTimeoutError(self.options.address.url, self.options.timeout, progress.phase))

    async def _serve(self, connection: Connection) -> None:
        """Move messages until the connection is over, then close the stream."""
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                self._phase = nursery.cancel_scope
                self._phase.shield = True
                try:
                    self._start(connection, nursery)
                    await self.reading.run()
                    if self._decoder.violation is not None:
                        self._close_after_violation(self._decoder.violation)
                    await self._drain()
                except trio.Cancelled:
                    if self._phase.deadline > -float("inf"):  # its time is over; it was not dropped
                        await self.reading.look()
                    raise
                finally:
                    self._conclude()  # while the nursery still takes tasks: nothing is sent from here on
                    if nursery.child_tasks:  # which few connections have, and to cancel none has its price
                        nursery.cancel_scope.cancel()
            with suppress(Exception):  # a connection that is over need not close well
                if not connection.wire.close_now():
                    self._limit(self.options.close_timeout)
                    self._phase = trio.CancelScope(deadline=self._phase.deadline, shield=True)
                    with self._phase:
                        await connection.wire.aclose()
        except BaseException:
            await discard(connection.wire)
            raise

    def _start(self, connection: Connection, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        limit = self.options.send_buffer
        self.outgoing: Outgoing = Outgoing(connection.wire, limit, nursery.start_soon, self._on_write_error)
        waiting, decoder = self.listeners.inbox.readers, self._decoder
        self.reading: Reading = Reading(connection.wire, self._take, decoder.goes_on, self._is_full, waiting)
        self.signs: Signs = Signs(self.options, self.outgoing, self.reading, self.pings, self.traffic)
        self.signs.watch(nursery, lambda: self.greeted, self._give_up)
        self.listeners.open.publish(OpenEvent(connection.header))
        self.settled.set()
        if connection.rest:
            self._take(connection.rest)

    async def _drain(self) -> None:
        """Let a Close frame that still waits go out."""
        if self.outgoing.finished and self.outgoing.size:
            drained = trio.Event()
            self.outgoing.on_drained = drained.set
            await drained.wait()

    def _conclude(self) -> None:
        """Say why the connection is over, where that is a failure, and let nobody wait any more."""
        error = self.reading.error
        self.reading.end(None)
        self.outgoing.end()
        if error is not None:
            self._fail(_lost(words(root(error)), error))
        elif self.life.broken is not None:
            self._fail(self.life.broken)
        elif self.life.ready_state is ReadyState.OPEN:
            self._fail(_lost("the peer ended the connection without a Close frame"))
        self.pings.end()

    def _fail(self, error: SocketTaskError) -> None:
        called_off = self.life.requested is not None and not self.life.opened
        if not called_off and self.life.fail(error):
            self.listeners.error.publish(ErrorEvent(str(error), error))
            self._end_messages()

    def _end_messages(self) -> None:
        """Let those who wait for a message know that none will come."""
        self.no_more = True
        self.listeners.inbox.readers.unpark_all()

    def close(self, code: int, reason: str) -> None:
        """Start a close handshake, or call off the opening."""
        self.thread.check()
        self._close(code, reason, check_close(code, reason))

    def _close(self, code: int, reason: str, encoded: bytes) -> None:
        was_open = self.life.opened
        if not self.life.request_close(code, reason):
            return
        if was_open:
            self._finish(encode_close(code, encoded))
            self.reading.take_over()  # though it may have been paused: the peer's Close frame must be seen
        else:
            self._phase.cancel()

    def _finish(self, frame: bytes) -> None:
        """Send the Close frame, and give the peer `close_timeout` to end the connection."""
        self.outgoing.finish(frame)
        self._limit(self.options.close_timeout)

    def _limit(self, seconds: float) -> None:
        """Give what is left of the connection's life, its end included, so many seconds at most."""
        deadline = trio.current_time() + seconds
        if deadline < self._phase.deadline:  # noqa: PLR1730 (to set one costs five times as much as to look)
            self._phase.deadline = deadline

    def abort(self) -> None:
        """End the connection without waiting for the peer; Close 1001 goes out if it can."""
        self._close(CloseCode.GOING_AWAY, "", b"")
        if self.connection is not None and self.outgoing.size and not self.has_closed:
            self.outgoing.on_drained = self._drop
            self._limit(_ABORT_GRACE)
        else:
            self._drop()

    def _drop(self) -> None:
        """End the connection, or its opening, at once."""
        self._phase.deadline = -float("inf")  # which the scope of its end takes over
        self._phase.cancel()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, code: int, reason: str) -> None:
        """Close and wait until the socket has closed; when cancelled, close by force."""
        self.close(code, reason)
        try:
            await self._closed.wait()
        except BaseException:
            self.abort()
            with trio.CancelScope(shield=True):
                await self._closed.wait()
            raise

    async def wait_open(self) -> OpenEvent:
        """Wait until the socket is open."""
        await self.settled.wait()
        if self.connection is None:
            raise self.life.connect_error()
        return OpenEvent(self.connection.header)

    async def wait_closed(self) -> CloseEvent:
        """Wait until the socket has closed."""
        if self.life.ready_state is ReadyState.OPEN:
            self.reading.take_over()
        await self._closed.wait()
        return self.life.close_event()

    def _take(self, data: bytes) -> None:
        if self._decoder.done:
            return
        items = self._decoder.receive(data)
        messages = [item for item in items if type(item) is tuple]
        if messages:
            self._deliver(messages)
        if len(messages) < len(items):
            self._obey([item for item in items if not isinstance(item, tuple)])
        if self.options.receive_timeout is not None and self._decoder.inside_message:
            self.traffic.spoken_at = trio.current_time()
        self.outgoing.eager = True
        if self._decoder.violation is not None:
            self.caught_up = trio.Event()
            self._nursery.start_soon(self._let_answer, self._decoder.violation, self.caught_up)

    def _obey(self, controls: Sequence[Ping | Pong | Close]) -> None:
        pings = [item.payload for item in controls if isinstance(item, Ping)]
        if pings:
            self.outgoing.put_pongs(pings)
        spoke = bool(pings)
        for item in controls:
            if isinstance(item, Pong):
                spoke |= not self.pings.answer(item.payload)
            elif isinstance(item, Close):
                self._on_peer_close(item)
        if spoke:
            self.traffic.spoken_at = trio.current_time()

    def _deliver(self, messages: list[Message]) -> None:
        if self.options.heartbeat is not None:
            messages = self.signs.without_replies(self.options.heartbeat, messages)
            if not messages:
                return
        self.traffic.count_received(messages)
        if self.options.receive_timeout is not None:
            self.traffic.spoken_at = trio.current_time()
        if not self._discards and (self.life.requested is not None or self.life.broken is not None):
            self._discards = self.listeners.full
        self.listeners.deliver(messages, discards=self._discards)

    def _on_peer_close(self, close: Close) -> None:
        self.life.peer_closed(close.code, close.reason)
        self._finish(encode_close(close.code))
        self._end_messages()

    @trio.lowlevel.enable_ki_protection
    async def _let_answer(self, violation: Violation, caught_up: trio.Event) -> None:
        """Let the program answer what came before the violation; then close."""
        with trio.move_on_after(_ANSWER_GRACE):
            await caught_up.wait()
        self._close_after_violation(violation)

    def _close_after_violation(self, violation: Violation) -> None:
        self._fail(_lost(violation.why))
        self._finish(encode_close(violation.code))
        self.reading.take_over()  # though it may have been paused: the end of the connection must be seen

    def _is_full(self) -> bool:
        return self.life.is_open and self.listeners.full

    def _on_room(self) -> None:
        if self.connection is not None:
            self.reading.call()

    def _on_write_error(self, error: Exception) -> None:
        """Let reading find out more: what the peer said before it went away is often still there."""
        self.life.broken = _lost(words(root(error)), error)
        self._limit(self.options.close_timeout)
        self.reading.take_over()
        if self.reading.read_arrived() and self._decoder.violation is None:  # so how it closes is known
            self._fail(self.life.broken)

    def _give_up(self, why: str) -> None:
        """End a connection that shows no sign of life."""
        self.silent = True
        self._fail(_lost(why))
        self._drop()


def _lost(why: str, error: Exception | None = None) -> SocketLostError:
    lost = SocketLostError(CloseEvent(code=CloseCode.ABNORMAL_CLOSURE), why)
    lost.__cause__ = None if error is None else root(error)
    return lost
