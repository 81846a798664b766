"""How a resilient socket keeps messages until they are proven to be delivered: the options."""

from __future__ import annotations

from typing import Final, Literal, final

import attrs

from trio_socket_task._errors import InvalidOptionsError

from ._proof import Acknowledgement
from ._validators import is_bool, is_positive_int, is_seconds

_MIB: Final = 2**20
_RULES: Final = ("wait", "refuse", "drop_oldest")
_PROOFS: Final = ("pong", "written")


@final
@attrs.frozen(kw_only=True)
class Outbox:
    """Where a resilient socket keeps messages until they are proven to be delivered.

    Raises:
        InvalidOptionsError: A limit is not positive, the rule is none of the three, or the proof none that there is.
    """

    max_messages: int = attrs.field(default=10_000, validator=is_positive_int)
    """Messages kept at most. Default: 10 000, some seconds of a busy program."""
    max_bytes: int = attrs.field(default=16 * _MIB, validator=is_positive_int)
    """Bytes of messages kept at most. Default: 16 MiB, as the other buffers."""
    when_full: Literal["wait", "refuse", "drop_oldest"] = attrs.field(default="wait")
    """What ``send`` does then: wait, raise `OutboxFullError`, or give up the oldest message that no connection has been
    given; where there is none, it waits. Default: wait."""
    max_age: float | None = attrs.field(default=None, validator=attrs.validators.optional(is_seconds))
    """Seconds that a message may wait for a connection; then it is given up. Default: no limit."""
    resend: bool = attrs.field(default=False, validator=is_bool)
    """Whether what a dead connection was given, and is not proven to be delivered, is sent again by the next: then
    every message is delivered at least once. Default: no; every message is delivered at most once."""
    proof: Literal["pong", "written"] | Acknowledgement = attrs.field(default="pong")
    """What proves that a message was delivered: a pong to a Ping that went after it, so that the server's WebSocket
    layer has read it; that all its bytes were handed to the operating system, or to the stream, which says nothing of
    the server and needs no Ping; or an `Acknowledgement` by the server's application. Default: a pong."""
    proof_timeout: float = attrs.field(default=5.0, validator=is_seconds)
    """Seconds that the next pong or acknowledgement may take, not counting those in which bytes are still being
    written, or reading is paused; then the log says once what to do, and messages no longer wait for a pong before they
    are sent. Default: 5, many times a round trip."""

    @when_full.validator
    def _check_rule(self, _attribute: object, value: object) -> None:
        if value not in _RULES:
            raise InvalidOptionsError("when_full", value, f"must be one of {', '.join(_RULES)}")

    @proof.validator
    def _check_proof(self, _attribute: object, value: object) -> None:
        if not isinstance(value, Acknowledgement) and value not in _PROOFS:
            raise InvalidOptionsError("proof", value, f"must be one of {', '.join(_PROOFS)}, or an Acknowledgement")
