"""The life of one connection as a table; everything that changes state is here."""

from __future__ import annotations

from copy import copy
from enum import Enum, IntEnum
from typing import final

from trio_socket_task._errors import SocketClosedError, SocketLostError, SocketNotOpenError, SocketTaskError
from trio_socket_task._events import CloseCode, CloseEvent
from trio_socket_task._text import text_of


@final
class ReadyState(IntEnum):
    """Where a socket is in its life (``readyState`` of the W3C WebSocket API)."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


@final
class Phase(IntEnum):
    """Where a connection is in its life, in finer steps than `ReadyState`."""

    CONNECTING = 0
    OPEN = 1
    FAILING = 2
    """The peer broke the protocol; the program may still answer what came before."""
    BROKEN = 3
    """Nothing can be written any more; what the peer said before is still read."""
    CLOSING = 4
    CLOSED = 5


@final
class Trigger(Enum):
    """What moves a connection from one phase to the next."""

    OPENED = "the server accepted the handshake"
    CLOSE_REQUESTED = "this side closes"
    PEER_CLOSED = "the peer's Close frame came"
    VIOLATED = "the peer broke the protocol"
    WRITE_FAILED = "a write failed"
    FAILED = "it failed"
    ENDED = "the connection is gone"


TRANSITIONS = {
    (Phase.CONNECTING, Trigger.OPENED): Phase.OPEN,
    (Phase.CONNECTING, Trigger.CLOSE_REQUESTED): Phase.CLOSING,
    (Phase.CONNECTING, Trigger.FAILED): Phase.CLOSING,
    (Phase.OPEN, Trigger.CLOSE_REQUESTED): Phase.CLOSING,
    (Phase.OPEN, Trigger.PEER_CLOSED): Phase.CLOSING,
    (Phase.OPEN, Trigger.VIOLATED): Phase.FAILING,
    (Phase.OPEN, Trigger.WRITE_FAILED): Phase.BROKEN,
    (Phase.OPEN, Trigger.FAILED): Phase.CLOSING,
    (Phase.FAILING, Trigger.CLOSE_REQUESTED): Phase.CLOSING,
    (Phase.FAILING, Trigger.WRITE_FAILED): Phase.BROKEN,
    (Phase.FAILING, Trigger.FAILED): Phase.CLOSING,
    (Phase.BROKEN, Trigger.PEER_CLOSED): Phase.CLOSING,
    (Phase.BROKEN, Trigger.FAILED): Phase.CLOSING,
    (Phase.CLOSING, Trigger.PEER_CLOSED): Phase.CLOSING,
    (Phase.CLOSING, Trigger.FAILED): Phase.CLOSING,
    (Phase.CLOSING, Trigger.ENDED): Phase.CLOSED,
    # A session fails a connection before it ends it; these are what is left where the session itself has failed.
    (Phase.CONNECTING, Trigger.ENDED): Phase.CLOSED,
    (Phase.OPEN, Trigger.ENDED): Phase.CLOSED,
    (Phase.FAILING, Trigger.ENDED): Phase.CLOSED,
    (Phase.BROKEN, Trigger.ENDED): Phase.CLOSED,
}
"""Every step there is; any other pair of phase and trigger changes nothing."""

_READY_STATES = {
    Phase.CONNECTING: ReadyState.CONNECTING,
    Phase.OPEN: ReadyState.OPEN,
    Phase.FAILING: ReadyState.OPEN,
    Phase.BROKEN: ReadyState.OPEN,
    Phase.CLOSING: ReadyState.CLOSING,
    Phase.CLOSED: ReadyState.CLOSED,
}
_CAN_SEND = (Phase.OPEN, Phase.FAILING)
_CLEAN = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})


@final
class Life:
    """One connection's life so far."""

    __slots__ = ("error", "is_open", "opened", "own_close", "peer_close", "phase", "ready_state", "url", "write_error")

    def __init__(self, url: str = "") -> None:
        self.url: str = url
        """Where the connection goes."""
        self.phase: Phase = Phase.CONNECTING
        """Where it is now."""
        self.ready_state: ReadyState = ReadyState.CONNECTING
        """The same, as programs know it."""
        self.is_open: bool = False
        """Whether messages can be sent."""
        self.opened: bool = False
        """Whether it was ever open."""
        self.own_close: tuple[int, str] | None = None
        """The code and reason this side closed with, if it closed first."""
        self.peer_close: tuple[int, str] | None = None
        """The code and reason of the peer's Close frame."""
        self.error: SocketTaskError | None = None
        """Why it failed; the first failure stands."""
        self.write_error: SocketLostError | None = None
        """Why nothing can be sent any more, while what the peer said before is still being read."""

    def _move(self, trigger: Trigger) -> bool:
        phase = TRANSITIONS.get((self.phase, trigger))
        if phase is None:
            return False
        self.phase = phase
        self.ready_state = _READY_STATES[phase]
        self.is_open = phase in _CAN_SEND
        return True

    def open(self) -> bool:
        """Note that the handshake succeeded; False when it comes too late to matter."""
        self.opened = self._move(Trigger.OPENED)
        return self.opened

    def request_close(self, code: int, reason: str) -> bool:
        """Note that this side closes; False when it is closing or closed already, or no Close can be sent."""
        if not self._move(Trigger.CLOSE_REQUESTED):
            return False
        self.own_close = (code, reason)
        return True

    def peer_closed(self, code: int | None, reason: str) -> None:
        """Note the peer's Close frame; no code in it means 1005 (RFC 6455 section 7.1.5)."""
        if self._move(Trigger.PEER_CLOSED):
            self.peer_close = (CloseCode.NO_STATUS_RCVD.value if code is None else code, reason)

    def violate(self) -> bool:
        """Note that the peer broke the protocol; False when the program cannot answer anyway."""
        return self._move(Trigger.VIOLATED)

    def fail_to_write(self, error: SocketLostError) -> None:
        """Note that nothing can be written any more."""
        self._move(Trigger.WRITE_FAILED)
        self.write_error = error

    def fail(self, error: SocketTaskError) -> bool:
        """Note a failure; False when one is known already, or it means nothing any more.

        So it is after a finished close handshake, and after a close of this side that calls off the opening.
        """
        called_off = self.own_close is not None and not self.opened
        if called_off or self.error is not None or self.peer_close is not None or not self._move(Trigger.FAILED):
            return False
        self.error = error
        return True

    def end(self) -> None:
        """Note that the connection is gone."""
        self._move(Trigger.ENDED)

    @property
    def is_decided(self) -> bool:
        """Whether it is known how it closes: by the peer's Close frame, by a failure, or because it has.

        No message can come any more.
        """
        return self.peer_close is not None or self.error is not None or self.phase is Phase.CLOSED

    def close_event(self) -> CloseEvent:
        """How it closed, or is closing: what this side asked for, else the peer, else a drop."""
        code, reason = self.own_close or self.peer_close or (CloseCode.ABNORMAL_CLOSURE.value, "")
        if self.error is not None and self.own_close is None:
            code, reason = CloseCode.ABNORMAL_CLOSURE.value, ""
        peer_code, peer_reason = self.peer_close or (None, "")
        return CloseEvent(code=code, reason=reason, peer_code=peer_code, peer_reason=peer_reason)

    def require_open(self) -> None:
        """Raise what a call raises that needs an open connection."""
        if not self.is_open:
            raise SocketNotOpenError(self.url) if self.phase is Phase.CONNECTING else self.ended_error()

    def ended_error(self) -> SocketClosedError | SocketLostError:
        """Return the exception for a call that needs an open connection and comes too late; a new one each time."""
        event = self.close_event()
        if self.own_close is not None:
            return SocketClosedError(event)
        error = self.error or (self.write_error if self.peer_close is None else None)
        lost = SocketLostError(event, "" if error is None else getattr(error, "why", text_of(error)))
        lost.__cause__ = error if not isinstance(error, SocketLostError) else error.__cause__
        return lost

    def connect_error(self) -> SocketTaskError:
        """Return the exception for a call that waits for a connection which never opened; a new one each time."""
        if self.error is None:
            return self.ended_error()
        error = copy(self.error)
        error.__cause__ = self.error.__cause__
        return error

    def ended_cleanly(self) -> bool:
        """Whether reading ends without an error: this side closed, or the peer with 1000, 1001 or no status."""
        return self.own_close is not None or (self.error is None and self.close_event().code in _CLEAN)
