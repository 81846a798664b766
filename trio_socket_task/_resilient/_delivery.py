"""The outbox and one connection: gives it messages in order, and notes which are proven to be delivered."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import final

import trio

from trio_socket_task._checks import encode_payload
from trio_socket_task._errors import SocketClosedError, SocketLostError
from trio_socket_task._socket_task import SocketTask, session_of

from ._on_demand import OnDemand
from ._proof import MessageIds, ProofKind, ProofMonitor
from ._proof_timer import DeliveryPing, ProofTimer
from ._queue import MessageQueue, QueuedMessage

_FIRST_WINDOW = 8
"""Messages that a new connection is given before a first pong; each pong lets twice as many be under way. So a server
that dies of a flood is not given all of the flood again and again."""
_PING_DELAY = 0.05
"""Seconds between a message and the ping that asks whether it was read: one ping for all that is sent meanwhile."""
_PING_INTERVAL = 10.0
"""Seconds after which another ping is sent: of several a peer need answer the latest only (RFC 6455 section 5.5.3), and
that may have been a heartbeat's."""
_MAX_PINGS = 32
"""Pings that may wait for their pong."""


@final
class Delivery:
    """What one connection is given, and what proves that it was delivered."""

    __slots__ = (
        *("_any_proof", "_ids", "_monitor", "_ping_delay", "_pings", "_positions", "_progress", "_queue", "_session"),
        *("tasks", "timer", "window"),
    )

    def __init__(
        self,
        task: SocketTask,
        queue: MessageQueue,
        ids: MessageIds,
        monitor: ProofMonitor,
        progress: trio.lowlevel.ParkingLot,
    ) -> None:
        self._session = session_of(task)
        self._queue = queue
        self._ids = ids
        self._monitor = monitor
        self._progress = progress  # those who wait for the outbox to become emptier
        self._any_proof = False  # whether there was one, other than of being written
        self._ping_delay: trio.CancelScope | None = None  # before the next ping, for what else is sent meanwhile
        self._pings: list[DeliveryPing] = []  # those that wait for their pong, in order
        self._positions: deque[tuple[int, int]] | None = None  # what `Writer.written` must reach, and the message
        self.tasks: OnDemand = OnDemand()
        """What is done while there is something to do; they end before `finish`."""
        self.timer: ProofTimer = ProofTimer(self._session, queue, monitor, self._pings)
        """Which says whether a proof comes in time."""
        self.window: int = _FIRST_WINDOW if monitor.kind is ProofKind.PONG else queue.limits.max_messages
        """Messages that may be unconfirmed at a time."""

    def send_waiting(self) -> None:
        """Send at once what the connection has room for; the rest as it gets more."""
        while self._may_send():
            if not self._queue.unconfirmed:
                self.timer.restart()
            data = self._queue.oldest.data
            if not self._send(data, encode_payload(data)):
                break
            self._note_sent(self._queue.take())
        self._ask_early()
        self._send_more()
        self.check_written()

    def send_new(self, message: QueuedMessage, payload: bytes) -> None:
        """Put a message into the outbox, where none waits, and send it at once if the connection has room for it.

        It is in its place before it is sent, because that may find out what has come, and call the program's functions.
        """
        queue = self._queue
        if not self._has_window():
            queue.put(message)
            return
        if not queue.unconfirmed:
            self.timer.restart()
        queue.put_unconfirmed(message)
        if not self._send(message.data, payload):
            queue.put_back(message)
        elif len(queue.unconfirmed) == 1 or self._monitor.kind is not ProofKind.PONG:
            self._note_sent(message)
            self.check_written()
        else:
            self._ask_early()

    def _ask_early(self) -> None:
        """Ask how far the server has read without more delay where half of the window is used, lest the other be."""
        if self._ping_delay is not None and 2 * len(self._queue.unconfirmed) >= self.window:
            self._ping_delay.cancel()

    def _send(self, data: str | bytes, payload: bytes) -> bool:
        try:
            return self._session.put(data, payload, beyond_room=False)
        except (SocketLostError, SocketClosedError):
            return False

    def _send_more(self) -> None:
        if self._may_send():
            self.tasks.ensure(self._send_with_room)

    def _may_send(self) -> bool:
        return bool(self._queue.waiting) and self._has_window()

    def _has_window(self) -> bool:
        return len(self._queue.unconfirmed) < self.window or self.timer.expired

    def _note_sent(self, message: QueuedMessage) -> None:
        """Note what will prove that a message was delivered, which the connection has just been given."""
        if self._monitor.kind is ProofKind.PONG:
            self.tasks.ensure(self._send_pings)
            self._expect_proof()
            return
        position = self._session.writer.taken
        if self._monitor.kind is ProofKind.ACKNOWLEDGEMENT:
            self._expect_proof()
            if not message.has_id:
                self._ids.of_sent(message.data, partial(self._queue.set_id, message))
        if message.id is None:
            if self._positions is None:
                self._positions = deque()
            self._positions.append((position, message.number))

    @trio.lowlevel.enable_ki_protection
    async def _send_with_room(self) -> None:
        """Send what the connection had no room for, as it gets room."""
        while self._may_send() and self._session.life.is_open:
            await self._session.writer.use_room(self.send_waiting)
            await trio.lowlevel.checkpoint()

    def check_written(self) -> None:
        """Count as delivered what needs no other proof than being written."""
        written, confirmed = self._session.writer.written, False
        for ping in self._pings:
            if ping.written_at is None and ping.position <= written:
                ping.written_at = trio.current_time()
        while self._positions and self._positions[0][0] <= written:
            confirmed |= self._queue.confirm(self._positions.popleft()[1])
        if confirmed:
            self._wake()

    def note_proof(self) -> None:
        """Note that a proof came which is not about writing alone."""
        self._any_proof = True
        self._monitor.note_proof()
        self.timer.note_proof()
        self._expect_proof()
        self._wake()

    def _expect_proof(self) -> None:
        if self.timer.is_of_use:
            self.tasks.ensure(self._watch_time)

    @trio.lowlevel.enable_ki_protection
    async def _watch_time(self) -> None:
        await self.timer.run()
        self._send_more()

    def _wake(self) -> None:
        self._send_more()
        self._progress.unpark_all()

    @trio.lowlevel.enable_ki_protection
    async def _send_pings(self) -> None:
        """Ask until the server has read all how far it has, with one ping at a time unless it is slow to answer."""
        queue, pings = self._queue, self._pings
        while queue.unconfirmed:
            if 2 * len(queue.unconfirmed) < self.window and not pings:
                with trio.move_on_after(_PING_DELAY) as self._ping_delay:
                    await trio.sleep_forever()
                self._ping_delay = None
            if len(pings) < _MAX_PINGS:
                ping = self._session.send_ping(in_order=True)
                pings.append(DeliveryPing(ping, next(reversed(queue.unconfirmed)), self._session.writer.taken))
                self.check_written()
            with trio.move_on_after(_PING_INTERVAL):
                await pings[0].ping.settled.wait()
            if not self._check_pongs():
                return  # the connection has ended

    def _check_pongs(self) -> bool:
        """Count as delivered what went before a ping that was answered; False when no pong can come any more."""
        while self._pings and self._pings[0].ping.settled.is_set():
            answered = self._pings.pop(0)
            if answered.ping.rtt is None:
                return False
            self._queue.confirm_through(answered.number)
            self.window = min(2 * self.window, max(_FIRST_WINDOW, self._queue.limits.max_messages))
            self.note_proof()
        return True

    def finish(self) -> None:
        """Count what was written, and note a connection that was lost before its first pong.

        A Close frame of the server proves nothing: it may have crossed ours.
        """
        self.check_written()
        lost = bool(self._queue.unconfirmed) and self._session.life.own_close is None
        if self._monitor.kind is ProofKind.PONG and lost and not self._any_proof:
            self._monitor.note_lost_connection()
