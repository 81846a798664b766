"""Sends of one socket that must wait for room, in their order."""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._task import SocketTask as NativeTask

from ._calls import Invocation
from ._turns import Workers


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
        waiting, self._waiting = self._waiting, deque()
        for data, call, not_open in waiting:
            try:
                self._native._send_beyond_room(data)
            except SocketTaskError:
                call.fail(not_open)
            else:
                call.ok()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._native.send(self._waiting[0][0])
                self._waiting.popleft()[1].ok()
        except SocketTaskError:
            pass  # it is gone, or what waited was flushed
        finally:
            for _, call, not_open in self._waiting:
                call.fail(not_open)
            self._waiting.clear()
