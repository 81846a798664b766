"""One clock for all sockets of a Trio run: a heartbeat of each would cost a task, a scope and wake-ups of its own."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import final

import attrs
import trio

SLACK = 0.01
"""Part of its delay by which a call may come early, to share a wake-up with others."""
_FEW = 64
"""Cancelled timers that are left lying about at least."""


@final
@attrs.define(eq=False)
class Timer:
    """A call to come."""

    earliest: float
    function: Callable[[], None] | None
    """None once it was called, or cancelled."""


@final
class Clock:
    """Calls functions in time, in the order in which they are due. `run` is its task."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Timer]] = []  # each with when it is due, and a number of its own
        self._numbers = count()
        self._cancelled = 0
        self._scope = trio.CancelScope()  # of the present wait, which ends when the first timer is due

    def __len__(self) -> int:
        return len(self._timers)

    def call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        """Call a function, which must not raise, in so many seconds, or up to a hundredth of them earlier."""
        now = trio.current_time()
        timer = Timer(now + seconds * (1 - SLACK), function)
        heappush(self._timers, (now + seconds, next(self._numbers), timer))
        self._set_deadline()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do not call a function, if that is still to come."""
        if timer.function is None:
            return
        timer.function = None
        self._cancelled += 1
        if self._cancelled > max(_FEW, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if entry[2].function is not None]
            heapify(self._timers)
            self._cancelled = 0
        self._set_deadline()

    def _set_deadline(self) -> None:
        timers = self._timers
        while timers and timers[0][2].function is None:
            heappop(timers)
            self._cancelled -= 1
        deadline = timers[0][0] if timers else float("inf")
        if deadline != self._scope.deadline:
            self._scope.deadline = deadline

    async def run(self) -> None:
        """Call what is due, for as long as the run lasts."""
        while True:
            with self._scope:
                await trio.sleep_forever()
            self._scope = trio.CancelScope()
            self._call_due()
            self._set_deadline()

    def _call_due(self) -> None:
        now, timers = trio.current_time(), self._timers
        while timers and timers[0][2].earliest <= now:
            timer = heappop(timers)[2]
            if timer.function is None:
                self._cancelled -= 1
                continue
            function, timer.function = timer.function, None
            function()


_clock: trio.lowlevel.RunVar[Clock] = trio.lowlevel.RunVar("trio_socket_task.clock")


def clock_of_this_run() -> Clock:
    """Return the present run's clock."""
    try:
        return _clock.get()
    except LookupError:
        clock = Clock()
        _clock.set(clock)
        trio.lowlevel.spawn_system_task(clock.run)
        return clock
