"""What a connection meets: handlers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, final, runtime_checkable

from ._checks import shown
from ._connection import ServerConnection
from ._misuse import MisuseError

Handler = Callable[[ServerConnection], Awaitable[object]]
"""What a connection meets: an async function, or a `Script`."""


@runtime_checkable
class Checked(Protocol):
    """A handler that knows whether it was played."""

    def begin(self) -> None:
        """Forget earlier plays."""

    def check(self) -> None:
        """Raise an AssertionError if it was not played since."""


async def echo(connection: ServerConnection) -> None:
    """Send every message back until the client is gone, or this is cancelled."""
    async for data in connection:
        await connection.send(data)


async def hold(connection: ServerConnection) -> None:
    """Accept, and leave the connection to the test: ``connection = await server.wait_connection()``.

    It ends when the client is gone, or when it is cancelled.
    """
    await connection.wait_closed()


@final
class _InTurn:
    def __init__(self, handlers: Sequence[Handler]) -> None:
        self._handlers = handlers
        self._met = 0

    async def __call__(self, connection: ServerConnection) -> None:
        handler = self._handlers[min(self._met, len(self._handlers) - 1)]
        self._met += 1
        await call_handler(handler, connection)

    def begin(self) -> None:
        self._met = 0
        for handler in self._handlers:
            if isinstance(handler, Checked):
                handler.begin()

    def check(self) -> None:
        for handler in self._handlers:
            if isinstance(handler, Checked):
                handler.check()


def in_turn(*handlers: Handler) -> Handler:
    """Return a handler that gives the first connection the first handler, and so on; the last gets all others."""
    if not handlers:
        raise MisuseError("in_turn() needs a handler for the first connection")
    return _InTurn([check_handler(handler) for handler in handlers])


def check_handler(handler: Handler) -> Handler:
    """Check a handler.

    Raises:
        MisuseError: It cannot be called.
    """
    if not callable(handler):
        raise MisuseError(f"handler must be an async function of one connection or a Script, not {shown(handler)}")
    return handler


async def call_handler(handler: Handler, connection: ServerConnection) -> None:
    """Call a handler.

    Raises:
        MisuseError: It is not async.
    """
    meeting = handler(connection)
    if not inspect.isawaitable(meeting):
        raise MisuseError(f"handler must be async, but {shown(handler)} returned {shown(meeting)}; write `async def`")
    await meeting
