"""What the dialect needs of a socket and of a manager beyond their public functions; nothing else does so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketEvent
from trio_socket_task._manager import SocketManager
from trio_socket_task._session._mailbox import Mailbox
from trio_socket_task._socket_task import SocketTask as NativeTask

_T = TypeVar("_T")


def receive_buffer(native: NativeTask) -> int:
    """Return the limit of what a reader of messages may leave, in bytes."""
    return native._driver.options.receive_buffer


def attach_events(native: NativeTask, mailbox: Mailbox[SocketEvent | _T]) -> None:
    """Put the opening, the failure and the close into a mailbox. One mailbox for all kinds keeps their order."""
    topics = native._driver.listeners
    # It takes what it is given: each cast names the kind.
    topics.open.attach(cast("Mailbox[OpenEvent]", mailbox))
    topics.error.attach(cast("Mailbox[ErrorEvent]", mailbox))
    topics.close.attach(cast("Mailbox[CloseEvent]", mailbox))


def attach_messages(native: NativeTask, mailbox: Mailbox[SocketEvent | _T]) -> None:
    """Put the messages into a mailbox, those first that the socket has kept."""
    native._driver.listeners.attach_messages(cast("Mailbox[MessageEvent]", mailbox))


def send_beyond_room(native: NativeTask, data: str | bytes) -> None:
    """Send although ``send_buffer`` bytes may wait."""
    native._send_beyond_room(data)


async def use_room(native: NativeTask, function: Callable[[], None]) -> bool:
    """Wait until there is room to send, then call a function; return False at once where there will be no room."""
    writer = native._driver.outgoing
    if writer.finished:
        return False
    await writer.use_room(function)
    return True


def call_before_closing(manager: SocketManager, function: Callable[[], None]) -> None:
    """Call a function before a manager closes sockets that no call of the program's closes."""
    manager._on_closing = function
