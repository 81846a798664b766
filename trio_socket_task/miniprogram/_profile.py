"""The times of an opening, as wx tells them to listeners of it."""

from __future__ import annotations

from trio_socket_task._events import OpenEvent
from trio_socket_task._socket_task import SocketTask as NativeTask
from trio_socket_task._stream._connect import Connected

from ._native import connection_of
from ._values import OpenResult, Profile


def describe_with_profile(native: NativeTask, asked_at: float, event: OpenEvent) -> OpenResult:
    """Return the opening of a socket that the program asked for at `asked_at`, as listeners of wx are given it."""
    return OpenResult(header=dict(event.header), profile=profile_of(connection_of(native), asked_at))


def profile_of(connection: Connected, asked_at: float) -> Profile:
    """Return the times of an opening that was asked for at `asked_at` (Trio's clock, in seconds)."""
    connected_at = connection.opened_at - connection.handshake_seconds
    rtt = connection.dial_seconds + (connection.proxy_seconds or 0) + (connection.tls_seconds or 0)
    started_at = _milliseconds(connected_at - rtt)
    return Profile(
        fetchStart=started_at,
        domainLookUpStart=started_at,
        domainLookUpEnd=started_at,
        connectStart=started_at,
        connectEnd=_milliseconds(connected_at),
        rtt=_milliseconds(rtt),
        handshakeCost=_milliseconds(connection.handshake_seconds),
        cost=_milliseconds(connection.opened_at - asked_at),
    )


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
