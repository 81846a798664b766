"""Assertions that wait for what they assert, at most so long."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._events import CloseEvent
from trio_socket_task._manager import SocketManager
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._socket_task import SocketTask, session_of

from ._checks import check_within

_T = TypeVar("_T")


async def assert_closed(
    task: SocketTask, code: int = 1000, reason: str | None = None, *, within: float = 5.0
) -> CloseEvent:
    """Assert that a socket closes, or has closed, with this code, and return its close event.

    If this is cancelled, the socket is unharmed.

    Args:
        task: The socket.
        code: The code of the close event.
        reason: Its reason; None for any.
        within: Seconds that it may take.

    Raises:
        MisuseError: `within` is no time.
        AssertionError: It is not closed by then, or closed otherwise.
    """
    check_within("assert_closed", within)
    with trio.move_on_after(within):
        event = await task.wait_closed()
        if event.code != code or reason not in (None, event.reason):
            wanted = f"{code}" if reason is None else f"{code} {reason!r}"
            raise AssertionError(f"{task} closed with {event.code} {event.reason!r}, not with {wanted}")
        return event
    raise AssertionError(f"{task} is not closed after {within:g} s; close it, or let the server do so, before this")


async def collect(channel: trio.abc.ReceiveChannel[_T], count: int, *, within: float = 5.0) -> list[_T]:
    """Wait for the next `count` items of a listener, or messages of a socket, and return them.

    If this is cancelled, or fails, what it has received is gone.

    Args:
        channel: What to receive from.
        count: How many.
        within: Seconds that they may take together.

    Raises:
        MisuseError: `within` is no time.
        AssertionError: Fewer came by then, or before the channel ended; the text shows them.
    """
    check_within("collect", within)
    items: list[_T] = []
    why = f"no more came within {within:g} s"
    with trio.move_on_after(within):
        try:
            while len(items) < count:
                items.append(await channel.receive())
        except (trio.EndOfChannel, trio.BrokenResourceError) as end:
            why = f"then it ended ({end!r})"
    if len(items) < count:
        raise AssertionError(f"{count} expected of {channel}, {len(items)} came, {why}: {items!r}")
    return items


async def wait_all_delivered(manager: SocketManager, *, within: float = 5.0) -> None:
    """Wait until what the open sockets of a manager have sent was read by their servers, and all has come to rest.

    A pong to a ping that went after the messages shows that the server has read them, and that what it had sent is
    here; then every task is waited for until it waits itself, so that programs have taken it. If this is cancelled, the
    sockets are unharmed.

    Args:
        manager: Whose sockets.
        within: Seconds that it may take.

    Raises:
        MisuseError: `within` is no time.
        AssertionError: It took longer; the text names the sockets whose servers do not answer.
    """
    check_within("wait_all_delivered", within)
    waiting = {task for task in manager.sockets if task.ready_state is ReadyState.OPEN}

    async def ping(task: SocketTask) -> None:
        with suppress(SocketTaskError):  # it ended, and so did what was under way
            await session_of(task).ping(in_order=True)
        waiting.discard(task)

    with trio.move_on_after(within):
        async with trio.open_nursery() as nursery:
            for task in tuple(waiting):
                nursery.start_soon(ping, task)
        await wait_all_tasks_blocked()
        return
    unread = [task for task in waiting if session_of(task).subscriptions.full]
    if unread:
        raise AssertionError(
            f"not all was delivered within {within:g} s, because nobody reads {unread}; read, or close"
        )
    who = ", ".join(repr(task) for task in waiting) or "some task that never waits"
    raise AssertionError(f"not all was delivered within {within:g} s; this does not answer: {who}")
