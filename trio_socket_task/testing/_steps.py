"""What the steps of a script do to a connection, and what they expect of its client."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import final

import attrs
import trio

from trio_socket_task._mistakes import none_if_nothing

from ._checks import shown
from ._connection import ServerConnection
from ._misuse import MisuseError

Expected = str | bytes | re.Pattern[str] | re.Pattern[bytes] | Callable[[str | bytes], bool]
"""A message, a pattern that the whole of one matches, or a function that says whether it will do."""

Action = Callable[[ServerConnection], Awaitable[object]]
"""What a step does."""


@final
@attrs.frozen
class Step:
    """A step of a script."""

    text: str
    """What it is called in a report."""
    act: Action


@final
class DeviationError(Exception):
    """What came is not what was expected."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(expected, came)
        self.expected = expected
        self.came = came


async def expect_message(connection: ServerConnection, expected: Expected, within: float) -> None:
    """Wait for a message and compare it.

    Raises:
        DeviationError: Another one came, or none in time.
    """
    with _time_limit(describe_expected(expected), within):
        came = await connection.receive()
    if isinstance(expected, re.Pattern):
        good = type(came) is type(expected.pattern) and expected.fullmatch(came) is not None  # type: ignore[arg-type]
    else:
        good = _accepts(expected, came) if callable(expected) else expected == came
    if not good:
        raise DeviationError(describe_expected(expected), f"{came!r}")


def _accepts(function: Callable[[str | bytes], bool], came: str | bytes) -> bool:
    answer: object = none_if_nothing(function(came))
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise MisuseError(f"expect() takes a plain function, and {shown(function)} is async")
    return bool(answer)


async def expect_close(connection: ServerConnection, code: int, reason: str | None, within: float) -> None:
    """Wait for the client to close, and compare how.

    Raises:
        DeviationError: It closed otherwise, sent something, or did not close in time.
    """
    expected = describe_close(code, reason)
    with _time_limit(expected, within):
        async for data in connection:
            raise DeviationError(expected, f"{data!r}")
    if connection.close_code != code or reason not in (None, connection.close_reason):
        raise DeviationError(expected, describe_departure(connection))


async def close_connection(connection: ServerConnection, code: int, reason: str) -> None:
    """Close, unless the client has gone."""
    await unless_gone(lambda _: connection.close(code, reason), connection)


async def sleep_connected(seconds: float, connection: ServerConnection) -> None:
    """Sleep after the handshake."""
    await connection.session.ensure_answered()
    await trio.sleep(seconds)


async def unless_gone(act: Action, connection: ServerConnection) -> None:
    """Do something to a client that has not left by itself.

    Raises:
        trio.BrokenResourceError: It has.
    """
    if connection.closed:
        connection.session.note_close()
        raise trio.BrokenResourceError
    await act(connection)


@contextmanager
def _time_limit(expected: str, seconds: float) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise DeviationError(expected, f"nothing within {seconds:g} s; pass within= if it may take longer")


def describe_expected(data: Expected) -> str:
    """Return what a report calls an expected message."""
    if isinstance(data, re.Pattern):
        return f"text like {shown(data.pattern)}"
    return f"a message that {getattr(data, '__name__', 'a function')} accepts" if callable(data) else shown(data)


def describe_close(code: int, reason: str | None) -> str:
    """Return what a report calls a close of the client."""
    return f"the client closes with {code:d}" + ("" if reason is None else f" {shown(reason)}")


def describe_departure(connection: ServerConnection) -> str:
    """Return how a client has left."""
    if connection.close_code is None:
        return "the client went away without a Close frame"
    return describe_close(connection.close_code, connection.close_reason)
