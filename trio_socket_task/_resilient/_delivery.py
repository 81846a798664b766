"""The outbox and one connection: gives it messages in order, and notes what is proven to be delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import final

import attrs
import trio

from trio_socket_task._errors import SocketClosedError, SocketLostError
from trio_socket_task._session._pings import PendingPing
from trio_socket_task._socket_task import SocketTask, session_of

from ._outbox import Letters
from ._proof import Evidence, Ids

_FIRST_WINDOW = 8
"""Messages that a new connection is given before a first pong; each pong lets twice as many be under way. So a server
that dies of a flood is not given all of the flood again and again."""
_PACE = 0.05
"""Seconds between a message and the ping that asks whether it was read: one ping for all that is sent meanwhile."""
_PATIENCE = 10.0
"""Seconds after which another ping is sent: of several a peer need answer the latest only (RFC 6455 section 5.5.3), and
that may have been a heartbeat's."""
_MOST_PINGS = 32
"""Pings that may wait for their pong."""


@final
@attrs.define(eq=False)
class _Question:
    """A ping that asks how far the server has read."""

    ping: PendingPing
    number: int
    """The last message that went before it."""
    mark: int
    """What `Writer.written` is when it was written."""
    left_at: float | None = None
    """When that was."""


@final
class Delivery:
    """What one connection is given, and what proves that it was delivered."""

    def __init__(
        self, task: SocketTask, letters: Letters, ids: Ids, evidence: Evidence, on_progress: Callable[[], None]
    ) -> None:
        self._task = task
        self._session = session_of(task)
        self._letters = letters
        self._ids = ids
        self._evidence = evidence
        self._on_progress = on_progress  # called when something was delivered
        self._proven = False  # whether there was any proof, other than of being written
        self._by_pong = letters.limits.proof == "pong"
        self._by_writing = letters.limits.proof == "written"
        self._window = _FIRST_WINDOW if self._by_pong else letters.limits.max_messages
        self._pings: deque[_Question] = deque()
        self._marks: deque[tuple[int, int]] = deque()  # what `writer.written` is then, and the message
        self._since = 0.0  # from when on a proof is waited for
        self._heard = 0  # how many messages had come then
        self._missing = False  # whether no proof came in time, so that messages no longer wait for one
        self._pump = trio.lowlevel.ParkingLot()
        self._asker = trio.lowlevel.ParkingLot()
        self._watcher = trio.lowlevel.ParkingLot()

    def hand_over(self) -> None:
        """Give the connection at once what it has room for; the rest is the pump's."""
        with suppress(SocketLostError, SocketClosedError, trio.WouldBlock):
            while self._may_hand():
                if not self._letters.handed:
                    self._begin_to_wait()
                self._task.send_nowait(self._letters.oldest.data)
                self._note(self._session.writer.taken)
        if self._may_hand():
            self._pump.unpark()
        self.look_at_written()

    def _may_hand(self) -> bool:
        letters = self._letters
        return bool(letters.waiting) and (len(letters.handed) < self._window or self._missing)

    def _begin_to_wait(self) -> None:
        self._since = trio.current_time()
        self._heard = self._session.traffic.messages_received

    def _note(self, mark: int) -> None:
        """Note that the connection has the oldest message, and what will prove it."""
        letter = self._letters.hand()
        if self._by_pong:
            self._asker.unpark()
            self._watcher.unpark()
            return
        if not self._by_writing:
            self._watcher.unpark()
            if not letter.has_id:
                self._letters.identify(letter, self._ids.of_sent(letter.data))
        if letter.id is None:
            self._marks.append((mark, letter.number))

    @trio.lowlevel.enable_ki_protection
    async def pump(self) -> None:
        """Give the connection what it had no room for, as it gets room, for as long as it takes messages."""
        while self._session.life.is_open:
            if self._may_hand():
                await self._session.writer.use_room(self.hand_over)
                await trio.lowlevel.checkpoint()
            else:
                await self._pump.park()

    def look_at_written(self) -> None:
        """Count as delivered what needs no other proof than being written."""
        written, confirmed = self._session.writer.written, False
        for question in self._pings:
            if question.left_at is None and question.mark <= written:
                question.left_at = trio.current_time()
        while self._marks and self._marks[0][0] <= written:
            confirmed |= self._letters.confirm(self._marks.popleft()[1])
        if confirmed:
            self._go_on()

    def prove(self) -> None:
        """Note that a proof came which is not about writing alone."""
        self._proven = True
        self._missing = False
        self._begin_to_wait()
        self._evidence.come()
        self._watcher.unpark()
        self._go_on()

    def _go_on(self) -> None:
        self._pump.unpark()
        self._on_progress()

    @trio.lowlevel.enable_ki_protection
    async def ask(self) -> None:
        """Ask again and again how far the server has read, one ping at a time unless it is slow to answer."""
        letters, pings = self._letters, self._pings
        while self._by_pong:
            if not letters.handed:
                await self._asker.park()
                continue
            if len(letters.handed) < self._window and not pings:
                await trio.sleep(_PACE)
            if len(pings) < _MOST_PINGS:
                ping = self._session.send_ping(in_order=True)
                pings.append(_Question(ping, next(reversed(letters.handed)), self._session.writer.taken))
                self.look_at_written()
            with trio.move_on_after(_PATIENCE):
                await pings[0].ping.settled.wait()
            if not self._look_at_pongs():
                return  # the connection has ended

    def _look_at_pongs(self) -> bool:
        """Count as delivered what went before a ping that was answered; False when no pong can come any more."""
        while self._pings and self._pings[0].ping.settled.is_set():
            question = self._pings.popleft()
            if question.ping.rtt is None:
                return False
            self._letters.confirm_through(question.number)
            self._window = min(2 * self._window, max(_FIRST_WINDOW, self._letters.limits.max_messages))
            self.prove()
        return True

    @trio.lowlevel.enable_ki_protection
    async def watch(self) -> None:
        """Say so when no proof comes in time, and let the messages go on without.

        The time does not run while bytes are being written, because what asks for the proof may wait behind them, nor
        while reading is paused. An application that has ever acknowledged anything may take its time.
        """
        session, timeout = self._session, self._evidence.timeout
        while not self._by_writing:
            now = trio.current_time()
            since = max(self._since, self._left_at(), session.reader.paused_until)
            if self._missing or not self._waits_for_proof():
                await self._watcher.park()
            elif now < since + timeout:
                await trio.sleep_until(min(since, now) + timeout)
            elif self._is_silent():
                await trio.sleep(timeout)
            else:
                self._missing = True
                self._evidence.fail()
                self._pump.unpark()

    def _left_at(self) -> float:
        """When what asks for the proof was written, or, while it waits, bytes before it."""
        writer = self._session.writer
        if self._pings and self._pings[0].left_at is not None:
            return self._pings[0].left_at
        return writer.progress if writer.written < writer.taken else self._since

    def _is_silent(self) -> bool:
        """Whether the peer may be gone, which the heartbeat finds out: then it need not be given all there is."""
        heartbeat = self._session.options.heartbeat
        pings = heartbeat is not None and heartbeat.message is None
        return self._by_pong and pings and self._session.traffic.messages_received == self._heard

    def _waits_for_proof(self) -> bool:
        if self._by_pong:
            return bool(self._letters.handed)
        return not self._evidence.ever and any(letter.id is not None for letter in self._letters.handed.values())

    def finish(self) -> None:
        """Draw the last conclusions: a Close frame of the server is none, for it may have crossed ours."""
        self.look_at_written()
        if self._by_pong and self._letters.handed and not self._proven and self._session.life.requested is None:
            self._evidence.lose()
