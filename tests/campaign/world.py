"""The servers that a program in memory dials, and what is known of each connection."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import final

import attrs
import trio

from trio_socket_task.testing import SocketServer

from .behaviour import Behaviour, draw_behaviour
from .findings import Findings
from .kit_server import KitServer
from .server import Session
from .tap import Tap, TappedStream
from .wires import connect

GOOD = Behaviour(greetings=1)


@final
@attrs.define(eq=False)
class World:
    """Every connection that was dialled meets a server of its own."""

    findings: Findings
    dice: random.Random
    nursery: trio.Nursery
    good_servers: float
    """How many of the servers are good."""
    close_timeout: float
    """That of the client."""
    on_read: Callable[[int, str | bytes], None]
    on_written: Callable[[str | bytes], None] = lambda _data: None
    """Told each message that a client has written whole."""
    on_acknowledge: Callable[[str], None] | None = None
    """Told each message that a server acknowledges; None where none does."""
    kit: SocketServer | None = None
    """The kit's server, where connections go there."""
    kit_server: KitServer | None = None
    client_closes: trio.Event = attrs.field(factory=trio.Event)
    sessions: list[Session] = attrs.field(factory=list)
    healed: bool = False
    """Whether every server is good from now on."""
    _tapped: list[TappedStream] = attrs.field(factory=list)

    async def connect(self) -> trio.abc.Stream:
        """Make a connection, and return the client's end of it."""
        if self.kit is not None:
            stream = TappedStream(await self.kit.dial("server.test", 80), Tap(self.on_written))
            self._tapped.append(stream)
            return stream
        is_good = self.healed or self.dice.random() < self.good_servers
        behaviour = GOOD if is_good else draw_behaviour(self.dice, self.close_timeout)
        tap = Tap(self.on_written)
        client, server = connect(self.dice, capacity=behaviour.capacity, latency=behaviour.latency, on_written=tap.feed)
        session = Session(len(self.sessions), behaviour, server, self.client_closes, self.on_read, self.on_acknowledge)
        self.sessions.append(session)
        self.findings.note(f"connection {session.number} meets {behaviour}")
        self.findings.count("connections")
        self.nursery.start_soon(session.serve)
        return client

    async def heal(self) -> None:
        """Let every server be good from now on: the others crash."""
        self.findings.note("all servers are good from now on")
        self.healed = True
        for session in self.sessions:
            if session.behaviour is not GOOD:
                session.end.reset()
        if self.kit_server is not None:
            await self.kit_server.heal()

    def check_streams(self) -> None:
        """Check that the client has closed every stream that it was given."""
        self.findings.count("with compression", sum(session.compresses for session in self.sessions))
        closed = [session.end.other.closed for session in self.sessions] + [stream.closed for stream in self._tapped]
        self.findings.check(all(closed), f"connection {(*closed, False).index(False)} was not closed by the client")
