"""What went through sockets, counted and added up."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import final

import attrs

from trio_socket_task._events import SocketStatistics
from trio_socket_task._protocol._events import Message
from trio_socket_task._stream._connect import Connected

_size_of = itemgetter(1)


@final
@attrs.define(eq=False, weakref_slot=False)
class Traffic:
    """What went through one socket, or through several that have closed."""

    messages_sent: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    bytes_received: int = 0
    wire_bytes_sent: int = 0
    """Bytes of frames: of a socket when it is over."""
    wire_bytes_received: int = 0
    spoken_at: float = -float("inf")
    """When the peer last said something unasked, or the socket opened (Trio's clock): of one socket only, which has a
    `receive_timeout`."""

    def count_received(self, messages: Sequence[Message]) -> int:
        """Count messages that came in, and return their size in bytes."""
        size: int = sum(map(_size_of, messages))
        self.messages_received += len(messages)
        self.bytes_received += size
        return size

    def include(self, gone: Traffic) -> None:
        """Count in what went through a socket that has closed."""
        self.messages_sent += gone.messages_sent
        self.bytes_sent += gone.bytes_sent
        self.messages_received += gone.messages_received
        self.bytes_received += gone.bytes_received
        self.wire_bytes_sent += gone.wire_bytes_sent
        self.wire_bytes_received += gone.wire_bytes_received

    def settled(self) -> SocketStatistics:
        """Return the figures of sockets that have closed: nothing is buffered, and times are of single sockets."""
        return SocketStatistics(
            messages_sent=self.messages_sent,
            messages_received=self.messages_received,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            wire_bytes_sent=self.wire_bytes_sent,
            wire_bytes_received=self.wire_bytes_received,
            send_buffered=0,
            receive_buffered=0,
            rtt=None,
            dial_seconds=None,
            tls_seconds=None,
            handshake_seconds=None,
            proxy_seconds=None,
        )

    def snapshot(
        self, connection: Connected | None, *, send_buffered: int, receive_buffered: int, rtt: float | None
    ) -> SocketStatistics:
        """Return the figures of one socket, with how its connection was opened."""
        figures = attrs.evolve(self.settled(), send_buffered=send_buffered, receive_buffered=receive_buffered, rtt=rtt)
        if connection is None:
            return figures
        return attrs.evolve(
            figures,
            dial_seconds=connection.dial_seconds,
            tls_seconds=connection.tls_seconds,
            handshake_seconds=connection.handshake_seconds,
            proxy_seconds=connection.proxy_seconds,
        )


def add(one: SocketStatistics, other: SocketStatistics) -> SocketStatistics:
    """Add figures up; times of single sockets stay those of `one`."""
    return attrs.evolve(
        one,
        messages_sent=one.messages_sent + other.messages_sent,
        messages_received=one.messages_received + other.messages_received,
        bytes_sent=one.bytes_sent + other.bytes_sent,
        bytes_received=one.bytes_received + other.bytes_received,
        wire_bytes_sent=one.wire_bytes_sent + other.wire_bytes_sent,
        wire_bytes_received=one.wire_bytes_received + other.wire_bytes_received,
        send_buffered=one.send_buffered + other.send_buffered,
        receive_buffered=one.receive_buffered + other.receive_buffered,
    )
