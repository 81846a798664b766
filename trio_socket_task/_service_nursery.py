"""A nursery whose body ends before its tasks do, and whose body's exception comes out as it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import final

import trio


@final
class Block:
    """The nursery of an ``async with`` block.

    Its tasks are shielded: they end when the block tells them to, and never raise. So the nursery has nothing to say
    about the body's exception, which passes by it unchanged and un-nested.
    """

    def __init__(self) -> None:
        self._manager = trio.open_nursery(strict_exception_groups=True)

    @trio.lowlevel.enable_ki_protection
    async def enter(self) -> trio.Nursery:
        """Open the nursery."""
        self._nursery = await self._manager.__aenter__()
        self._task = trio.lowlevel.current_task()
        return self._nursery

    @trio.lowlevel.enable_ki_protection
    async def leave(
        self, error: BaseException | None, close: Callable[[], Awaitable[object]], abort: Callable[[], None]
    ) -> bool:
        """End the tasks and the nursery: by `close` when the body succeeded, else by `abort`, which does not wait.

        When `close` is cancelled, `abort` follows.

        Raises:
            RuntimeError: Another task entered the block; its tasks are ended, but its nursery cannot be (PEP 789).
        """
        if trio.lowlevel.current_task() is not self._task:
            abort()
            raise RuntimeError(
                "a block was entered in one task and left in another, as happens when an async generator yields "
                "inside it and is not closed by the task that iterates over it (PEP 789); wrap the iteration in "
                "`async with contextlib.aclosing(generator) as items:`, or do not yield inside the block"
            )
        if self._nursery.cancel_scope.cancel_called:  # a task raised, which is a bug: let Trio report it
            abort()
            if error is None:
                return bool(await self._manager.__aexit__(None, None, None))
            return bool(await self._manager.__aexit__(type(error), error, error.__traceback__))
        try:
            if error is None:
                await close()
            else:
                abort()
        except BaseException:
            abort()
            await self._manager.__aexit__(None, None, None)
            raise
        await self._manager.__aexit__(None, None, None)
        return False
