"""The line of `connect --stats`: rates, round trip and buffers, once a second."""

from __future__ import annotations

from contextlib import suppress

import trio

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._events import SocketStatistics
from trio_socket_task._resilient._socket import ResilientSocket
from trio_socket_task._task import SocketTask

from ._paper import Paper

_SECOND = 1.0


async def show_statistics(channel: SocketTask | ResilientSocket, paper: Paper) -> None:
    """Print what goes through a socket, for ever."""
    before = _figures(channel)
    while True:
        await trio.sleep(_SECOND)
        task = channel.task if isinstance(channel, ResilientSocket) else channel
        rtt = None
        with trio.move_on_after(_SECOND), suppress(SocketTaskError):
            rtt = None if task is None else await task.ping()
        now = _figures(channel)
        paper.standing(describe(before, now, rtt))
        before = now


def _figures(channel: SocketTask | ResilientSocket) -> SocketStatistics:
    return channel.statistics().sockets if isinstance(channel, ResilientSocket) else channel.statistics()


def describe(before: SocketStatistics, now: SocketStatistics, rtt: float | None) -> str:
    """Say what has happened within a second."""
    sent, received = now.messages_sent - before.messages_sent, now.messages_received - before.messages_received
    out, came = now.bytes_sent - before.bytes_sent, now.bytes_received - before.bytes_received
    trip = "-" if rtt is None else f"{rtt * 1000:.1f} ms"
    return (
        f"sent {sent}/s {out / 1000:.1f} kB/s, received {received}/s {came / 1000:.1f} kB/s, round trip {trip}, "
        f"buffered {now.send_buffered} B out, {now.receive_buffered} B in"
    )
