"""What connections brought that have ended, and the program has not received yet."""

from __future__ import annotations

from collections import deque
from typing import final

from trio_socket_task._session._mailbox import MESSAGE_OVERHEAD, Mailbox
from trio_socket_task._session._wakeup import Wakeup


@final
class Backlog:
    """Messages of connections that have ended, in order. While they fill a buffer, no other connection is made."""

    __slots__ = ("_limit", "messages", "room", "size")

    def __init__(self, limit: int) -> None:
        self.messages: deque[tuple[str | bytes, int]] | None = None
        """Messages, each with its size; None for none."""
        self.size: int = 0
        """Bytes of them, counted as a `Mailbox` does."""
        self.room: Wakeup = Wakeup()
        """Set when the program has received half a buffer."""
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether they fill a buffer."""
        return self.size >= self._limit

    @property
    def room_left(self) -> int:
        """Bytes that a connection may add until the buffer is full, and at least one."""
        return max(1, self._limit - self.size)

    def pop(self) -> str | bytes:
        """Take and return the oldest message."""
        assert self.messages is not None  # noqa: S101 (who calls has looked)
        data, size = self.messages.popleft()
        self.size -= size + MESSAGE_OVERHEAD
        if self.size <= self._limit // 2:
            self.room.set()
        return data

    def move_to(self, inbox: Mailbox[str | bytes]) -> None:
        """Put everything into the inbox of a new connection, before what that has."""
        if self.messages:
            inbox.put_first(list(self.messages))
        self.messages, self.size = None, 0

    def take_from(self, inbox: Mailbox[str | bytes]) -> None:
        """Take what is left in the inbox of a connection that has ended."""
        self.size = inbox.size
        if inbox.items:
            self.messages = deque(inbox.clear())
