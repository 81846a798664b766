"""The line of `connect --stats`: rates, round trip and buffers, once a second."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, final

import trio

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._events import SocketStatistics
from trio_socket_task._resilient._socket import ResilientSocket
from trio_socket_task._socket_task import SocketTask

from ._output import Output

_SECOND: Final = 1.0


async def show_statistics(channel: SocketTask | ResilientSocket, output: Output, patience: float) -> None:
    """Print what goes through a socket, for ever; a pong that takes longer than `patience` seconds counts as none."""
    round_trip = _RoundTrip(channel, patience)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(round_trip.measure)
        before = figures_of(channel)
        while True:
            await trio.sleep(_SECOND)
            now = figures_of(channel)
            output.statistics(
                describe(before, now, round_trip.seconds),
                messages_sent=now.messages_sent,
                messages_received=now.messages_received,
                bytes_sent=now.bytes_sent,
                bytes_received=now.bytes_received,
                wire_bytes_sent=now.wire_bytes_sent,
                wire_bytes_received=now.wire_bytes_received,
                send_buffered=now.send_buffered,
                receive_buffered=now.receive_buffered,
                rtt=round_trip.seconds,
            )
            before = now


@final
class _RoundTrip:
    """How long the latest ping took to be answered."""

    def __init__(self, channel: SocketTask | ResilientSocket, patience: float) -> None:
        self.seconds: float | None = None
        """None before the first pong, and when none came in time."""
        self._channel = channel
        self._patience = patience

    async def measure(self) -> None:
        """Measure it again and again."""
        while True:
            await trio.sleep(_SECOND / 2)
            task = self._channel.task if isinstance(self._channel, ResilientSocket) else self._channel
            seconds = None
            with trio.move_on_after(self._patience), suppress(SocketTaskError):
                seconds = None if task is None else await task.ping()
            self.seconds = seconds


def figures_of(channel: SocketTask | ResilientSocket) -> SocketStatistics:
    """Return the figures of a socket, or of all connections of a resilient one."""
    return channel.statistics().sockets if isinstance(channel, ResilientSocket) else channel.statistics()


def _rate(size: int, wire_size: int) -> str:
    """Say how much that is, and how much less it was on the line by compression."""
    rate = f"{size / 1000:.1f} kB/s"
    return f"{rate} ({wire_size / 1000:.1f} on the line)" if 0 < wire_size < size else rate


def describe(before: SocketStatistics, now: SocketStatistics, rtt: float | None) -> str:
    """Return a line about what has happened within a second."""
    sent, received = now.messages_sent - before.messages_sent, now.messages_received - before.messages_received
    out = _rate(now.bytes_sent - before.bytes_sent, now.wire_bytes_sent - before.wire_bytes_sent)
    came = _rate(now.bytes_received - before.bytes_received, now.wire_bytes_received - before.wire_bytes_received)
    round_trip = "-" if rtt is None else f"{rtt * 1000:.1f} ms"
    return (
        f"sent {sent}/s {out}, received {received}/s {came}, rtt {round_trip}, "
        f"buffered {now.send_buffered}+{now.receive_buffered} B"
    )
