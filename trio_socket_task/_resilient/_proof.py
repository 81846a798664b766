"""What shows that a message was delivered: the answers of the application, and what to say when no proof comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import final

import attrs

from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._functions import call_plain, check_plain

_logger = logging.getLogger("trio_socket_task")

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
    cumulative: bool = attrs.field(default=False)
    """Whether an id acknowledges its message and all that were sent before it. Default: no, its message alone."""

    @sent.validator
    @received.validator
    def _check_function(self, attribute: attrs.Attribute[object], value: object) -> None:
        check_plain(attribute.name, value, "a function of a message that returns an id or None")

    @cumulative.validator
    def _check_cumulative(self, _attribute: object, value: object) -> None:
        if not isinstance(value, bool):
            raise InvalidOptionsError("cumulative", value, "must be True or False")


@final
@attrs.define(eq=False)
class Ids:
    """The ids of one socket's messages, as its `Acknowledgement` says; none without one."""

    _acknowledgement: Acknowledgement | None
    _label: Callable[[], str]
    _told: set[str] = attrs.field(factory=set)  # the functions whose failure was logged

    @property
    def cumulative(self) -> bool:
        """Whether an id acknowledges all that was sent before it, too."""
        return self._acknowledgement is not None and self._acknowledgement.cumulative

    def of_sent(self, data: str | bytes) -> Hashable:
        """Return the id of a message that is sent."""
        return None if self._acknowledgement is None else self._ask("sent", self._acknowledgement.sent, data)

    def of_received(self, data: str | bytes) -> Hashable:
        """Return the id that a message acknowledges."""
        return None if self._acknowledgement is None else self._ask("received", self._acknowledgement.received, data)

    def _ask(self, name: str, function: Callable[[str | bytes], Hashable], data: str | bytes) -> Hashable:
        try:
            found = call_plain(name, function, data)
            hash(found)
        except Exception:
            if name not in self._told:
                self._told.add(name)
                _logger.exception(
                    "%s: the function `%s` of its Acknowledgement raised, so this message has no id, which is not said "
                    "again; let it return None for messages that it does not know",
                    self._label(),
                    name,
                )
            return None
        return found


@final
@attrs.define(eq=False)
class Evidence:
    """Whether the proofs of one socket come at all, told in the log once where they do not."""

    timeout: float
    """Seconds that the next proof may take."""
    _acknowledged: bool  # whether the application proves, and not a pong
    _label: Callable[[], str]
    ever: bool = False
    """Whether a proof ever came."""
    _told: bool = False
    _lost: int = 0  # connections in a row that ended while their first proof was awaited

    def come(self) -> None:
        """Note a proof."""
        self.ever, self._lost = True, 0

    def fail(self) -> None:
        """Note that none has come in time."""
        if self._acknowledged:
            self._tell(
                f"no message was acknowledged within {self.timeout:g} seconds, so none counts as delivered; see that "
                "`received` of its Acknowledgement returns the ids that `sent` returned"
            )
        else:
            self._tell(
                f"no pong came within {self.timeout:g} seconds to the Ping that asks whether messages were read, so "
                "none counts as delivered; they are sent without waiting for it now. " + _CURE
            )

    def lose(self) -> None:
        """Note that a connection was lost while its first proof was awaited."""
        self._lost += 1
        if self._lost >= _LOST_IN_A_ROW and not self.ever and not self._acknowledged:
            self._tell(
                f"{self._lost} connections in a row were lost while the first pong was awaited; some servers drop a "
                "connection on a Ping. " + _CURE
            )

    def _tell(self, what: str) -> None:
        if not self._told:
            self._told = True
            _logger.warning("%s: %s", self._label(), what)


_CURE = (
    'Where the server cannot bear Ping, pass outbox=Outbox(proof="written"), or proof=Acknowledgement(...) if its '
    "application answers messages, and heartbeat=None or a Heartbeat with a message; Outbox(proof_timeout=...) gives a "
    "slow one more time"
)
