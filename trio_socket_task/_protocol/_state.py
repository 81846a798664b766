"""The life of one socket as a table; everything that changes state is here."""

from __future__ import annotations

from copy import copy
from enum import Enum, IntEnum
from typing import final

import attrs

from trio_socket_task._errors import SocketClosedError, SocketLostError, SocketNotOpenError, SocketTaskError
from trio_socket_task._events import CloseCode, CloseEvent


@final
class ReadyState(IntEnum):
    """Where a socket is in its life (``readyState`` of the W3C WebSocket API)."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


@final
class Trigger(Enum):
    """What moves a socket from one state to the next."""

    OPENED = "the server accepted the handshake"
    CLOSE_REQUESTED = "this side closes"
    PEER_CLOSED = "the peer's Close frame came"
    FAILED = "it failed"
    ENDED = "the connection is gone"


TRANSITIONS = {
    (ReadyState.CONNECTING, Trigger.OPENED): ReadyState.OPEN,
    (ReadyState.CONNECTING, Trigger.CLOSE_REQUESTED): ReadyState.CLOSING,
    (ReadyState.CONNECTING, Trigger.FAILED): ReadyState.CLOSING,
    (ReadyState.OPEN, Trigger.CLOSE_REQUESTED): ReadyState.CLOSING,
    (ReadyState.OPEN, Trigger.PEER_CLOSED): ReadyState.CLOSING,
    (ReadyState.OPEN, Trigger.FAILED): ReadyState.CLOSING,
    (ReadyState.CLOSING, Trigger.PEER_CLOSED): ReadyState.CLOSING,
    (ReadyState.CLOSING, Trigger.FAILED): ReadyState.CLOSING,
    (ReadyState.CLOSING, Trigger.ENDED): ReadyState.CLOSED,
    # The driver fails a socket before it ends it; these two are what is left where the driver itself has failed.
    (ReadyState.CONNECTING, Trigger.ENDED): ReadyState.CLOSED,
    (ReadyState.OPEN, Trigger.ENDED): ReadyState.CLOSED,
}
"""Every step there is; any other pair of state and trigger changes nothing."""


@final
@attrs.define(eq=False)
class Life:
    """One socket's life so far."""

    url: str = ""
    """Where the socket goes."""
    ready_state: ReadyState = ReadyState.CONNECTING
    """Where it is now."""
    opened: bool = False
    """Whether it was ever open."""
    requested: tuple[int, str] | None = None
    """The code and reason this side closed with, if it closed first."""
    peer: tuple[int, str] | None = None
    """The code and reason of the peer's Close frame."""
    error: SocketTaskError | None = None
    """Why it failed; the first failure stands."""
    broken: SocketLostError | None = None
    """Why nothing can be sent any more, while what the peer said before is still being read."""

    def _move(self, trigger: Trigger) -> bool:
        state = TRANSITIONS.get((self.ready_state, trigger))
        if state is None:
            return False
        self.ready_state = state
        return True

    def open(self) -> bool:
        """Note that the handshake succeeded; False when it comes too late to matter."""
        self.opened = self._move(Trigger.OPENED)
        return self.opened

    def request_close(self, code: int, reason: str) -> bool:
        """Note that this side closes; False when the socket is closing or closed already, or no Close can be sent."""
        if self.broken is not None or not self._move(Trigger.CLOSE_REQUESTED):
            return False
        self.requested = (code, reason)
        return True

    def peer_closed(self, code: int | None, reason: str) -> None:
        """Note the peer's Close frame; no code in it means 1005 (RFC 6455 section 7.1.5)."""
        if self._move(Trigger.PEER_CLOSED):
            self.peer = (CloseCode.NO_STATUS_RCVD.value if code is None else code, reason)

    def fail(self, error: SocketTaskError) -> bool:
        """Note a failure; False when one is known already, or a finished close handshake makes it meaningless."""
        if self.error is not None or self.peer is not None or not self._move(Trigger.FAILED):
            return False
        self.error = error
        return True

    def end(self) -> CloseEvent:
        """Note that the connection is gone, and say how the socket closed."""
        self._move(Trigger.ENDED)
        return self.close_event()

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self.ready_state is ReadyState.OPEN and self.broken is None

    @property
    def is_decided(self) -> bool:
        """Whether it is known how the socket closes: by the peer's Close frame, by a failure, or because it has."""
        is_over = self.ready_state is ReadyState.CLOSED
        return is_over or self.peer is not None or self.error is not None

    def close_event(self) -> CloseEvent:
        """How the socket closed, or is closing: what this side asked for, else the peer, else a drop."""
        code, reason = self.requested or self.peer or (CloseCode.ABNORMAL_CLOSURE.value, "")
        if self.error is not None and self.requested is None:
            code, reason = CloseCode.ABNORMAL_CLOSURE.value, ""
        peer_code, peer_reason = self.peer or (None, "")
        return CloseEvent(code=code, reason=reason, peer_code=peer_code, peer_reason=peer_reason)

    def require_open(self) -> None:
        """Raise what a call raises that needs an open socket."""
        if self.ready_state is ReadyState.CONNECTING:
            raise SocketNotOpenError(self.url)
        if self.ready_state is not ReadyState.OPEN or self.broken is not None:
            raise self.ended_error()

    def ended_error(self) -> SocketClosedError | SocketLostError:
        """Give the exception for a call that needs an open socket and comes too late; a new one each time."""
        event = self.close_event()
        if self.requested is not None:
            return SocketClosedError(event)
        error = self.error or (self.broken if self.peer is None else None)
        lost = SocketLostError(event, "" if error is None else getattr(error, "why", str(error)))
        lost.__cause__ = error if not isinstance(error, SocketLostError) else error.__cause__
        return lost

    def connect_error(self) -> SocketTaskError:
        """Give the exception for a call that waits for a socket which never opened; a new one each time."""
        if self.error is None:
            return self.ended_error()
        error = copy(self.error)
        error.__cause__ = self.error.__cause__
        return error

    def ended_quietly(self) -> bool:
        """Whether reading ends without an error: this side closed, or the peer with 1000, 1001 or no status."""
        return self.requested is not None or (self.error is None and self.close_event().code in _QUIET)


_QUIET = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})
