"""Pings and the pongs that answer them (RFC 6455 sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

from itertools import count
from typing import final

import attrs
import trio

from ._frames import Opcode, encode


@final
@attrs.define(eq=False)
class PendingPing:
    """A ping whose pong has not come yet."""

    payload: bytes
    frame: bytes
    sent: float
    settled: trio.Event = attrs.field(factory=trio.Event)
    rtt: float | None = None
    """Seconds to the pong; None when it cannot come any more."""


@final
@attrs.define(eq=False)
class Pings:
    """The pings under way."""

    rtt: float | None = None
    """The latest round trip, in seconds."""
    _pending: dict[bytes, PendingPing] = attrs.field(factory=dict)
    _numbers: count[int] = attrs.field(factory=count)

    def start(self) -> PendingPing:
        """Make a ping with a payload of its own."""
        payload = next(self._numbers).to_bytes(8, "big")
        ping = PendingPing(payload, encode(Opcode.PING, payload), trio.current_time())
        self._pending[ping.payload] = ping
        return ping

    def forget(self, ping: PendingPing) -> None:
        """Stop expecting a pong."""
        self._pending.pop(ping.payload, None)

    def answer(self, payload: bytes) -> None:
        """Take a pong: it answers its ping and those before, because a peer may answer the latest only."""
        if payload not in self._pending:
            return  # unsolicited pongs are allowed, and mean nothing
        payloads = list(self._pending)
        for answered in payloads[: payloads.index(payload) + 1]:
            ping = self._pending.pop(answered)
            ping.rtt = self.rtt = trio.current_time() - ping.sent
            ping.settled.set()

    def end(self) -> None:
        """Say that no pong will come any more."""
        for ping in self._pending.values():
            ping.settled.set()
        self._pending.clear()
