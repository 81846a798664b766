"""Pings and the pongs that answer them (RFC 6455 sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

from itertools import count
from typing import final

import attrs
import trio

from trio_socket_task._protocol._decoder import Opcode
from trio_socket_task._protocol._encoder import encode


@final
@attrs.define(eq=False)
class PendingPing:
    """A ping whose pong has not come yet."""

    frame: bytes
    sent: float
    payload: bytes = b""
    settled: trio.Event = attrs.field(factory=trio.Event)
    rtt: float | None = None
    """Seconds to the pong; None when it cannot come any more."""


@final
@attrs.define(eq=False)
class Pings:
    """The pings under way."""

    rtt: float | None = None
    """The latest round trip, in seconds."""
    _ahead: dict[bytes, PendingPing] = attrs.field(factory=dict)  # those that went before the messages that waited
    _in_order: dict[bytes, PendingPing] = attrs.field(factory=dict)  # those that went after them
    _asked: PendingPing | None = None  # the heartbeat's message that has no reply yet
    _numbers: count[int] = attrs.field(factory=count)

    def start(self, *, in_order: bool = False) -> PendingPing:
        """Make a ping with a payload of its own."""
        payload = next(self._numbers).to_bytes(8, "big")
        ping = PendingPing(encode(Opcode.PING, payload), trio.current_time(), payload)
        (self._in_order if in_order else self._ahead)[payload] = ping
        return ping

    def ask(self, frame: bytes) -> PendingPing:
        """Make a ping of a message that has a reply of its own."""
        self._asked = PendingPing(frame, trio.current_time())
        return self._asked

    def forget(self, ping: PendingPing) -> None:
        """Stop expecting a pong."""
        self._ahead.pop(ping.payload, None)
        self._in_order.pop(ping.payload, None)

    def answer(self, payload: bytes) -> bool:
        """Take a pong: it answers its ping and those before, because a peer may answer the latest only.

        Return whether it was asked for.

        A ping in order was overtaken by those that were made after it and went ahead, so these do not answer it. A pong
        that nobody asked for is allowed, and means nothing.
        """
        in_order = payload in self._in_order
        if in_order or payload in self._ahead:
            for pings in (self._ahead, self._in_order) if in_order else (self._ahead,):
                for answered in [earlier for earlier in pings if earlier <= payload]:
                    self._settle(pings.pop(answered))
            return True
        return False

    def reply(self) -> None:
        """Take the reply to the heartbeat's message."""
        if self._asked is not None:
            self._settle(self._asked)
            self._asked = None

    def _settle(self, ping: PendingPing) -> None:
        ping.rtt = self.rtt = trio.current_time() - ping.sent
        ping.settled.set()

    def end(self) -> None:
        """Say that no pong will come any more."""
        for ping in (*self._ahead.values(), *self._in_order.values()):
            ping.settled.set()
        if self._asked is not None:
            self._asked.settled.set()
        self._ahead.clear()
        self._in_order.clear()
