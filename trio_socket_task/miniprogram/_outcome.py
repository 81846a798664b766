"""What a vendor function returns to a program that wants to await it."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import final

import trio

from ._values import Result


@final
class Outcome(Awaitable[Result]):
    """How a call turned out: ``result = await wx.sendSocketMessage(data="hello")``.

    Awaiting gives the dict that the callbacks are given, and raises nothing: ``errMsg`` says whether the call
    succeeded. It need not be awaited.
    """

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._result: Result = {"errMsg": ""}

    def _settle(self, result: Result) -> None:
        self._result = result
        self._settled.set()

    def __await__(self) -> Generator[object, object, Result]:
        return self._wait().__await__()

    async def _wait(self) -> Result:
        await self._settled.wait()
        return self._result.copy()
