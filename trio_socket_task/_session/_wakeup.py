"""What wakes tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import final

import trio


@final
class Wakeup:
    """A latch: one task waits for it, anybody may set it, and a set that comes before the wait is kept."""

    __slots__ = ("_is_set", "_task")

    def __init__(self) -> None:
        self._is_set = False
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Wake the task that waits, or the next one that does."""
        task, self._task = self._task, None
        if task is None:
            self._is_set = True
        else:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait until it is set, and reset it; no checkpoint where it is set already."""
        if not self._is_set:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._is_set = False

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


@final
class SmallEvent:
    """A `trio.Event` that takes its 270 bytes only while somebody waits for it."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._event: trio.Event | None = None  # while somebody waits
        self._is_set = False

    @trio.lowlevel.enable_ki_protection
    def set(self) -> None:
        """Set it, for ever, and wake those who wait."""
        self._is_set = True
        if self._event is not None:
            self._event.set()
            self._event = None

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def wait(self) -> Coroutine[object, object, None]:
        """Wait until it is set; a checkpoint."""
        if self._is_set:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 (who calls awaits it)
        if self._event is None:
            self._event = trio.Event()
        return self._event.wait()


async def wait_for_end(ended: SmallEvent, abort: Callable[[], None]) -> None:
    """Wait for the end of something; when this is cancelled, end it by force first."""
    try:
        await ended.wait()
    except BaseException:
        abort()
        with trio.CancelScope(shield=True):
            await ended.wait()
        raise
