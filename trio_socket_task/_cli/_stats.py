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


def describe(before: SocketStatistics, now: SocketStatistics, rtt: float | None) -> str:
    """Return a line about what has happened within a second."""
    sent, received = now.messages_sent - before.messages_sent, now.messages_received - before.messages_received
    out, came = now.bytes_sent - before.bytes_sent, now.bytes_received - before.bytes_received
    round_trip = "-" if rtt is None else f"{rtt * 1000:.1f} ms"
    return (
        f"sent {sent}/s {out / 1000:.1f} kB/s, received {received}/s {came / 1000:.1f} kB/s, round trip {round_trip}, "
        f"buffered {now.send_buffered} B out, {now.receive_buffered} B in"
    )
