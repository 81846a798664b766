"""Looks at the clock for one socket, and into the socket before it believes the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from ._clock import Timer, clock_of_this_run
from ._reader import Reader

_NOW = 1e-6  # seconds: less than this is no time to wait


@final
class Watch:
    """Asks how many seconds are left, waits for so long, and asks again; at 0 they are over.

    Before that is believed, what has come already is read, because the program may have been stopped or busy.
    """

    __slots__ = ("_clock", "_nursery", "_on_over", "_reader", "_seconds_left", "_timer")

    def __init__(
        self,
        reader: Reader,
        nursery: trio.Nursery,
        seconds_left: Callable[[], float | None],
        on_over: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._nursery = nursery
        self._seconds_left = seconds_left  # or None, when there is nothing to wait for any more
        self._on_over = on_over
        self._clock = clock_of_this_run()
        self._timer: Timer | None = None

    def start(self, seconds: float) -> None:
        """Ask in so many seconds for the first time."""
        self._timer = self._clock.call_later(seconds, self._ask)

    def end(self) -> None:
        """Ask no more; the references to who is asked go."""
        if self._timer is not None:
            self._clock.cancel(self._timer)
            self._timer = None

    def _ask(self) -> None:
        self._timer = None
        if self._are_over():
            self._nursery.start_soon(self._look)

    def _are_over(self) -> bool:
        left = self._seconds_left()
        if left is None:
            return False
        if left > _NOW:
            self.start(left)
        return left <= _NOW

    @trio.lowlevel.enable_ki_protection
    async def _look(self) -> None:
        await self._reader.look()
        if self._are_over():
            self._on_over()
