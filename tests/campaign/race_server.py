"""The server of a race: the kit's, with a fate for each connection."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import final

import attrs
import trio

from trio_socket_task.testing import ServerConnection

from .deflate_server import DeflateConnection
from .findings import Findings
from .server import is_whole

Connection = ServerConnection | DeflateConnection
_FATES = ("echo", "echo", "echo", "echo", "echo", "drop", "close", "garble", "reject", "half", "deaf")


@final
@attrs.define(eq=False)
class Seen:
    """What the server saw of one socket."""

    fate: str
    read: list[str | bytes] = attrs.field(factory=list)
    """What it read, and, but for the last one perhaps, sent back."""
    to_the_end: bool = False
    """Whether it read all that came."""


@final
@attrs.define(eq=False)
class RaceServer:
    """What each connection meets."""

    dice: random.Random
    findings: Findings
    waits: bool
    """Whether time is virtual, so that there is no harm in waiting."""
    seen: dict[str, Seen] = attrs.field(factory=dict)
    """By the path of the URL."""

    async def serve(self, connection: Connection) -> None:
        """Serve one connection."""
        fate = self.dice.choice(_FATES)
        seen = self.seen[connection.path] = Seen(fate)
        self.findings.note(f"{connection.path} meets {fate}")
        self.findings.count("connections")
        try:
            await self._serve(connection, seen)
        except (trio.BrokenResourceError, trio.EndOfChannel) as error:
            seen.to_the_end = isinstance(error, trio.EndOfChannel)
            self.findings.note(f"{connection.path} is over")

    async def _serve(self, connection: Connection, seen: Seen) -> None:
        if seen.fate == "reject":
            await connection.reject(503, body=b"later")
            return
        await connection.accept()
        patience = 10**6 if seen.fate == "echo" else self.dice.randint(0, 20)
        for _ in range(patience):
            await self._echo(connection, seen)
        if connection.closed:
            return
        if seen.fate == "drop":
            await connection.drop()
        elif seen.fate == "close":
            await connection.close(self.dice.choice((1000, 1001, 1011, 4000)), "the server's own")
        elif seen.fate == "half" and isinstance(connection, ServerConnection):
            await connection.half_close()
            await connection.wait_closed()
        elif seen.fate == "deaf" and self.waits and isinstance(connection, ServerConnection):
            connection.never_answer_close()
            await connection.wait_closed()
        else:
            connection.garble()
            await connection.send("wrong")

    async def _echo(self, connection: Connection, seen: Seen) -> None:
        data = await connection.receive()
        self.findings.check(is_whole(data), "a message came damaged")
        seen.read.append(data)
        if self.dice.random() < 0.1:
            for _ in range(self.dice.randint(0, 50)):
                await trio.lowlevel.checkpoint()
            if self.waits:
                await trio.sleep(self.dice.choice((0.0, 0.01, 0.5)))
        with suppress(trio.BrokenResourceError):  # the client closes, and what it sent before is still to be read
            await connection.send(data)
