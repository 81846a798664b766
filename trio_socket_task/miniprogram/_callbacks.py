"""Calling the functions of the program: what they raise is logged, and async ones run in its tasks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import final

import attrs
import trio

from trio_socket_task._log import SafeLogger
from trio_socket_task._mistakes import none_if_nothing

from ._arguments import Callback
from ._outcome import Outcome
from ._values import AnyResult

_logger = SafeLogger("trio_socket_task.miniprogram")


@final
@attrs.define(eq=False)
class PendingCallback:
    """A function of the program, and its argument. What it raises is logged, unless it ends the program."""

    function: Callback
    result: AnyResult

    def call(self) -> Awaitable[object] | None:
        """Call the function; return what is to be awaited, if it is async."""
        try:
            returned = self.function(self.result)
            if returned is None or none_if_nothing(returned) is None:
                return None
            # An Outcome is what `lambda res: task.send(...)` returns without meaning to wait for it.
            return returned if inspect.isawaitable(returned) and not isinstance(returned, Outcome) else None
        except Exception as error:  # noqa: BLE001 (it is the program's, and is logged)
            self._log(error)
            return None

    async def wait(self, awaitable: Awaitable[object]) -> None:
        """Wait for what `call` has returned."""
        try:
            await awaitable
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
class ProgramNursery:
    """The tasks of a program. Each runs until it has nothing to do, even when the program is cancelled from outside.

    So every function that is due is called: a program that is cancelled, or fails, has its async functions cancelled
    instead.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._unfinished = 0  # tasks, those included that have not begun
        self._tasks: set[trio.lowlevel.Task] = set()
        self._idle = trio.lowlevel.ParkingLot()
        self._scopes: set[trio.CancelScope] = set()  # of the async functions that run
        self._cancelled = False

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start a task."""
        self._nursery.start_soon(self._run, function)
        self._unfinished += 1  # only now: one that could not be started never ends

    async def _run(self, function: Callable[[], Awaitable[None]]) -> None:
        self._tasks.add(trio.lowlevel.current_task())
        try:
            with trio.CancelScope(shield=True):
                await function()
        finally:
            self._tasks.remove(trio.lowlevel.current_task())
            self._unfinished -= 1
            if not self._unfinished:
                self._idle.unpark_all()

    async def wait_for(self, callback: PendingCallback, awaitable: Awaitable[object]) -> None:
        """Wait for an async function that has been called."""
        with trio.CancelScope(shield=True) as scope:
            self._scopes.add(scope)
            if self._cancelled:
                scope.cancel()
            try:
                await callback.wait(awaitable)
            finally:
                self._scopes.remove(scope)

    def cancel_functions(self) -> None:
        """Cancel the async functions that run, and those that are still to be called."""
        self._cancelled = True
        for scope in self._scopes:
            scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until every task has ended.

        Raises:
            RuntimeError: One of them would wait for itself.
        """
        await trio.lowlevel.checkpoint()
        if trio.lowlevel.current_task() in self._tasks:
            raise RuntimeError(
                "a callback or listener cannot wait for wait_closed(), which waits for it; return instead"
            )
        while self._unfinished:
            await self._idle.park()
