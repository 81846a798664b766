"""Sends of one socket that must wait for room, in their order."""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._socket_task import SocketTask as NativeTask

from ._callbacks import ProgramNursery
from ._invocation import Invocation
from ._native import send_beyond_room, use_room


@final
class Sending:
    """What the program sends on a socket: its calls never wait, so messages may have to."""

    def __init__(self, native: NativeTask, nursery: ProgramNursery) -> None:
        self._native = native
        self._nursery = nursery
        self._waiting: deque[tuple[str | bytes, Invocation, str]] = deque()

    def send(self, data: str | bytes, call: Invocation, not_open: str) -> None:
        """Send as soon as there is room; `not_open` is the errMsg where the socket is gone by then."""
        if not self._waiting:
            try:
                self._native.send_nowait(data)
            except trio.WouldBlock:
                self._waiting.append((data, call, not_open))
                self._nursery.start_soon(self._drain)
            except SocketTaskError:
                call.fail(not_open)
            else:
                call.succeed()
        else:
            self._waiting.append((data, call, not_open))

    def flush(self) -> None:
        """Send what waits although there is no room, before a close."""
        while self._waiting:
            self._send_next()

    def fail(self) -> None:
        """Fail what waits: the connection is over."""
        while self._waiting:
            _, call, not_open = self._waiting.popleft()
            call.fail(not_open)

    async def _drain(self) -> None:
        while self._waiting and await use_room(self._native, self._send_next):
            pass
        self.fail()

    def _send_next(self) -> None:
        """Send the first of those that wait now: others may have been sent, or failed, while the task waited."""
        if self._waiting:
            data, call, not_open = self._waiting.popleft()
            try:
                send_beyond_room(self._native, data)
            except SocketTaskError:
                call.fail(not_open)
            else:
                call.succeed()
