"""Sends of one socket that must wait for room, in their order."""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._socket_task import SocketTask as NativeTask
from trio_socket_task._socket_task import session_of

from ._callback_queue import Workers
from ._calls import Invocation


@final
class Sending:
    """What mini-program code has sent, which never waits, on a socket where a send may."""

    def __init__(self, native: NativeTask, workers: Workers) -> None:
        self._native = native
        self._workers = workers
        self._waiting: deque[tuple[str | bytes, Invocation, str]] = deque()

    def send(self, data: str | bytes, call: Invocation, not_open: str) -> None:
        """Send as soon as there is room; `not_open` is what is said when the socket is gone by then."""
        if not self._waiting:
            try:
                self._native.send_nowait(data)
            except trio.WouldBlock:
                self._waiting.append((data, call, not_open))
                self._workers.start(self._drain)
            except SocketTaskError:
                call.fail(not_open)
            else:
                call.ok()
        else:
            self._waiting.append((data, call, not_open))

    def flush(self) -> None:
        """Send what waits without minding the room, before a close."""
        while self._waiting:
            self._send_next()

    def fail(self) -> None:
        """Fail what waits: the connection is over."""
        while self._waiting:
            _, call, not_open = self._waiting.popleft()
            call.fail(not_open)

    async def _drain(self) -> None:
        outgoing = session_of(self._native).writer
        while self._waiting and not outgoing.finished:  # after which nobody is given room
            await outgoing.use_room(self._send_next)
        self.fail()

    def _send_next(self) -> None:
        """Send the first of those that wait now: others may have been sent, or failed, while the task waited."""
        if self._waiting:
            data, call, not_open = self._waiting.popleft()
            try:
                session_of(self._native).send_beyond_room(data)
            except SocketTaskError:
                call.fail(not_open)
            else:
                call.ok()
