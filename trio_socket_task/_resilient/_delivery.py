"""The outbox and one connection: gives it messages in order, and learns which the server has read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import final

import trio

from trio_socket_task._errors import SocketClosedError, SocketLostError
from trio_socket_task._pings import PendingPing
from trio_socket_task._task import SocketTask

from ._outbox import Letters

_FIRST_WINDOW = 8
"""Messages that a new connection is given before the server has shown to read; each time it has, twice as many may be
under way. So a server that dies of a flood is not given all of the flood again and again."""
_PACE = 0.05
"""Seconds between a message and the ping that asks whether it was read: one ping for all that is sent meanwhile."""
_PATIENCE = 10.0
"""Seconds after which another ping is sent: of several a peer need answer the latest only (RFC 6455 section 5.5.3), and
that may have been a heartbeat's."""
_MOST_PINGS = 32
"""Pings that may wait for their pong."""


@final
class Delivery:
    """What one connection is given."""

    def __init__(self, task: SocketTask, letters: Letters, on_progress: Callable[[], None]) -> None:
        self._task = task
        self._driver = task._driver
        self._letters = letters
        self._on_progress = on_progress  # called when the server was seen to have read something
        self._window = _FIRST_WINDOW
        self._sent = 0  # how many messages the connection has taken
        self._pump = trio.lowlevel.ParkingLot()
        self._asker = trio.lowlevel.ParkingLot()
        self._flushed = trio.lowlevel.ParkingLot()

    def hand_over(self) -> None:
        """Give the connection at once what it has room for; the rest is the pump's."""
        with suppress(SocketLostError, SocketClosedError, trio.WouldBlock):
            while self._may_hand():
                self._task.send_nowait(self._letters.waiting[0].data)
                self._letters.hand()
                self._sent += 1
                self._asker.unpark()
        if self._may_hand():
            self._pump.unpark()

    def _may_hand(self) -> bool:
        return bool(self._letters.waiting) and self._under_way < self._window

    @property
    def _under_way(self) -> int:
        return self._sent - self._letters.confirmed

    @trio.lowlevel.enable_ki_protection
    async def pump(self) -> None:
        """Give the connection what it had no room for, as it gets room, for as long as it takes messages."""
        while not self._driver.outgoing.finished:
            if self._may_hand():
                await self._driver.outgoing.use_room(self.hand_over)
            else:
                await self._pump.park()

    @trio.lowlevel.enable_ki_protection
    async def ask(self) -> None:
        """Ask again and again how far the server has read, one ping at a time unless it is slow to answer."""
        pings: deque[tuple[PendingPing, int]] = deque()
        while True:
            while not self._under_way:
                self._flushed.unpark_all()
                await self._asker.park()
            if self._under_way < self._window and not pings:
                await trio.sleep(_PACE)
            if len(pings) < _MOST_PINGS:
                pings.append((self._driver.signs.ping(in_order=True), self._sent))
            with trio.move_on_after(_PATIENCE):
                await pings[0][0].settled.wait()
            while pings and pings[0][0].settled.is_set():
                ping, sent = pings.popleft()
                if ping.rtt is None:
                    return  # the connection has ended
                self._confirm(sent)

    def _confirm(self, sent: int) -> None:
        self._letters.confirm(sent)
        self._window *= 2
        self._pump.unpark()
        self._on_progress()

    async def flush(self) -> None:
        """Wait until the server has read everything."""
        await trio.lowlevel.checkpoint()
        while self._letters.waiting or self._under_way:
            await self._flushed.park()

    def finish(self) -> None:
        """Draw the last conclusion from a close handshake that this side began: its answer comes after everything.

        A Close that is no answer, because it crossed ours, has another code, or ours did not go out whole.
        """
        life = self._driver.life
        is_answer = life.requested is not None and life.peer is not None and life.peer[0] == life.requested[0]
        if is_answer and not self._driver.outgoing.size:
            self._letters.confirm(self._sent)
