"""A block with tasks that serve it: its body ends before them, and the body's exception comes out as it is."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import ClassVar, NoReturn, TypeVar

import trio

from ._mistakes import BLOCK_NAMES, tells_names

_T_co = TypeVar("_T_co", covariant=True)


@tells_names(BLOCK_NAMES)
class ServiceBlock(AbstractAsyncContextManager[_T_co]):
    """An ``async with`` block that can be entered once, with a nursery for its tasks.

    Its tasks are shielded: they end when the block tells them to, and never raise. So the nursery has nothing to say
    about the body's exception, which passes by it unchanged and un-nested.
    """

    maker: ClassVar[str]
    """The function that makes such blocks."""
    nursery: trio.Nursery | None = None
    """Where the tasks run; None before the block is entered."""
    _task: trio.lowlevel.Task | None = None

    def prepare(self) -> None:
        """Check, before there is a nursery, whether the block can be entered at all."""

    @abstractmethod
    async def start(self, nursery: trio.Nursery) -> _T_co:
        """Start the tasks, and return what the body is given; what is raised ends the block as its body's does."""

    @abstractmethod
    async def finish(self) -> None:
        """End the tasks in an orderly way; when this is cancelled, `abort` follows."""

    @abstractmethod
    def abort(self) -> None:
        """End the tasks without waiting for a peer."""

    def __enter__(self) -> NoReturn:
        raise TypeError(self._advice("with"))

    def __exit__(self, *_error: object) -> None:
        """Do nothing; Python looks for this before it enters."""

    def __await__(self) -> NoReturn:
        raise TypeError(self._advice("await"))

    def _advice(self, word: str) -> str:
        maker = self.maker
        return f"{maker}() makes an asynchronous block, not for `{word}`; write `async with {maker}(...) as ...:`"

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> _T_co:
        try:
            task = trio.lowlevel.current_task()
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.maker}() needs a Trio run, and there is none here; start the program with trio.run(main), "
                "not with asyncio.run(main())"
            ) from error
        if self._task is not None:
            raise RuntimeError(f"a block can be entered once; call {self.maker}() for each block")
        self.prepare()
        self._task = task
        self._nursery_manager = trio.open_nursery(strict_exception_groups=True)
        self.nursery = await self._nursery_manager.__aenter__()
        try:
            return await self.start(self.nursery)
        except BaseException as error:
            await self._leave(self.nursery, error)
            raise

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        """End the tasks and the nursery.

        Raises:
            RuntimeError: Another task entered the block; its tasks are ended, but its nursery cannot be (PEP 789).
        """
        assert self.nursery is not None  # noqa: S101 (set on entry)
        if trio.lowlevel.current_task() is not self._task:
            self.abort()
            raise RuntimeError(
                "a block was entered in one task and left in another, as happens when an async generator yields "
                "inside it and is not closed by the task that iterates over it (PEP 789); wrap the iteration in "
                "`async with contextlib.aclosing(generator) as items:`, or do not yield inside the block"
            )
        return await self._leave(self.nursery, error)

    async def _leave(self, nursery: trio.Nursery, error: BaseException | None) -> bool:
        if nursery.cancel_scope.cancel_called:  # a task raised, which is a bug: let Trio report it
            self.abort()
            if error is None:
                return bool(await self._nursery_manager.__aexit__(None, None, None))
            return bool(await self._nursery_manager.__aexit__(type(error), error, error.__traceback__))
        try:
            if error is None:
                await self.finish()
            else:
                self.abort()
        except BaseException:
            self.abort()
            await self._nursery_manager.__aexit__(None, None, None)
            raise
        await self._nursery_manager.__aexit__(None, None, None)
        return False
