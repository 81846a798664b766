"""One call of a vendor function: how it turned out, told to its callbacks and to whoever awaits it."""

from __future__ import annotations

from typing import final

from ._arguments import Arguments
from ._callback_queue import Call, Refusals, Turns
from ._outcome import Outcome
from ._values import Result


@final
class Invocation:
    """A call that has been made and is to be settled once, by `ok` or `fail`; its callbacks are those it came with."""

    def __init__(self, name: str, arguments: Arguments, turns: Turns | Refusals) -> None:
        self.outcome: Outcome = Outcome()
        self._name = name
        self._callbacks = {key: arguments.callback(key) for key in ("success", "fail", "complete")}
        self._turns = turns

    def ok(self, socket_task_id: int | None = None, turns: Turns | Refusals | None = None) -> Outcome:
        """Let ``success`` and then ``complete`` be called, by `turns` where the call has made a socket."""
        self._turns = turns or self._turns
        return self._settle("success", f"{self._name}:ok", socket_task_id)

    def fail(self, message: str, socket_task_id: int | None = None) -> Outcome:
        """Let ``fail`` and then ``complete`` be called; `message` is the whole of errMsg."""
        return self._settle("fail", message, socket_task_id)

    def _settle(self, callback: str, message: str, socket_task_id: int | None) -> Outcome:
        result: Result = {"errMsg": message}
        if socket_task_id is not None:
            result["socketTaskId"] = socket_task_id
        self.outcome._settle(result)
        functions = (self._callbacks[callback], self._callbacks["complete"])
        calls = tuple(Call(function, result.copy()) for function in functions if function is not None)
        if calls:
            self._turns.put(calls)
        return self.outcome
