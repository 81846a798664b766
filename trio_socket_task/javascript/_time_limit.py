"""A limit of the time that a turn of the script may take."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Protocol, final


class Context(Protocol):
    """The engine's own context, as far as it is used here."""

    def eval(self, source: str) -> object: ...

    def get(self, name: str) -> object: ...

    def add_callable(self, name: str, function: Callable[..., object]) -> None: ...

    def execute_pending_job(self) -> bool: ...

    def set_memory_limit(self, limit: int) -> None: ...

    def set_max_stack_size(self, limit: int) -> None: ...

    def set_time_limit(self, limit: float) -> None: ...


def make_context(quickjs: ModuleType) -> Context:
    """Return a context."""
    context: Context = quickjs.Context()
    return context


@final
class _Lifter:
    """Lifts a context's limit when it is freed."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self) -> None:
        """Do nothing: it is there to be freed."""

    def __del__(self) -> None:
        self._context.set_time_limit(-1)


def start_time_limit(context: Context, seconds: float) -> None:
    """End what the script does when it has taken so many seconds of the processor from now on.

    The engine calls no function of Python where it has a time limit, though its interrupts get along with them. It
    installs them when a call begins and removes them when the call ends, each time if there is a limit. So here is a
    call that has one when it begins and none when it ends: a function of Python, freed by it, lifts the limit.

    The prelude has made ``$lifter`` a property that no script can change: setting it keeps the function, and reading it
    lets go of it.
    """
    context.add_callable("$lifter", _Lifter(context))
    context.set_time_limit(seconds)
    context.eval("$lifter")
