"""The callbacks of calls that concern no socket, and of all calls that are made after the end of the program."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from enum import Enum, auto
from functools import partial
from typing import final

import trio

from trio_socket_task._thread import HomeThread

from ._arguments import CallRefusedError
from ._callbacks import PendingCallback, ProgramNursery
from ._err_msg import PROGRAM_ENDED


class _Phase(Enum):
    RUNNING = auto()
    ENDING = auto()
    """The block is being left: callbacks of calls that are made now are called last of all."""
    ENDED = auto()
    """Those are being called, or were: callbacks of calls that are made now are not called."""


@final
class ProgramCallbacks:
    """The callbacks of calls that concern no socket, in the order of the calls; an async one delays no other.

    Once the program has ended, those of every call are among these. They are called last of all, and calls that are
    made by them have none.
    """

    def __init__(self, nursery: ProgramNursery) -> None:
        self.thread: HomeThread = HomeThread()
        """Where the program runs, and its functions may be called."""
        self._nursery = nursery
        self._phase = _Phase.RUNNING
        self._waiting: deque[list[PendingCallback]] = deque()
        self._last: deque[list[PendingCallback]] = deque()  # of calls after the end
        self._running = False

    @property
    def ended(self) -> bool:
        """Whether the program has ended: its block is being left, or was."""
        return self._phase is not _Phase.RUNNING

    def end(self) -> None:
        """End the program: its block is being left."""
        self._phase = _Phase.ENDING

    def check_not_ended(self) -> None:
        """Refuse a connection after the end.

        Raises:
            CallRefusedError: The program has ended.
        """
        if self._phase is not _Phase.RUNNING:
            raise CallRefusedError(PROGRAM_ENDED)

    def put(self, callbacks: list[PendingCallback]) -> None:
        """Queue the callbacks of one call, which are called one after another."""
        if self._phase is _Phase.RUNNING:
            self._waiting.append(callbacks)
            self._start()
        elif self._phase is _Phase.ENDING:
            self._last.append(callbacks)

    def _start(self) -> None:
        if not self._running:
            self._nursery.start_soon(self._run)
            self._running = True

    async def _run(self) -> None:
        while self._waiting:
            self._call(self._waiting.popleft())
            await trio.lowlevel.checkpoint()
        self._running = False

    def call_waiting(self) -> None:
        """Call those that wait now: those of a refusal before an event come before it, whichever task runs first."""
        for _ in range(len(self._waiting)):
            self._call(self._waiting.popleft())

    def _call(self, callbacks: list[PendingCallback]) -> None:
        for number, callback in enumerate(callbacks, 1):
            awaitable = callback.call()
            if awaitable is not None:
                self._nursery.start_soon(partial(self._wait, callback, awaitable, callbacks[number:]))
                return

    async def _wait(self, callback: PendingCallback, awaitable: Awaitable[object], rest: list[PendingCallback]) -> None:
        await self._nursery.wait_for(callback, awaitable)
        self._call(rest)

    @trio.lowlevel.enable_ki_protection
    async def finish(self, finished: trio.Event) -> None:
        """Wait until every callback has been called, then call those of calls after the end, and none after them."""
        with trio.CancelScope(shield=True):
            await self._nursery.wait_idle()
            self._phase = _Phase.ENDED
            if self._last:
                self._waiting = self._last
                self._start()
                await self._nursery.wait_idle()
            finished.set()
