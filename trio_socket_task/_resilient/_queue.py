"""The messages in the outbox of one resilient socket, in order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import final

import attrs

from ._outbox import Outbox


@final
@attrs.define(eq=False)
class QueuedMessage:
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
class MessageQueue:
    """The messages in the outbox. One is in it until it is delivered or given up, which happens once."""

    limits: Outbox
    waiting: OrderedDict[int, QueuedMessage] = attrs.field(factory=OrderedDict)
    """Those that no connection was given, or that are to be sent again, by their numbers."""
    unconfirmed: OrderedDict[int, QueuedMessage] = attrs.field(factory=OrderedDict)
    """Those that the present connection was given and that are not proven to be delivered, all older than those that
    wait."""
    size: int = 0
    """Bytes of all messages."""
    unconfirmed_size: int = 0
    """Bytes of those."""
    delivered: int = 0
    """How many were proven to be delivered."""
    _count: int = 0
    _ids: dict[Hashable, list[int]] = attrs.field(factory=dict)  # the numbers of the messages with an id

    def __len__(self) -> int:
        return len(self.waiting) + len(self.unconfirmed)

    def has_room(self, size: int) -> bool:
        """Whether there is room for one more, of such a size."""
        count = len(self.waiting) + len(self.unconfirmed)
        return count < self.limits.max_messages and self.size + size <= self.limits.max_bytes

    def put(self, message: QueuedMessage) -> None:
        """Add one more."""
        self._count = message.number = self._count + 1
        self.waiting[message.number] = message
        self.size += message.size

    def put_unconfirmed(self, message: QueuedMessage) -> None:
        """Add one more, where none waits: the connection has it."""
        self._count = message.number = self._count + 1
        self.unconfirmed[message.number] = message
        self.size += message.size
        self.unconfirmed_size += message.size

    def put_back(self, message: QueuedMessage) -> None:
        """Have a message wait that the connection did not take: before all others, as it is the oldest."""
        del self.unconfirmed[message.number]
        self.unconfirmed_size -= message.size
        self.waiting[message.number] = message
        self.waiting.move_to_end(message.number, last=False)

    @property
    def oldest(self) -> QueuedMessage:
        """The oldest that waits."""
        return next(iter(self.waiting.values()))

    def take(self) -> QueuedMessage:
        """Return the oldest that waits; the connection has it from now on, unconfirmed."""
        number, message = self.waiting.popitem(last=False)
        self.unconfirmed[number] = message
        self.unconfirmed_size += message.size
        return message

    def set_id(self, message: QueuedMessage, id_: Hashable) -> None:
        """Note what acknowledges a message; None for nothing."""
        message.has_id = True
        if id_ is not None and self._holds(message.number):
            self._ids.setdefault(id_, []).append(message.number)
            message.id = id_

    def _holds(self, number: int) -> bool:
        return number in self.unconfirmed or number in self.waiting

    def confirm(self, number: int) -> bool:
        """Note that a message was delivered; False where it is not here any more."""
        if not self._holds(number):
            return False
        self.delivered += 1
        self._remove(number)
        return True

    def confirm_through(self, number: int) -> bool:
        """Note that a message and all before it were delivered; False where none of them is here any more."""
        before = self.delivered
        for messages in (self.unconfirmed, self.waiting):
            while messages and (first := next(iter(messages))) <= number:
                self._remove(first)
                self.delivered += 1
        return self.delivered > before

    def acknowledge(self, id_: Hashable, *, cumulative: bool) -> bool:
        """Note that an id was acknowledged: of its oldest message; False where it has none."""
        numbers = self._ids.get(id_)
        if not numbers:
            return False
        return self.confirm_through(numbers[0]) if cumulative else self.confirm(numbers[0])

    def drop_oldest(self, size: int) -> Sequence[QueuedMessage]:
        """Remove and return as many of the oldest that wait as one more needs; none if all would not be enough."""
        dropped: list[QueuedMessage] = []
        if len(self.unconfirmed) < self.limits.max_messages and self.unconfirmed_size + size <= self.limits.max_bytes:
            while not self.has_room(size):
                dropped.append(self._remove(self.oldest.number))
        return dropped

    def expire(self, now: float) -> Sequence[QueuedMessage]:
        """Remove and return those that have waited for too long."""
        expired = []
        while self.waiting and self.expiry <= now:
            expired.append(self._remove(self.oldest.number))
        return expired

    @property
    def expiry(self) -> float:
        """When the oldest that waits will have waited for too long."""
        if self.limits.max_age is None or not self.waiting:
            return float("inf")
        return self.oldest.queued_at + self.limits.max_age

    def end_connection(self) -> Sequence[QueuedMessage]:
        """Remove and return the unconfirmed messages, which died with their connection.

        Where they are to be sent again, they wait once more, before the others, and nothing is returned.
        """
        if not self.limits.resend:
            return [self._remove(number) for number in tuple(self.unconfirmed)]
        self.unconfirmed.update(self.waiting)
        self.unconfirmed, self.waiting = OrderedDict(), self.unconfirmed
        self.unconfirmed_size = 0
        return []

    def clear(self) -> Sequence[QueuedMessage]:
        """Remove and return everything."""
        return [self._remove(number) for number in (*self.unconfirmed, *self.waiting)]

    def _remove(self, number: int) -> QueuedMessage:
        message = self.unconfirmed.pop(number, None)
        if message is None:
            message = self.waiting.pop(number)
        else:
            self.unconfirmed_size -= message.size
        self.size -= message.size
        if message.id is not None:
            with suppress(Exception):  # where it has another hash than before, or does not let itself be compared
                numbers = self._ids[message.id]
                numbers.remove(number)
                if not numbers:
                    del self._ids[message.id]
        return message
