"""The script's timers, on Trio's clock."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf, isfinite
from typing import Final, final

import attrs
import trio

_LEAST: Final = 0.001  # as browsers and Node have it, so that time goes on for a script that starts timer after timer
_LARGEST: Final = 2**31 - 1  # milliseconds; browsers and Node take what is longer for 1


@final
@attrs.define(eq=False, order=False)
class _Timer:
    deadline: float
    interval: float | None
    call: Callable[[], object] | None = None
    """What is called in place of the script's own timer."""


@final
class Timers:
    """Timers by the numbers that the script knows them by; those of one instant end in the order of their start."""

    def __init__(self) -> None:
        self._timers: dict[int, _Timer] = {}
        self._due: list[tuple[float, int, int, _Timer]] = []
        self._started = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._empty = trio.lowlevel.ParkingLot()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._timers)

    def start(self, number: int, milliseconds: object, repeats: object) -> None:
        """Start a timer; one that repeats does so until it is cleared."""
        if self._stopped:
            return
        delay = milliseconds if isinstance(milliseconds, int | float) and isfinite(milliseconds) else 0
        seconds = _LEAST if delay > _LARGEST else max(delay / 1000, _LEAST)
        self._timers[number] = timer = _Timer(trio.current_time() + seconds, seconds if repeats else None)
        self._put(number, timer)
        self._changed.unpark_all()

    def start_call(self, call: Callable[[], object]) -> None:
        """Call a function as soon as the script rests."""
        if self._stopped:
            return
        number = -self._started - 1  # the script's own are positive
        self._timers[number] = timer = _Timer(trio.current_time(), None, call)
        self._put(number, timer)
        self._changed.unpark_all()

    def _put(self, number: int, timer: _Timer) -> None:
        self._started += 1
        heappush(self._due, (timer.deadline, self._started, number, timer))

    def clear(self, number: int) -> None:
        """Stop a timer."""
        self._timers.pop(number, None)
        self._tell_if_empty()

    def stop(self) -> None:
        """Stop all timers, and start none any more."""
        self._stopped = True
        self._timers.clear()
        self._tell_if_empty()
        self._changed.unpark_all()

    def _tell_if_empty(self) -> None:
        if not self._timers:
            self._empty.unpark_all()

    async def wait_empty(self) -> None:
        """Wait until there is no timer."""
        await trio.lowlevel.checkpoint()
        while self._timers:
            await self._empty.park()

    async def run(self, fire: Callable[[int], object]) -> None:
        """Wait for the timers, and call `fire` with the number of each that has run out, until they are stopped."""
        with trio.CancelScope(shield=True):
            await self._run(fire)

    async def _run(self, fire: Callable[[int], object]) -> None:
        while not self._stopped:
            while self._due and self._timers.get(self._due[0][2]) is not self._due[0][3]:
                heappop(self._due)
            deadline = self._due[0][0] if self._due else inf
            if deadline > trio.current_time():
                with trio.move_on_at(deadline):
                    await self._changed.park()
            else:
                self._fire(heappop(self._due)[2], fire)
                await trio.lowlevel.checkpoint()

    def _fire(self, number: int, fire: Callable[[int], object]) -> None:
        timer = self._timers[number]
        if timer.interval is None:
            del self._timers[number]
        if timer.call is None:
            fire(number)
        else:
            timer.call()
        if timer.interval is not None and number in self._timers:
            timer.deadline = max(timer.deadline, trio.current_time() - timer.interval) + timer.interval
            self._put(number, timer)
        self._tell_if_empty()
