"""What a vendor function returns to a program that wants to await it."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import final

import trio

from ._values import Result


@final
class ResultFuture:
    """The result of a call, which is set once."""

    _result: Result | None = None
    _settled: trio.Event | None = None  # once somebody waits, which most programs never do

    @trio.lowlevel.enable_ki_protection
    def set_result(self, result: Result) -> None:
        """Set the result."""
        self._result = result
        if self._settled is not None:
            self._settled.set()

    async def wait(self) -> Result:
        """Wait for the result; each caller has a copy of its own."""
        if self._settled is None:
            self._settled = trio.Event()
            if self._result is not None:
                self._settled.set()
        await self._settled.wait()
        assert self._result is not None  # noqa: S101 (it is set first)
        return self._result.copy()


@final
class Outcome(Awaitable[Result]):
    """How a call turned out: ``result = await wx.sendSocketMessage(data="hello")``.

    Awaiting gives the dict that the callbacks are given, and raises nothing: ``errMsg`` says whether the call
    succeeded. It need not be awaited.
    """

    __slots__ = ("_future",)

    def __init__(self, future: ResultFuture) -> None:
        self._future = future

    def __await__(self) -> Generator[object, object, Result]:
        return self._future.wait().__await__()
