"""One socket, from its first byte to its last: the only code that opens, serves and closes its stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Self, final

import trio

from trio_socket_task._checks import check_close, encode_payload
from trio_socket_task._events import CloseCode, CloseEvent, OpenEvent, SocketStatistics
from trio_socket_task._options import Options
from trio_socket_task._protocol._connection import ClientConnection
from trio_socket_task._protocol._state import Life, Phase, ReadyState
from trio_socket_task._stream._causes import forget_tracebacks
from trio_socket_task._stream._connect import Connected
from trio_socket_task._stream._progress import Progress
from trio_socket_task._stream._wire import close_forcefully
from trio_socket_task._tasks import waiting_tasks
from trio_socket_task._thread import HomeThread

from ._busy_poll import BusyPoll
from ._ending import Ending, describe_end, lost
from ._incoming import Incoming
from ._keepalive import Keepalive
from ._mailbox import TURN, TURN_SHIFT
from ._opening import open_connection
from ._pings import PendingPing, Pings
from ._reader import Reader
from ._statistics import Traffic
from ._subscriptions import Subscriptions
from ._wakeup import SmallEvent, Wakeup, wait_for_end
from ._writer import Writer

_ABORT_GRACE = 0.1
"""Seconds that an aborted connection may take to write its Close frame, where the stream can only write by waiting."""
Data = str | bytes | bytearray | memoryview


@final
class Session:
    """One socket. `run` is its task, whose owner calls `announce_close` after it; the rest may be called by any."""

    __slots__ = (
        *("_closed", "_ending", "_incoming", "_keepalive", "_nursery", "_predecessors", "_settled", "_task"),
        *("_wakeup", "connection", "credit", "life", "options", "pings", "protocol", "reader", "subscriptions"),
        *("thread", "traffic", "writer"),
    )

    def __init__(self, options: Options, predecessors: Sequence[Self] = ()) -> None:
        self.options = options
        self.protocol: ClientConnection = ClientConnection(options.address.url, options.max_message_size)
        self.life: Life = self.protocol.life
        self._wakeup = Wakeup()  # of `run`, while it reads in the background
        self.subscriptions: Subscriptions = Subscriptions(options.receive_buffer, self._wakeup)
        self.pings: Pings = Pings(self.protocol)
        self.traffic: Traffic = Traffic()
        self.thread: HomeThread = HomeThread()
        self.connection: Connected | None = None
        """The connection, once it is open."""
        self._predecessors = predecessors
        self._task: trio.lowlevel.Task | None = None  # that of `run`
        self._ending = Ending(self.life, self.subscriptions, self._wakeup, options.close_timeout)
        self._settled = SmallEvent()  # open, or ended without
        self._closed = SmallEvent()  # the close event was delivered
        self.credit: int = TURN
        """What may be sent and taken, in units of work, before other tasks are to run."""

    @property
    def has_closed(self) -> bool:
        """Whether the close event was delivered."""
        return self._closed.is_set()

    @property
    def timed_out(self) -> bool:
        """Whether the connection was given up because the peer was silent."""
        return self._ending.timed_out

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Open, serve and close the connection: shielded, as a cancelled body ends before its sockets; never raise."""
        progress = Progress(self.options.address.peer)
        self._task = trio.lowlevel.current_task()
        try:
            await self._open(progress)
            if self.connection is not None:
                await self._serve(self.connection)
        finally:
            self._task = None
            self.life.end()
            if progress.is_logged:
                progress.log("%s", describe_end(self.life))

    async def _open(self, progress: Progress) -> None:
        predecessors, self._predecessors = self._predecessors, ()  # which are free to go when they have closed
        wait_for = [predecessor.wait_closed for predecessor in predecessors]
        self.connection = await open_connection(self.options, wait_for, self.life, self._ending, progress)

    def announce_close(self) -> None:
        """Tell everybody that the socket has closed."""
        self.subscriptions.close.publish(self.life.close_event())
        self.subscriptions.end()
        self._settled.set()
        self._closed.set()

    async def _serve(self, connection: Connected) -> None:
        """Move messages until the connection is over, then close the stream."""
        deadline = self._ending.deadline
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                deadline.enter(nursery.cancel_scope)
                try:
                    self._start(connection, nursery)
                    await self.reader.run()
                    if self._incoming.violation is not None:
                        await self._ending.wait_for_answers(self.reader)
                        self._incoming.fail(self._incoming.violation)
                        await self.reader.run()
                    if self.writer.finished:
                        await self.writer.wait_drained()  # so that the Close frame goes out
                except trio.Cancelled:
                    if not deadline.is_expired:
                        await self.reader.look()
                    raise
                finally:
                    self._conclude()  # while the nursery still takes tasks: nothing is sent from here on
                    if nursery.child_tasks:  # which few connections have, and to cancel none has its price
                        nursery.cancel_scope.cancel()
            with suppress(Exception):  # a connection that is over need not close well
                if not connection.wire.close_now():
                    deadline.limit(self.options.close_timeout)
                    deadline.enter(trio.CancelScope(deadline=deadline.scope.deadline))
                    with deadline.scope:
                        await connection.wire.aclose()
        except BaseException:
            await close_forcefully(connection.wire)
            raise

    def _start(self, connection: Connected, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.protocol.compress(connection.per_message_deflate)
        options, on_written = self.options, self.subscriptions.on_written
        self.writer: Writer = Writer(connection.wire, options.send_buffer, nursery, self._ending, on_written)
        self._incoming = Incoming(
            options, self.protocol, self.subscriptions, self.writer, self.pings, self.traffic, self._ending
        )
        readers, busy_poll = self.subscriptions.inbox.readers, BusyPoll(options.busy_poll)
        self.reader: Reader = Reader(connection.wire, self._incoming, self._wakeup, readers, busy_poll)
        self.reader.inflates = connection.per_message_deflate is not None
        self._keepalive = Keepalive(self.writer, self.reader, self.pings, self.traffic, self._ending)
        self._keepalive.start(options, nursery)
        self.subscriptions.open.publish(OpenEvent(connection.header))
        self._settled.set()
        if connection.rest:
            self.reader.accept(connection.rest)

    def _conclude(self) -> None:
        """Note why the connection is over, where that is a failure, and wake whoever waits for anything of it."""
        error = self.reader.error
        self.reader.end()
        self.writer.end()
        self._keepalive.end()
        forget_tracebacks(error)
        forget_tracebacks(self.life.write_error and self.life.write_error.__cause__)
        if error is not None:
            self._ending.fail_to_read(error)
        elif self.life.write_error is not None:
            self._ending.fail(self.life.write_error)
        elif self.life.ready_state is ReadyState.OPEN:
            self._ending.fail(lost("the peer ended the connection without a Close frame"))
        self.pings.end()
        self.traffic.wire_bytes_sent = self.writer.bytes_begun

    async def wait_for_room(self, size: int) -> None:
        """Wait until there is room for a message, to be put at once; let other tasks run first where that is due."""
        self._require_open()
        self.credit -= 1 + (size >> TURN_SHIFT)
        if self.credit > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self.credit = TURN
            await trio.lowlevel.checkpoint()
            self._require_open()
        if not self.writer.has_room():
            await self.writer.room.park()
            self._require_open()

    def send_nowait(self, data: Data) -> None:
        """Put a message into the queue, or raise `trio.WouldBlock` where that has no room."""
        self.thread.check()
        if not self.put(data, encode_payload(data), beyond_room=False):
            raise trio.WouldBlock

    def put(self, data: Data, payload: bytes, *, beyond_room: bool) -> bool:
        """Put a message into the queue, where that has no room only if `beyond_room`; return whether it had."""
        if not self.life.is_open:
            self._require_open()
        had_room = self.writer.has_room()
        if had_room or beyond_room:
            self.put_now(data, payload)
        return had_room

    def _require_open(self) -> None:
        if not self.life.is_open:
            error = self.life.write_error if self.life.phase is Phase.BROKEN else None
            # What the peer said before it went away tells how the connection closes; else the error does.
            if error is not None and self.reader.read_arrived() and self._incoming.violation is None:
                self._ending.fail(error)
            self.life.require_open()

    def put_now(self, data: Data, payload: bytes) -> None:
        """Put a message into the queue of an open socket, whether or not that has room."""
        self.writer.put(self.protocol.send_message(data, payload))
        if self.writer.finished:  # it was written at once, and that failed
            self._require_open()
        self.traffic.messages_sent += 1
        self.traffic.bytes_sent += len(payload)

    async def wait_for_message(self) -> None:
        """Wait until there is a message, to be taken at once; let other tasks run first where that is due."""
        inbox = self.subscriptions.inbox
        if not self.subscriptions.claimed:
            self.subscriptions.claim_inbox()
        if inbox.items:
            if self.credit > 0:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self.credit = TURN
                await trio.lowlevel.checkpoint()
        elif self.connection is None:
            await self._settled.wait()
        elif self.credit > 0 and self.life.is_open and not self.writer.eager:
            await trio.lowlevel.checkpoint_if_cancelled()
            self.reader.look_for_answer()
        while not inbox.items:
            self.credit = TURN
            await self._wait_for_data()

    def take_message(self) -> str | bytes:
        """Return the oldest message that nobody has taken; there is one."""
        data, size = self.subscriptions.inbox.pop()
        self.credit -= 1 + (size >> TURN_SHIFT)
        return data

    @trio.lowlevel.enable_ki_protection
    def look_for_listeners(self) -> None:
        """Read the answer to what was just sent, where that comes at once, before it is waited for."""
        if self.life.is_open and not self.writer.eager:
            self.reader.look_for_listeners()

    def receive_nowait(self) -> str | bytes:
        """Return the next message, or raise `trio.WouldBlock` where none is here yet."""
        self.thread.check()
        self.subscriptions.claim_inbox()
        if not self.subscriptions.inbox.items:
            self._ending.require_more()
            raise trio.WouldBlock
        return self.take_message()

    async def _wait_for_data(self) -> None:
        if self.life.is_decided:
            await trio.lowlevel.checkpoint()
            self._ending.require_more()
        if self._incoming.is_failing():
            self._wakeup.set()
            await self.subscriptions.inbox.readers.park()
        else:
            await self.reader.wait_for_data()

    async def ping(self, *, in_order: bool = False) -> float:
        """Send a ping, at once or after the messages that wait, and return the seconds until its pong."""
        self._require_open()
        ping = self.send_ping(in_order=in_order)
        try:
            await ping.settled.wait()
        finally:
            self.pings.forget(ping)
        if ping.rtt is None:
            raise self.life.ended_error()
        return ping.rtt

    def send_ping(self, *, in_order: bool) -> PendingPing:
        """Send a ping, as long as anything can be sent, and return it at once."""
        return self._keepalive.ping(in_order=in_order)

    def statistics(self) -> SocketStatistics:
        """Return a snapshot of the figures."""
        buffered, kept, rtt = 0, self.subscriptions.kept, self.pings.rtt
        if self.connection is not None:
            buffered, self.traffic.wire_bytes_sent = self.writer.size, self.writer.bytes_begun
        return self.traffic.snapshot(self.connection, send_buffered=buffered, receive_buffered=kept, rtt=rtt)

    def close(self, code: int, reason: str) -> None:
        """Start a close handshake, or call off the opening."""
        self.thread.check()
        self._close(code, reason, check_close(code, reason))

    def _close(self, code: int, reason: str, encoded: bytes) -> None:
        frame = self.protocol.close(code, reason, encoded)
        if frame:
            self.writer.put_close(frame)
            self._ending.expect_end()  # though reading may have been paused: the peer's Close frame must be seen
        elif frame is not None:
            self._ending.deadline.scope.cancel()

    def abort(self) -> None:
        """End the connection without waiting for the peer; Close 1001 goes out if it can."""
        self._close(CloseCode.GOING_AWAY, "", b"")
        if self.connection is not None and self.writer.is_writing:
            self._ending.deadline.limit(_ABORT_GRACE)
            self._nursery.start_soon(self._drop_when_drained)
        else:
            self._ending.deadline.expire()

    @trio.lowlevel.enable_ki_protection
    async def _drop_when_drained(self) -> None:
        await self.writer.wait_drained()
        self._ending.deadline.expire()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, code: int, reason: str) -> None:
        """Close and wait until the socket has closed; when cancelled, close by force.

        Called by what the socket's task waits for itself, such as `dial`, it does not wait.
        """
        self.close(code, reason)
        if any(task is self._task for task, _ in waiting_tasks()):
            await trio.lowlevel.checkpoint()
        else:
            await wait_for_end(self._closed, self.abort)

    async def wait_open(self) -> OpenEvent:
        """Wait until the socket is open."""
        await self._settled.wait()
        if self.connection is None:
            raise self.life.connect_error()
        return OpenEvent(self.connection.header)

    async def wait_closed(self) -> CloseEvent:
        """Wait until the socket has closed."""
        if self.life.ready_state is ReadyState.OPEN:
            self.reader.read_in_background()
        await self._closed.wait()
        return self.life.close_event()
