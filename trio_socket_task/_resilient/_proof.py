"""What proves that a message was delivered, and what the log says when no proof comes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Literal, TypeVar, final

import attrs

from trio_socket_task._functions import call_plain, check_plain
from trio_socket_task._log import SafeLogger

from ._label import SocketLabel
from ._validators import is_bool

_T = TypeVar("_T")
_logger = SafeLogger("trio_socket_task")

_LOST_IN_A_ROW = 3
"""Connections in a row that end while their first pong is awaited, before the log says what that may mean."""


@final
@attrs.frozen(kw_only=True)
class Acknowledgement:
    """Which message of the server acknowledges which message of the program: proof by the application's own answers.

    Both functions are plain ones, and are called with each message that goes out or comes in, also by code that must
    not wait. What they raise is logged, once with its traceback, and the message is taken for one without an id. Of
    several messages with one id each acknowledgement proves one, the oldest first; so do not use an id again before
    it was acknowledged, and with ``resend=True`` never, because a repeated message may be acknowledged twice.

    Raises:
        InvalidOptionsError: A function cannot be called or is async, or `cumulative` is not a bool.
    """

    sent: Callable[[str | bytes], Hashable] = attrs.field()
    """Returns the id of a message that is sent; None for one that nothing will acknowledge, which counts as delivered
    when it is written."""
    received: Callable[[str | bytes], Hashable] = attrs.field()
    """Returns the id that a message which came acknowledges; None for all others. The program receives it as well."""
    cumulative: bool = attrs.field(default=False, validator=is_bool)
    """Whether an id acknowledges its message and all that were sent before it. Default: no, its message alone."""

    @sent.validator
    @received.validator
    def _check_function(self, attribute: attrs.Attribute[object], value: object) -> None:
        check_plain(attribute.name, value, "a function of a message that returns an id or None")


@final
class ProofKind(Enum):
    """What proves that messages were delivered."""

    PONG = "pong"
    """The answer to a Ping that went after them."""
    WRITTEN = "written"
    """That all their bytes were given to the operating system, or to the stream."""
    ACKNOWLEDGEMENT = "acknowledgement"
    """A message of the server's application, by its id."""


def kind_of_proof(proof: Literal["pong", "written"] | Acknowledgement) -> ProofKind:
    """Return what kind of proof an `Outbox` asks for."""
    return ProofKind.ACKNOWLEDGEMENT if isinstance(proof, Acknowledgement) else ProofKind(proof)


@final
@attrs.define(eq=False)
class MessageIds:
    """The ids of one socket's messages, as its `Acknowledgement` says; none without one."""

    _acknowledgement: Acknowledgement | None
    _label: SocketLabel
    _logged: frozenset[str] = frozenset()  # the functions whose failure was logged

    @property
    def are_known(self) -> bool:
        """Whether messages have any."""
        return self._acknowledgement is not None

    @property
    def cumulative(self) -> bool:
        """Whether an id acknowledges all that was sent before it, too."""
        return self._acknowledgement is not None and self._acknowledgement.cumulative

    def of_sent(self, data: str | bytes, use: Callable[[Hashable], _T]) -> _T:
        """Call `use` with the id of a message that is sent, None for none, and return what it returns.

        An id is the program's object: what raises when it is hashed, or compared, raises in here as well.
        """
        return self._use("sent", use, data)

    def of_received(self, data: str | bytes, use: Callable[[Hashable], _T]) -> _T:
        """Call `use` with the id that a message acknowledges, None for none, and return what it returns."""
        return self._use("received", use, data)

    def _use(self, name: str, use: Callable[[Hashable], _T], data: str | bytes) -> _T:
        if self._acknowledgement is None:
            return use(None)
        try:
            return use(call_plain(name, getattr(self._acknowledgement, name), data))
        except Exception:
            if name not in self._logged:
                self._logged |= {name}
                _logger.exception(
                    "%s: the function `%s` of its Acknowledgement raised, or what it returned did, so a message has no "
                    "id, which is not said again; let it return None for messages that it does not know",
                    str(self._label),
                    name,
                )
            return use(None)


@final
@attrs.define(eq=False)
class ProofMonitor:
    """Whether the proofs of one socket come at all; where they do not, the log says so once."""

    kind: ProofKind
    timeout: float
    """Seconds that the next proof may take."""
    _label: SocketLabel
    any_came: bool = False
    """Whether a proof ever came."""
    _logged: bool = False
    _lost: int = 0  # connections in a row that ended while their first proof was awaited

    def note_proof(self) -> None:
        """Note that a proof came."""
        self.any_came, self._lost = True, 0

    def note_none_in_time(self) -> None:
        """Note that no proof has come in time."""
        if self.kind is ProofKind.ACKNOWLEDGEMENT:
            self._warn_once(
                f"no message was acknowledged within {self.timeout:g} seconds, so none counts as delivered; see that "
                "`received` of its Acknowledgement returns the ids that `sent` returned"
            )
        else:
            self._warn_once(
                f"no pong came within {self.timeout:g} seconds to the Ping that asks whether messages were read, so "
                "none counts as delivered; they are sent without waiting for it now. " + _CURE
            )

    def note_lost_connection(self) -> None:
        """Note that a connection was lost while its first proof was awaited."""
        self._lost += 1
        if self._lost >= _LOST_IN_A_ROW and not self.any_came and self.kind is ProofKind.PONG:
            self._warn_once(
                f"{self._lost} connections in a row were lost while the first pong was awaited; some servers drop a "
                "connection on a Ping. " + _CURE
            )

    def _warn_once(self, message: str) -> None:
        if not self._logged:
            self._logged = True
            _logger.warning("%s: %s", str(self._label), message)


_CURE = (
    'Where the server cannot bear Ping, pass outbox=Outbox(proof="written"), or proof=Acknowledgement(...) if its '
    "application answers messages, and heartbeat=None or a Heartbeat with a message; Outbox(proof_timeout=...) gives a "
    "slow one more time"
)
