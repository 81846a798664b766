"""The program's own functions: plain ones, whose answer counts at once, and async ones, which are awaited."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from ._errors import InvalidOptionsError
from ._mistakes import none_if_nothing

_P = ParamSpec("_P")
_T = TypeVar("_T")


def check_plain(argument: str, function: object, rule: str) -> None:
    """Check a function whose answer counts at once.

    Raises:
        InvalidOptionsError: It cannot be called, or it is an async function, as far as that can be known before.
    """
    if not callable(function) or _is_async(function):
        raise InvalidOptionsError(argument, function, f"must be {rule}, and no async function")


def _is_async(function: Callable[..., object]) -> bool:
    """Whether calling it makes a coroutine; a partial and an object with an async ``__call__`` count too."""
    while (inner := getattr(function, "func", None)) is not None and callable(inner):
        function = inner
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def call_plain(argument: str, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function whose answer counts at once.

    Raises:
        TypeError: Its answer would have to be awaited, which check_plain could not know.
    """
    answer = none_if_nothing(function(*args, **kwargs))
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # or Python complains that it was never awaited
        raise TypeError(f"{argument} must be a plain function, but what it returned would have to be awaited")
    return answer


def call_async(
    argument: str, function: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs
) -> Awaitable[_T]:
    """Call an async function, and give what is to be awaited.

    Raises:
        InvalidOptionsError: It is no async function.
    """
    answer = none_if_nothing(function(*args, **kwargs))
    if not inspect.isawaitable(answer):
        raise InvalidOptionsError(argument, answer, "must be an async function, whose result is awaited")
    return answer
