"""The values a resilient socket reports."""

from __future__ import annotations

from enum import Enum
from typing import Literal, final

import attrs

from trio_socket_task._events import SocketStatistics
from trio_socket_task._text import kind_of


@final
class ConnectionState(Enum):
    """What a resilient socket is doing about its connection."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPED = "stopped"


@final
@attrs.frozen(kw_only=True)
class StateEvent:
    """A resilient socket has come to another state."""

    state: ConnectionState
    """The state."""
    generation: int
    """How many connections there have been, with the present one."""
    failures: int = 0
    """How many attempts have failed in a row."""
    delay: float | None = None
    """Seconds until the next attempt, while it is WAITING for that; None where it waits for room in a full manager."""
    why: str = ""
    """What led to it, in words."""


@final
@attrs.frozen(kw_only=True)
class UndeliveredEvent:
    """A message that is not proven to be delivered, and which is not sent again."""

    data: str | bytes = attrs.field(repr=kind_of)
    """The message; the repr says its kind and length."""
    why: Literal["lost", "expired", "dropped", "stopped"]
    """Its connection died with it under way (the server may have read it all the same), it was older than ``max_age``,
    it made room in a full outbox, or the socket stopped with it in its outbox."""


@final
@attrs.frozen(kw_only=True)
class ResilientStatistics:
    """A snapshot of a resilient socket's figures."""

    attempts: int
    """Attempts to connect that were begun."""
    generation: int
    """Connections there have been, with the present one."""
    waiting: int
    """Messages in the outbox that no connection has been given."""
    unconfirmed: int
    """Messages that the present connection was given and that are not proven to be delivered."""
    outbox_bytes: int
    """Bytes of both."""
    delivered: int
    """Messages that are proven to be delivered, by what the outbox's ``proof`` says."""
    undelivered: int
    """Messages given up."""
    reports_dropped: int
    """Reports of messages given up that were dropped in front of listeners which are not read."""
    sockets: SocketStatistics
    """The figures of all its connections together; times of single connections are None."""
