"""Messages on their way: those that wait for a connection, and those that the server has not shown to have read."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, final

import attrs

from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._options import check_positive

_MIB: Final = 2**20
_RULES: Final = ("wait", "refuse", "drop_oldest")


@final
@attrs.frozen(kw_only=True)
class Outbox:
    """Where a resilient socket keeps messages until the server has shown to have read them.

    Raises:
        InvalidOptionsError: A limit is not positive, or the rule is none of the three.
    """

    max_messages: int = attrs.field(default=10_000)
    """Messages kept at most. Default: 10 000, some seconds of a busy program."""
    max_bytes: int = attrs.field(default=16 * _MIB)
    """Bytes of messages kept at most. Default: 16 MiB, as the other buffers."""
    when_full: Literal["wait", "refuse", "drop_oldest"] = attrs.field(default="wait")
    """What ``send`` does then: wait, raise `OutboxFullError`, or give up the oldest message that no connection has been
    given; where there is none, it waits. Default: wait."""
    max_age: float | None = attrs.field(default=None)
    """Seconds that a message may wait for a connection; then it is given up. Default: no limit."""
    resend: bool = attrs.field(default=False)
    """Whether what a dead connection was given, and the server has not shown to have read, is sent again by the next:
    then every message is delivered at least once. Default: no; every message is delivered at most once."""

    @max_messages.validator
    @max_bytes.validator
    def _check_limit(self, attribute: attrs.Attribute[int], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidOptionsError(attribute.name, value, "must be a positive whole number")

    @when_full.validator
    def _check_rule(self, _attribute: object, value: object) -> None:
        if value not in _RULES:
            raise InvalidOptionsError("when_full", value, f"must be one of {', '.join(_RULES)}")

    @max_age.validator
    def _check_age(self, _attribute: object, value: object) -> None:
        if value is not None:
            check_positive("max_age", value, "seconds")

    @resend.validator
    def _check_resend(self, _attribute: object, value: object) -> None:
        if not isinstance(value, bool):
            raise InvalidOptionsError("resend", value, "must be True or False")


@final
@attrs.frozen(eq=False)
class Letter:
    """A message in the outbox."""

    data: str | bytes
    size: int
    queued_at: float


@final
@attrs.define(eq=False)
class Letters:
    """What is in the outbox, in order: decides nothing, forgets nothing."""

    limits: Outbox
    waiting: deque[Letter] = attrs.field(factory=deque)
    """Those that no connection was given, or that are to be sent again."""
    handed: deque[Letter] = attrs.field(factory=deque)
    """Those that the present connection was given."""
    size: int = 0
    """Bytes of all."""
    handed_size: int = 0
    """Bytes of those that were handed over."""
    confirmed: int = 0
    """How many of the present connection the server has shown to have read."""
    delivered: int = 0
    """How many of all connections."""

    def __len__(self) -> int:
        return len(self.waiting) + len(self.handed)

    def has_room(self, size: int) -> bool:
        """Whether one more may be kept."""
        return len(self) < self.limits.max_messages and self.size + size <= self.limits.max_bytes

    def put(self, letter: Letter) -> None:
        """Keep one more."""
        self.waiting.append(letter)
        self.size += letter.size

    def hand(self) -> Letter:
        """Give the oldest that waits, which the connection has from now on."""
        letter = self.waiting.popleft()
        self.handed.append(letter)
        self.handed_size += letter.size
        return letter

    def confirm(self, count: int) -> None:
        """Note that the server has read the first so many of what the connection was given."""
        self.delivered += count - self.confirmed
        while self.confirmed < count:
            size = self.handed.popleft().size
            self.size -= size
            self.handed_size -= size
            self.confirmed += 1

    def drop_oldest(self, size: int) -> Sequence[Letter]:
        """Take out the oldest that wait, as many as one more needs; none if not even all of them would be enough."""
        dropped: list[Letter] = []
        if len(self.handed) < self.limits.max_messages and self.handed_size + size <= self.limits.max_bytes:
            while not self.has_room(size):
                dropped.append(self._without(self.waiting.popleft()))
        return dropped

    def expire(self, now: float) -> Sequence[Letter]:
        """Take out those that have waited for too long."""
        expired = []
        while self.waiting and self.expiry <= now:
            expired.append(self._without(self.waiting.popleft()))
        return expired

    @property
    def expiry(self) -> float:
        """When the oldest that waits will have waited for too long."""
        if self.limits.max_age is None or not self.waiting:
            return float("inf")
        return self.waiting[0].queued_at + self.limits.max_age

    def end_connection(self) -> Sequence[Letter]:
        """Take out what the connection was given and the server has not shown to have read.

        Where it is to be sent again, it waits once more, before the others.
        """
        lost = list(self.handed)
        self.handed.clear()
        self.handed_size = self.confirmed = 0
        if self.limits.resend:
            self.waiting.extendleft(reversed(lost))
            return []
        return [self._without(letter) for letter in lost]

    def clear(self) -> Sequence[Letter]:
        """Take out everything."""
        letters = [*self.handed, *self.waiting]
        self.handed.clear()
        self.waiting.clear()
        self.size = self.handed_size = 0
        return letters

    def _without(self, letter: Letter) -> Letter:
        self.size -= letter.size
        return letter
