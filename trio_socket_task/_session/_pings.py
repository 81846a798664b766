"""Pings and the pongs that answer them (RFC 6455 sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

from itertools import count
from typing import final

import attrs
import trio

from trio_socket_task._checks import encode_payload
from trio_socket_task._log import SafeLogger
from trio_socket_task._options import Heartbeat
from trio_socket_task._protocol._connection import ClientConnection
from trio_socket_task._protocol._events import Message

from ._wakeup import SmallEvent

_logger = SafeLogger("trio_socket_task")


@final
@attrs.define(eq=False)
class PendingPing:
    """A ping whose pong has not come yet, or a heartbeat's message without its reply."""

    frame: bytes
    sent: float
    payload: bytes = b""
    settled: SmallEvent = attrs.field(factory=SmallEvent)
    rtt: float | None = None
    """Seconds to the pong; None when it cannot come any more."""


@final
@attrs.define(eq=False, weakref_slot=False)
class Pings:
    """The pings under way."""

    _protocol: ClientConnection
    rtt: float | None = None
    """The latest round trip, in seconds."""
    messages_allowed: bool = True
    """Whether a heartbeat may send messages of its own; until then it sends Ping frames."""
    _ahead: dict[bytes, PendingPing] = attrs.field(factory=dict)  # those that went before the messages that waited
    _in_order: dict[bytes, PendingPing] = attrs.field(factory=dict)  # those that went after them
    _asked: PendingPing | None = None  # the heartbeat's message that has no reply yet
    _numbers: count[int] = attrs.field(factory=count)

    def start(self, *, in_order: bool = False) -> PendingPing:
        """Return a new ping with a payload of its own."""
        payload = next(self._numbers).to_bytes(8, "big")
        ping = PendingPing(self._protocol.send_ping(payload), trio.current_time(), payload)
        (self._in_order if in_order else self._ahead)[payload] = ping
        return ping

    def start_heartbeat(self, heartbeat: Heartbeat) -> PendingPing:
        """Return what a heartbeat sends: its message, where it has one and may send it, else a ping."""
        if heartbeat.message is None or not self.messages_allowed:
            return self.start()
        frame = self._protocol.send_small_message(heartbeat.message, encode_payload(heartbeat.message))
        self._asked = PendingPing(frame, trio.current_time())
        return self._asked

    def forget(self, ping: PendingPing) -> None:
        """Stop expecting a pong."""
        self._ahead.pop(ping.payload, None)
        self._in_order.pop(ping.payload, None)

    def take_pong(self, payload: bytes) -> bool:
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

    def take_replies(self, heartbeat: Heartbeat, messages: list[Message]) -> list[Message]:
        """Take from messages that came what answers the heartbeat's own, and return the others."""
        others = [message for message in messages if not _is_reply(heartbeat, message[0])]
        if len(others) < len(messages) and self._asked is not None:
            self._settle(self._asked)
            self._asked = None
        return others

    def _settle(self, ping: PendingPing) -> None:
        ping.rtt = self.rtt = trio.current_time() - ping.sent
        ping.settled.set()

    def end(self) -> None:
        """Note that no pong will come any more."""
        for ping in (*self._ahead.values(), *self._in_order.values()):
            ping.settled.set()
        if self._asked is not None:
            self._asked.settled.set()
        self._ahead.clear()
        self._in_order.clear()


def _is_reply(heartbeat: Heartbeat, data: str | bytes) -> bool:
    try:
        return heartbeat.is_reply(data)
    except Exception:
        _logger.exception("the heartbeat's reply function raised; the message is taken for the program's")
        return False
