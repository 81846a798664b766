"""What the dialect needs of a socket's session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from trio_socket_task._events import CloseEvent, ErrorEvent, OpenEvent
from trio_socket_task._session._mailbox import Mailbox
from trio_socket_task._socket_task import SocketTask as NativeTask
from trio_socket_task._socket_task import session_of
from trio_socket_task._stream._connect import Connected

from ._values import Event

_T = TypeVar("_T")


def receive_buffer(native: NativeTask) -> int:
    """Return the limit of what a reader of messages may leave, in bytes."""
    return session_of(native).options.receive_buffer


def connection_of(native: NativeTask) -> Connected:
    """Return the connection of a socket that has opened, with the times of that."""
    connection = session_of(native).connection
    assert connection is not None  # noqa: S101 (it has opened)
    return connection


def attach_events(native: NativeTask, mailbox: Mailbox[Event | _T]) -> None:
    """Put the opening, the failure and the close into a mailbox. One mailbox for all kinds keeps their order."""
    topics = session_of(native).subscriptions
    # It takes what it is given: each cast names the kind.
    topics.open.attach(cast("Mailbox[OpenEvent]", mailbox))
    topics.error.attach(cast("Mailbox[ErrorEvent]", mailbox))
    topics.close.attach(cast("Mailbox[CloseEvent]", mailbox))


def attach_messages(native: NativeTask, mailbox: Mailbox[Event | _T]) -> None:
    """Put the messages into a mailbox, those first that the socket has kept."""
    session_of(native).subscriptions.attach_messages(cast("Mailbox[str | bytes]", mailbox))


def send_beyond_room(native: NativeTask, data: str | bytes, payload: bytes) -> bool:
    """Send although ``send_buffer`` bytes may wait; return whether there was room."""
    return session_of(native).put(data, payload, beyond_room=True)


def look_for_listeners(native: NativeTask) -> None:
    """Read the answer to what was just sent, where that comes at once."""
    session_of(native).look_for_listeners()


def messages_taken(native: NativeTask) -> int:
    """Return how many messages the socket has taken."""
    return session_of(native).writer.taken


def messages_begun(native: NativeTask) -> int:
    """Return how many of these went to the network, the last perhaps in part."""
    return session_of(native).writer.begun


async def use_room(native: NativeTask, function: Callable[[], None]) -> bool:
    """Wait until less than ``send_buffer`` bytes wait, then call a function; return False where nothing is sent."""
    return await session_of(native).writer.use_room(function)


def is_closed_here(native: NativeTask) -> bool:
    """Whether this side has closed a socket: what was sent before goes out."""
    return session_of(native).life.own_close is not None


def can_send(native: NativeTask) -> bool:
    """Whether messages can be sent, and go out before a close."""
    return session_of(native).life.is_open
