"""A server of the test kit, spoken by trio-websocket, with faults drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import final

import attrs
import trio

from trio_socket_task.testing import ServerConnection

from .findings import Findings
from .server import acknowledgement, message, name_of

_FATES = ("good", "good", "good", "reject", "busy", "drop", "close", "garble", "half close", "stall", "deaf", "slow")


@final
@attrs.define(eq=False)
class KitServer:
    """What the connections of the kit's server meet."""

    findings: Findings
    dice: random.Random
    on_read: Callable[[int, str | bytes], None]
    on_acknowledge: Callable[[str], None] | None = None
    healed: bool = False
    """Whether every connection is good from now on."""
    _alive: dict[int, ServerConnection] = attrs.field(factory=dict)  # those that are not good
    _number: int = 0

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        number, fate = self._number, "good" if self.healed else self.dice.choice(_FATES)
        self._number += 1
        self.findings.note(f"connection {number} meets the kit: {fate}")
        self.findings.count("connections to the kit")
        if fate != "good":
            self._alive[number] = connection
        with suppress(trio.BrokenResourceError, trio.EndOfChannel):
            await self._serve(connection, number, fate)
        self._alive.pop(number, None)

    async def _serve(self, connection: ServerConnection, number: int, fate: str) -> None:
        if fate in ("reject", "busy"):
            status, fields = (
                (404, {}) if fate == "reject" else (503, {"Retry-After": self.dice.choice(("1", "60", "x"))})
            )
            await connection.reject(status, fields)
            return
        await connection.accept()
        if fate == "slow":
            connection.delay(self.dice.choice((0.1, 2.0)))
        await connection.send(message(f"p{number}.0"))
        left = 10**9 if fate in ("good", "slow") else self.dice.randint(0, 12)
        for _ in range(left):
            await self._read(connection, number, await connection.receive())
        if connection.closed:
            return
        await self._misbehave(connection, fate)
        async for data in connection:
            if fate == "half close":
                self.on_read(number, data)
            else:
                await self._read(connection, number, data)

    async def _read(self, connection: ServerConnection, number: int, data: str | bytes) -> None:
        self.on_read(number, data)
        if self.on_acknowledge is not None:
            self.on_acknowledge(name_of(data))
            await connection.send(acknowledgement(name_of(data)))

    async def _misbehave(self, connection: ServerConnection, fate: str) -> None:
        if fate == "drop":
            await connection.drop()
        elif fate == "close":
            await connection.close(self.dice.choice((1000, 1001, 1011, 4000)), "the kit's")
        elif fate == "garble":
            connection.garble()
            await connection.send("wrong")
        elif fate == "half close":
            await connection.half_close()
        elif fate == "deaf":
            connection.never_answer_close()
        elif fate == "stall":
            connection.stall(reading=self.dice.random() < 0.7, answering=self.dice.random() < 0.7)
            await trio.sleep(self.dice.choice((0.1, 5.0, 1e5)))
            await connection.resume()

    async def heal(self) -> None:
        """Let every connection be good from now on: the others are reset."""
        self.healed = True
        for connection in tuple(self._alive.values()):
            if not connection.closed:
                with suppress(trio.BrokenResourceError):
                    await connection.drop()
