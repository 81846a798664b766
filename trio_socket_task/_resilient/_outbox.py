"""The outbox: messages that wait for a connection, and those that are not proven to be delivered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final, Literal, final

import attrs

from trio_socket_task._checks import check_positive
from trio_socket_task._errors import InvalidOptionsError

from ._proof import Acknowledgement

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
    """Whether what a dead connection was given, and is not proven to be delivered, is sent again by the next: then
    every message is delivered at least once. Default: no; every message is delivered at most once."""
    proof: Literal["pong", "written"] | Acknowledgement = attrs.field(default="pong")
    """What proves that a message was delivered: a pong to a Ping that went after it, so that the server's WebSocket
    layer has read it; that all its bytes were handed to the operating system, or to the stream, which says nothing of
    the server and needs no Ping; or an `Acknowledgement` by the server's application. Default: a pong."""
    proof_timeout: float = attrs.field(default=5.0)
    """Seconds that the next pong or acknowledgement may take, not counting those in which bytes are still being
    written, or reading is paused; then the log says once what to do, and messages no longer wait for a pong before they
    are sent. Default: 5, many times a round trip."""

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

    @proof.validator
    def _check_proof(self, _attribute: object, value: object) -> None:
        if not isinstance(value, Acknowledgement) and value not in _PROOFS:
            raise InvalidOptionsError("proof", value, f"must be one of {', '.join(_PROOFS)}, or an Acknowledgement")

    @proof_timeout.validator
    def _check_proof_timeout(self, _attribute: object, value: object) -> None:
        check_positive("proof_timeout", value, "seconds")


@final
@attrs.define(eq=False)
class Letter:
    """A message in the outbox."""

    data: str | bytes
    size: int
    queued_at: float
    number: int = 0
    """Its place among all messages of the socket; set when it is put into the outbox."""
    id: Hashable = None
    """What acknowledges it; None while no connection was given it, and where nothing does."""
    has_id: bool = False
    """Whether `id` was asked for."""


@final
@attrs.define(eq=False)
class Letters:
    """What is in the outbox, in order: decides nothing, forgets nothing.

    A message is in it until it is delivered or given up, which happens once.
    """

    limits: Outbox
    waiting: OrderedDict[int, Letter] = attrs.field(factory=OrderedDict)
    """Those that no connection was given, or that are to be sent again, by their numbers."""
    handed: OrderedDict[int, Letter] = attrs.field(factory=OrderedDict)
    """Those that the present connection was given. All of them are older than those that wait."""
    size: int = 0
    """Bytes of all."""
    handed_size: int = 0
    """Bytes of those that were handed over."""
    delivered: int = 0
    """How many were proven to be delivered."""
    _count: int = 0
    _ids: dict[Hashable, list[int]] = attrs.field(factory=dict)  # the numbers of the messages with an id

    def __len__(self) -> int:
        return len(self.waiting) + len(self.handed)

    def has_room(self, size: int) -> bool:
        """Whether one more may be kept."""
        return len(self) < self.limits.max_messages and self.size + size <= self.limits.max_bytes

    def put(self, letter: Letter) -> None:
        """Keep one more."""
        self._count += 1
        letter.number = self._count
        self.waiting[letter.number] = letter
        self.size += letter.size

    @property
    def oldest(self) -> Letter:
        """The oldest that waits."""
        return next(iter(self.waiting.values()))

    def hand(self) -> Letter:
        """Give the oldest that waits, which the connection has from now on."""
        number, letter = self.waiting.popitem(last=False)
        self.handed[number] = letter
        self.handed_size += letter.size
        return letter

    def identify(self, letter: Letter, id_: Hashable) -> None:
        """Note what acknowledges a message; None for nothing."""
        letter.has_id = True
        if id_ is not None and self._holds(letter.number):
            letter.id = id_
            self._ids.setdefault(id_, []).append(letter.number)

    def _holds(self, number: int) -> bool:
        return number in self.handed or number in self.waiting

    def confirm(self, number: int) -> bool:
        """Note that a message was delivered; False where it is not here any more."""
        if not self._holds(number):
            return False
        self.delivered += 1
        self._take_out(number)
        return True

    def confirm_through(self, number: int) -> bool:
        """Note that a message and all before it were delivered; False where none of them is here any more."""
        before = self.delivered
        for letters in (self.handed, self.waiting):
            while letters and next(iter(letters)) <= number:
                self.confirm(next(iter(letters)))
        return self.delivered > before

    def acknowledge(self, id_: Hashable, *, cumulative: bool) -> bool:
        """Note that an id was acknowledged: of its oldest message; False where it has none."""
        numbers = self._ids.get(id_)
        if not numbers:
            return False
        return self.confirm_through(numbers[0]) if cumulative else self.confirm(numbers[0])

    def drop_oldest(self, size: int) -> Sequence[Letter]:
        """Take out the oldest that wait, as many as one more needs; none if not even all of them would be enough."""
        dropped: list[Letter] = []
        if len(self.handed) < self.limits.max_messages and self.handed_size + size <= self.limits.max_bytes:
            while not self.has_room(size):
                dropped.append(self._take_out(self.oldest.number))
        return dropped

    def expire(self, now: float) -> Sequence[Letter]:
        """Take out those that have waited for too long."""
        expired = []
        while self.waiting and self.expiry <= now:
            expired.append(self._take_out(self.oldest.number))
        return expired

    @property
    def expiry(self) -> float:
        """When the oldest that waits will have waited for too long."""
        if self.limits.max_age is None or not self.waiting:
            return float("inf")
        return self.oldest.queued_at + self.limits.max_age

    def end_connection(self) -> Sequence[Letter]:
        """Take out what the connection was given and is not proven to be delivered.

        Where it is to be sent again, it waits once more, before the others.
        """
        if not self.limits.resend:
            return [self._take_out(number) for number in tuple(self.handed)]
        self.handed.update(self.waiting)
        self.handed, self.waiting = OrderedDict(), self.handed
        self.handed_size = 0
        return []

    def clear(self) -> Sequence[Letter]:
        """Take out everything."""
        return [self._take_out(number) for number in (*self.handed, *self.waiting)]

    def _take_out(self, number: int) -> Letter:
        letter = self.handed.pop(number, None)
        if letter is None:
            letter = self.waiting.pop(number)
        else:
            self.handed_size -= letter.size
        self.size -= letter.size
        if letter.id is not None:
            numbers = self._ids[letter.id]
            numbers.remove(number)
            if not numbers:
                del self._ids[letter.id]
        return letter
