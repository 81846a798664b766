"""Running a program's functions: in its nursery, one socket's one after another, and logged if they raise."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import final

import attrs
import trio

from trio_socket_task._events import CloseEvent, ErrorEvent, SocketEvent
from trio_socket_task._session._mailbox import Mailbox

from ._arguments import Callback, RefusedError
from ._outcome import Outcome
from ._values import AnyResult

_logger = logging.getLogger("trio_socket_task.miniprogram")
_UNLIMITED = 2**63
"""Of a mailbox that takes no messages: what the program itself causes is not refused."""


@final
@attrs.frozen
class Call:
    """A function of the program, and what it is to be given. What it raises is logged, unless it ends the program."""

    function: Callback
    result: AnyResult

    def begin(self) -> Awaitable[object] | None:
        """Call it, and give what is to be awaited, if it is async."""
        try:
            returned = self.function(self.result)
            # An Outcome is what `lambda res: task.send(...)` returns without meaning to wait for it.
            return returned if inspect.isawaitable(returned) and not isinstance(returned, Outcome) else None
        except Exception as error:  # noqa: BLE001 (it is the program's, and is logged)
            self._log(error)
            return None

    async def finish(self, begun: Awaitable[object]) -> None:
        """Run the async part."""
        try:
            await begun
        except Exception as error:  # noqa: BLE001 (as above)
            self._log(error)
        except BaseExceptionGroup as group:  # the program is being cancelled, and a part of it objects
            failures, others = group.split(Exception)
            self._log(failures or group)
            raise others or group from None

    def _log(self, error: BaseException) -> None:
        name = type(self.function).__qualname__
        with suppress(Exception):  # whatever somebody's object raises when it is asked for its name
            name = self.function.__qualname__
        _logger.error("%s raised; the program goes on", name, exc_info=error)


@final
class Workers:
    """The tasks of a program. Each goes on until it has nothing to do, even when the program is cancelled from outside.

    So whatever was asked is told: a program that is cancelled, or fails, has its async functions cancelled instead.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._at_work = 0
        self._tasks: set[trio.lowlevel.Task] = set()
        self._idle = trio.lowlevel.ParkingLot()
        self._scopes: set[trio.CancelScope] = set()  # of the async functions that run
        self._cancelled = False

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start a task."""
        self._at_work += 1
        self._nursery.start_soon(self._run, work)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.add(trio.lowlevel.current_task())
        try:
            with trio.CancelScope(shield=True):
                await work()
        finally:
            self._tasks.remove(trio.lowlevel.current_task())
            self._at_work -= 1
            if not self._at_work:
                self._idle.unpark_all()

    async def finish(self, call: Call, begun: Awaitable[object]) -> None:
        """Run the async part of a call."""
        with trio.CancelScope(shield=True) as scope:
            self._scopes.add(scope)
            if self._cancelled:
                scope.cancel()
            try:
                await call.finish(begun)
            finally:
                self._scopes.remove(scope)

    def cancel(self) -> None:
        """Cancel the async functions that run, and those that are still to be called."""
        self._cancelled = True
        for scope in self._scopes:
            scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until no task is at work.

        Raises:
            RuntimeError: One of them would wait for itself.
        """
        await trio.lowlevel.checkpoint()
        if trio.lowlevel.current_task() in self._tasks:
            raise RuntimeError(
                "a callback or listener cannot wait for wait_closed(), which waits for it; return instead"
            )
        while self._at_work:
            await self._idle.park()


@final
class Refusals:
    """What is to be called on behalf of no socket: in the order of the calls, but an async callback delays no other.

    Once the program has ended, every call is one of these. Their callbacks are called last, when nothing else is left
    to be called, and calls that those make have none.
    """

    def __init__(self, workers: Workers) -> None:
        self.ended: bool = False
        """Whether the program has ended: set when its block is being left."""
        self._workers = workers
        self._waiting: deque[Sequence[Call]] = deque()
        self._running = False
        self._late: deque[Sequence[Call]] | None = deque()  # of calls after the end; None when that is over as well

    def check_not_ended(self) -> None:
        """Raise what refuses a connection after the end.

        Raises:
            RefusedError: The program has ended.
        """
        if self.ended:
            raise RefusedError("the mini program has ended")

    def put(self, calls: Sequence[Call]) -> None:
        """Let functions be called, one after another, after those of earlier refusals have been begun."""
        if not self.ended:
            self._waiting.append(calls)
            self._start()
        elif self._late is not None:
            self._late.append(calls)

    def _start(self) -> None:
        if not self._running:
            self._running = True
            self._workers.start(self._run)

    async def _run(self) -> None:
        while self._waiting:
            self._begin(self._waiting.popleft())
            await trio.lowlevel.checkpoint()
        self._running = False

    def begin_all(self) -> None:
        """Begin what waits now: what was refused before an event is told before it, whichever task runs first."""
        for _ in range(len(self._waiting)):
            self._begin(self._waiting.popleft())

    def _begin(self, calls: Sequence[Call]) -> None:
        for number, call in enumerate(calls, 1):
            begun = call.begin()
            if begun is not None:
                self._workers.start(partial(self._finish, call, begun, calls[number:]))
                return

    async def _finish(self, call: Call, begun: Awaitable[object], rest: Sequence[Call]) -> None:
        await self._workers.finish(call, begun)
        self._begin(rest)

    @trio.lowlevel.enable_ki_protection
    async def finish(self, finished: trio.Event) -> None:
        """Wait until everything that was asked is told, then tell what was asked after the end, and nothing more."""
        with trio.CancelScope(shield=True):
            await self._workers.wait_idle()
            if self._late:
                self._waiting, self._late = self._late, None
                self._start()
                await self._workers.wait_idle()
            self._late = None
            finished.set()


@final
class Turns:
    """What is to be called on behalf of one socket, and the task that does it, for as long as there is something.

    Events and callbacks share one mailbox, so they come in the order in which they happened; but the failure and the
    close come after everything that was asked before the program hears of them.
    """

    def __init__(
        self,
        workers: Workers,
        refusals: Refusals,
        hear: Callable[[SocketEvent], Iterable[Call]],
        on_end: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        self.mailbox: Mailbox[SocketEvent | Sequence[Call]] = Mailbox(_UNLIMITED, endless=True)
        self._workers = workers
        self._refusals = refusals
        self._hear = hear
        self._on_end = on_end  # called before the program hears of the failure or the close
        self._on_closed = on_closed
        self._late: list[tuple[int, Call]] = []  # to hear of what came before all that waits in the mailbox
        self._listening = False
        self._running = False

    def listen(self, limit: int) -> None:
        """Wait for events from now on, until the close event was heard; `limit` is in bytes."""
        self.mailbox.limit = limit
        self._listening = True
        self._start()

    def put(self, calls: Sequence[Call]) -> None:
        """Let functions be called after what is already waiting, but for the end of the socket."""
        self.mailbox.put(calls, 0)
        items, place = self.mailbox.items, -1
        while len(items) >= 1 - place and _is_end(items[place - 1][0]):
            place -= 1
        items.insert(len(items) + place, items.pop())
        self._start()

    def put_late(self, call: Call, rank: int) -> None:
        """Let a function be called before what is already waiting: it is to hear of something that came earlier.

        Of several, that of the lowest rank is called first.
        """
        self._late.append((rank, call))
        self._late.sort(key=itemgetter(0))
        self.mailbox.readers.unpark()
        self._start()

    def move_end_to_end(self) -> None:
        """Let messages that were kept come before the failure and the close that are already waiting."""
        items = self.mailbox.items
        end = [item for item in items if _is_end(item[0])]
        others = [item for item in items if not _is_end(item[0])]
        items.clear()
        items.extend([*others, *end])

    def _start(self) -> None:
        if not self._running:
            self._running = True
            self._workers.start(self._run)

    async def _run(self) -> None:
        while self._late or self.mailbox.items or self._listening:
            self._refusals.begin_all()
            if self._late:
                await self._take([self._late.pop(0)[1]])
            elif self.mailbox.items:
                if _is_end(self.mailbox.items[0][0]):
                    self._on_end()
                await self._take(self.mailbox.pop()[0])
            else:
                await self.mailbox.readers.park()
            await trio.lowlevel.checkpoint()
        self._running = False

    async def _take(self, item: SocketEvent | Sequence[Call]) -> None:
        for call in item if isinstance(item, Sequence) else self._hear(item):
            begun = call.begin()
            if begun is not None:
                await self._workers.finish(call, begun)
        if isinstance(item, CloseEvent):
            self._listening = False
            self._on_closed()


def _is_end(item: SocketEvent | Sequence[Call]) -> bool:
    return isinstance(item, ErrorEvent | CloseEvent)
