"""A chat client: joins a room, hands out what is said there, and comes back when the connection is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import trio

from trio_socket_task import (
    ConnectError,
    Dial,
    Heartbeat,
    SocketClosedError,
    SocketLostError,
    SocketTask,
    connect_socket,
)


@dataclass(frozen=True)
class Said:
    """Something that somebody said."""

    who: str
    text: str


class ChatClient:
    """One person in one room. `run` keeps the connection; `say` speaks, and waits while there is none."""

    def __init__(self, url: str, name: str, on_said: Callable[[Said], None], *, dial: Dial | None = None) -> None:
        self._url = url
        self._name = name
        self._on_said = on_said
        self._dial = dial
        self._task: SocketTask | None = None
        self._joined = trio.Event()

    async def run(self, retry_after: float = 5) -> None:
        """Stay in the room until the server ends the conversation; `retry_after` is in seconds."""
        while True:
            try:
                heartbeat = Heartbeat(interval=20, timeout=10)
                async with connect_socket(self._url, heartbeat=heartbeat, dial=self._dial) as task:
                    await self._stay(task)
                    return
            except (ConnectError, SocketLostError):
                await trio.sleep(retry_after)

    async def _stay(self, task: SocketTask) -> None:
        await task.send(json.dumps({"join": self._name}))
        self._task = task
        self._joined.set()
        try:
            async for data in task:
                self._on_said(Said(**json.loads(data)))
        finally:
            self._task = None
            self._joined = trio.Event()

    async def say(self, text: str) -> None:
        """Say something in the room, as soon as there is a connection."""
        while True:
            await self._joined.wait()
            try:
                assert self._task is not None
                await self._task.send(json.dumps({"say": text}))
            except (SocketClosedError, SocketLostError):
                await trio.lowlevel.checkpoint()  # it has just gone; wait for the next
            else:
                return
