"""The servers that a program in memory dials, and what is known of each connection."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import final

import attrs
import trio

from .behaviour import Behaviour, draw_behaviour
from .findings import Findings
from .server import Session
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
    client_closes: trio.Event = attrs.field(factory=trio.Event)
    sessions: list[Session] = attrs.field(factory=list)
    healed: bool = False
    """Whether every server is good from now on."""

    def connect(self) -> trio.abc.Stream:
        """Make a connection, and return the client's end of it."""
        is_good = self.healed or self.dice.random() < self.good_servers
        behaviour = GOOD if is_good else draw_behaviour(self.dice, self.close_timeout)
        client, server = connect(self.dice, capacity=behaviour.capacity, latency=behaviour.latency)
        session = Session(len(self.sessions), behaviour, server, self.client_closes, self.on_read)
        self.sessions.append(session)
        self.findings.note(f"connection {session.number} meets {behaviour}")
        self.findings.count("connections")
        self.nursery.start_soon(session.serve)
        return client

    def heal(self) -> None:
        """Let every server be good from now on: the others crash."""
        self.findings.note("all servers are good from now on")
        self.healed = True
        for session in self.sessions:
            if session.behaviour is not GOOD:
                session.end.reset()

    def check_streams(self) -> None:
        """Check that the client has closed every stream that it was given."""
        for session in self.sessions:
            self.findings.check(session.end.other.closed, f"connection {session.number} was not closed by the client")
