"""One call of a vendor function: its result is told to its callbacks and to whoever awaits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from ._arguments import Arguments, Callback
from ._callbacks import PendingCallback
from ._err_msg import ok
from ._outcome import Outcome, ResultFuture
from ._values import Result

Put = Callable[[list[PendingCallback]], None]
"""Queues the callbacks of one call."""


@final
class Invocation:
    """A call that has been made, and succeeds or fails once; its callbacks are those that it was given at first."""

    __slots__ = ("_complete", "_fail", "_future", "_name", "_put", "_success", "outcome")

    def __init__(self, name: str, arguments: Arguments, put: Put) -> None:
        self._name = name
        self._success, self._fail, self._complete = arguments.callbacks()
        self._put = put
        self._future = ResultFuture()
        self.outcome: Outcome = Outcome(self._future)
        """What the call returns."""

    def succeed(self, number: int | None = None, put: Put | None = None) -> Outcome:
        """Queue ``success`` and then ``complete``, by `put` where the call has made a socket."""
        self._put = put or self._put
        return self._settle(self._success, ok(self._name), number)

    def fail(self, message: str, number: int | None = None) -> Outcome:
        """Queue ``fail`` and then ``complete``; `message` is the whole of errMsg."""
        return self._settle(self._fail, message, number)

    def _settle(self, callback: Callback | None, message: str, number: int | None) -> Outcome:
        result: Result = {"errMsg": message}
        if number is not None:
            result["socketTaskId"] = number
        self._future.set_result(result)
        if callback is not None or self._complete is not None:
            functions = (callback, self._complete)
            self._put([PendingCallback(function, result.copy()) for function in functions if function is not None])
        return self.outcome
