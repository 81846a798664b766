"""What the program sends on one socket: its calls never wait, so their success may have to."""

from __future__ import annotations

from collections import deque
from typing import final

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._socket_task import SocketTask as NativeTask

from ._callbacks import ProgramNursery
from ._invocation import Invocation
from ._native import can_send, is_closed_here, messages_begun, messages_taken, send_beyond_room, use_room


@final
class Sending:
    """Messages go into the socket's queue at once, however long it is; ``success`` is called when there is room.

    So a program that waits for ``success`` does not fill the memory, and a close finds everything in the queue. What
    waits when the connection is lost fails where nothing of it went to the network: the server has not read it.
    """

    def __init__(self, native: NativeTask, nursery: ProgramNursery) -> None:
        self._native = native
        self._nursery = nursery
        self.waiting: deque[tuple[Invocation, str, int]] = deque()
        """Calls of messages that had no room, each with its errMsg should they fail, and how many were taken then."""

    def send(self, data: str | bytes, payload: bytes, call: Invocation, not_open: str) -> None:
        """Send a message with its payload; `not_open` is the errMsg where the socket is gone before there is room."""
        try:
            had_room = send_beyond_room(self._native, data, payload)
        except SocketTaskError:
            call.fail(not_open)
            return
        if had_room and not self.waiting:
            call.succeed()
            return
        self.waiting.append((call, not_open, messages_taken(self._native)))
        if len(self.waiting) == 1:
            self._nursery.start_soon(self._succeed_in_time)

    def settle(self) -> None:
        """Settle what waits, before a close of this side: it goes out first, if anything can."""
        self._succeed() if can_send(self._native) else self.end()

    def _succeed(self) -> None:
        while self.waiting:
            self.waiting.popleft()[0].succeed()

    def end(self) -> None:
        """Settle what waits: the connection is over."""
        while self.waiting:
            call, not_open, number = self.waiting.popleft()
            if number <= messages_begun(self._native):
                call.succeed()
            else:
                call.fail(not_open)

    async def _succeed_in_time(self) -> None:
        while self.waiting and await use_room(self._native, self._succeed_first):
            pass
        if is_closed_here(self._native):
            self._succeed()  # else the end of the connection decides, until which some of it may go out

    def _succeed_first(self) -> None:
        self.waiting.popleft()[0].succeed()  # only `end` settles them otherwise, and after it there is no room
