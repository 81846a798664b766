"""The plain dicts that callbacks and listeners are given, with the vendors' keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import NotRequired, TypedDict

from trio_socket_task._events import CloseEvent, ErrorEvent, OpenEvent

from ._err_msg import of_failure


class Result(TypedDict):
    """What ``success``, ``fail`` and ``complete`` are given, and what awaiting a call gives."""

    errMsg: str
    """The function's name, then ``:ok``, or ``:fail`` and why."""
    socketTaskId: NotRequired[int]
    """The number of the SocketTask; ``connectSocket`` only."""


class Profile(TypedDict):
    """How a socket was opened: points in time and durations, in milliseconds, with three digits after the point.

    The points are on Trio's clock, so that what counts is the time between them.
    """

    fetchStart: float
    """When the opening began: for a socket that replaces another, when that one had closed."""
    domainLookUpStart: float
    """``fetchStart``: resolving the name is a part of connecting here, and has no times of its own."""
    domainLookUpEnd: float
    """``fetchStart``, too."""
    connectStart: float
    """``fetchStart``, too."""
    connectEnd: float
    """When the connection was there: by a proxy where there is one, and with TLS where the URL is ``wss://``."""
    rtt: float
    """How long that took, from ``connectStart`` to ``connectEnd``."""
    handshakeCost: float
    """How long the opening handshake took then."""
    cost: float
    """How long it took from the call of ``connectSocket`` until the socket was open."""


class OpenResult(TypedDict):
    """What a listener of openings is given."""

    header: dict[str, str]
    """The fields of the server's response."""
    profile: NotRequired[Profile]
    """When and how long the socket was opened; wx only."""


class MessageResult(TypedDict):
    """What a listener of messages is given."""

    data: str | bytes
    """Text, or what JavaScript holds in an ArrayBuffer."""


class ErrorResult(TypedDict):
    """What a listener of errors is given."""

    errMsg: str
    """What went wrong, in words."""


class CloseResult(TypedDict):
    """What a listener of closes is given."""

    code: int
    """The status code (RFC 6455 section 7.4)."""
    reason: str
    """Why, in the words of who closed."""


Event = OpenEvent | str | bytes | ErrorEvent | CloseEvent
"""What happens to a socket; that a message came, by its data."""
AnyResult = Result | OpenResult | MessageResult | ErrorResult | CloseResult
"""What a function of the program is given."""


def describe_opening(event: OpenEvent) -> OpenResult:
    """Return an opening as listeners of qq are given it, and those of wx but for the profile."""
    return OpenResult(header=dict(event.header))


def describe(event: Event, describe_opening: Callable[[OpenEvent], OpenResult]) -> AnyResult:
    """Return an event as its listeners are given it."""
    match event:
        case str() | bytes():
            return MessageResult(data=event)
        case OpenEvent():
            return describe_opening(event)
        case ErrorEvent():
            return ErrorResult(errMsg=of_failure(event.error))
        case _:
            return CloseResult(code=int(event.code), reason=event.reason)
