"""Tasks that exist only while they have something to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import final

import trio

Work = Callable[[], Awaitable[None]]


@final
class OnDemand:
    """Starts tasks in a nursery, once it has one, when there is something to do; each returns when there is no more.

    A task that waits for its turn instead keeps two to three kilobytes, and most sockets are idle most of the time.
    They are shielded from the nursery's cancelling, and end with `aclose`.
    """

    __slots__ = ("_is_closed", "_nursery", "_running", "_stopped")

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._is_closed = False
        self._running: dict[Work, trio.CancelScope] = {}
        self._stopped: trio.Event | None = None

    def open(self, nursery: trio.Nursery) -> None:
        """Run in this nursery what was, and what will be asked for."""
        self._nursery = nursery
        for work in self._running:
            nursery.start_soon(self._run, work)

    def ensure(self, work: Work) -> None:
        """Run `work`, unless that runs already; it must look for what there is to do right before it returns."""
        if work not in self._running and not self._is_closed:
            self._running[work] = trio.CancelScope(shield=True)
            if self._nursery is not None:
                self._nursery.start_soon(self._run, work)

    @trio.lowlevel.enable_ki_protection
    async def _run(self, work: Work) -> None:
        try:
            with self._running[work]:
                await work()
        finally:
            del self._running[work]
            if self._stopped is not None and not self._running:
                self._stopped.set()

    async def aclose(self) -> None:
        """Start nothing any more, cancel what runs, and wait until it has ended."""
        self._is_closed = True
        for scope in self._running.values():
            scope.cancel()
        if self._running:
            self._stopped = trio.Event()
            await self._stopped.wait()
