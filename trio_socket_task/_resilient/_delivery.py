"""The outbox and one connection: gives it messages in order, and learns which the server has read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import final

import trio

from trio_socket_task._errors import SocketClosedError, SocketLostError
from trio_socket_task._task import SocketTask

from ._outbox import Letters

_FIRST_WINDOW = 8
"""Messages that a new connection is given before the server has shown to read; each time it has, twice as many may be
under way. So a server that dies of a flood is not given all of the flood again and again."""
_PACE = 0.05
"""Seconds between a message and the ping that asks whether it was read: one ping for all that is sent meanwhile."""
_PATIENCE = 10.0
"""Seconds after which an unanswered ping is repeated: of several pings a peer need answer the latest only
(RFC 6455 section 5.5.3), and that may have been a heartbeat's."""


@final
class Delivery:
    """What one connection is given. A message is the connection's from `Letters.hand` on."""

    def __init__(self, task: SocketTask, letters: Letters, on_progress: Callable[[], None]) -> None:
        self._task = task
        self._letters = letters
        self._on_progress = on_progress  # called when the server was seen to have read something
        self._window = _FIRST_WINDOW
        self._sent = 0  # how many messages the connection has taken
        self._busy = False  # whether the pump waits with a message in its hands
        self._pump = trio.lowlevel.ParkingLot()
        self._asker = trio.lowlevel.ParkingLot()
        self._flushed = trio.lowlevel.ParkingLot()

    def hand_over(self) -> None:
        """Give the connection at once what it has room for; the rest is the pump's."""
        with suppress(SocketLostError, SocketClosedError):
            while self._may_hand() and not self._busy:
                try:
                    self._task.send_nowait(self._letters.waiting[0].data)
                except trio.WouldBlock:
                    self._pump.unpark()
                    return
                self._letters.hand()
                self._count()

    def _may_hand(self) -> bool:
        return bool(self._letters.waiting) and self._under_way < self._window

    @property
    def _under_way(self) -> int:
        return self._sent - self._letters.confirmed

    def _count(self) -> None:
        self._sent += 1
        self._asker.unpark()

    @trio.lowlevel.enable_ki_protection
    async def pump(self) -> None:
        """Give the connection what it had no room for, as it gets room, for ever."""
        with suppress(SocketLostError, SocketClosedError):
            while True:
                self.hand_over()
                if self._may_hand():
                    letter = self._letters.hand()
                    self._busy = True
                    await self._task.send(letter.data)
                    self._busy = False
                    self._count()
                else:
                    if not self._letters.waiting:
                        self._flushed.unpark_all()
                    await self._pump.park()

    @trio.lowlevel.enable_ki_protection
    async def ask(self) -> None:
        """Ask again and again, one ping at a time, how far the server has read."""
        with suppress(SocketLostError, SocketClosedError):
            while True:
                while not self._under_way:
                    await self._asker.park()
                if self._under_way < self._window:
                    await trio.sleep(_PACE)
                sent = self._sent
                with trio.move_on_after(_PATIENCE):
                    await self._task._ping(in_order=True)
                    self._letters.confirm(sent)
                    self._window *= 2
                    self._pump.unpark()
                    self._on_progress()

    async def flush(self) -> None:
        """Wait until the connection was given everything."""
        await trio.lowlevel.checkpoint()
        while self._letters.waiting or self._busy:
            await self._flushed.park()

    def finish(self) -> None:
        """Draw the last conclusion, when the connection is over: a Close that answers ours comes after everything."""
        life = self._task._driver.life
        if life.requested is not None and life.peer is not None:
            self._letters.confirm(self._sent)
