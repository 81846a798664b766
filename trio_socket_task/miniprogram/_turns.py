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
from trio_socket_task._listeners import Mailbox

from ._arguments import Callback
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
    """The tasks of a program.

    They end when they are stopped, not when the program is cancelled from outside, so that it may come to its own end.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: set[trio.CancelScope] = set()
        self._idle = trio.lowlevel.ParkingLot()
        self._stopped = False

    def start(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Start a task, and say whether it was: after the program's block nothing is started any more."""
        if self._stopped:
            return False
        scope = trio.CancelScope(shield=True)
        self._scopes.add(scope)
        self._nursery.start_soon(self._run, work, scope)
        return True

    async def _run(self, work: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            with scope:
                await work()
        finally:
            self._scopes.remove(scope)
            if not self._scopes:
                self._idle.unpark_all()

    async def wait_idle(self) -> None:
        """Wait until no task is at work."""
        await trio.lowlevel.checkpoint()
        while self._scopes:
            await self._idle.park()

    async def finish(self) -> None:
        """Wait until no task is at work, and start nothing more."""
        await self.wait_idle()
        self.stop()

    def stop(self) -> None:
        """Cancel what is at work, and start nothing more."""
        self._stopped = True
        for scope in self._scopes:
            scope.cancel()


@final
class Turns:
    """What is to be called on behalf of one socket, and the task that does it, for as long as there is something.

    Events and callbacks share one mailbox, so they come in the order in which they happened.
    """

    def __init__(
        self, workers: Workers, hear: Callable[[SocketEvent], Iterable[Call]], on_closed: Callable[[], None]
    ) -> None:
        self.mailbox: Mailbox[SocketEvent | Sequence[Call]] = Mailbox(_UNLIMITED, endless=True)
        self._workers = workers
        self._hear = hear
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
        """Let functions be called after what is already waiting."""
        self.mailbox.put(calls, 0)
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
        end = [item for item in items if isinstance(item[0], ErrorEvent | CloseEvent)]
        others = [item for item in items if not isinstance(item[0], ErrorEvent | CloseEvent)]
        items.clear()
        items.extend([*others, *end])

    def _start(self) -> None:
        if not self._running:
            self._running = self._workers.start(self._run)
            if not self._running:
                self.mailbox.clear()  # the program has ended, and nobody will call
                self._late.clear()

    async def _run(self) -> None:
        while self._late or self.mailbox.items or self._listening:
            if self._late:
                await self._take([self._late.pop(0)[1]])
            elif self.mailbox.items:
                await self._take(self.mailbox.pop()[0])
            else:
                await self.mailbox.readers.park()
            await trio.lowlevel.checkpoint()
        self._running = False

    async def _take(self, item: SocketEvent | Sequence[Call]) -> None:
        for call in item if isinstance(item, Sequence) else self._hear(item):
            begun = call.begin()
            if begun is not None:
                await call.finish(begun)
        if isinstance(item, CloseEvent):
            self._listening = False
            self._on_closed()


@final
class Refusals:
    """What is to be called on behalf of no socket: in the order of the calls, but an async callback delays no other."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._waiting: deque[Sequence[Call]] = deque()

    def put(self, calls: Sequence[Call]) -> None:
        """Let functions be called, one after another, after those of earlier refusals have been begun."""
        if self._waiting or self._workers.start(self._run):
            self._waiting.append(calls)

    async def _run(self) -> None:
        while self._waiting:
            self._begin(self._waiting[0])
            self._waiting.popleft()
            await trio.lowlevel.checkpoint()

    def _begin(self, calls: Sequence[Call]) -> None:
        for number, call in enumerate(calls, 1):
            begun = call.begin()
            if begun is not None:
                self._workers.start(partial(self._finish, call, begun, calls[number:]))
                return

    async def _finish(self, call: Call, begun: Awaitable[object], rest: Sequence[Call]) -> None:
        await call.finish(begun)
        self._begin(rest)
