"""What one reader has still to take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from operator import itemgetter
from typing import Generic, TypeVar, final

import attrs
import trio

from ._wakeup import Wakeup

_T = TypeVar("_T")
_size_of = itemgetter(1)

TURN = 32
"""Units of work before other tasks run, about a millisecond: one a message, and one for each 32 KiB of it."""
TURN_SHIFT = 15
"""By which a message's size is shifted, to be counted beside the message itself."""
MESSAGE_OVERHEAD = 128
"""Bytes counted for a kept message beside its payload, so that empty messages fill a buffer too."""
EVENTS_KEPT = 1024 * MESSAGE_OVERHEAD
"""The limit of a mailbox of openings, errors or closes of socket after socket: what they hold on to is counted."""


_NOTHING: deque[object] = deque()
"""What is in a mailbox that never had anything: an empty deque of its own would be most of an idle socket's mailbox."""


@final
@attrs.define(eq=False, weakref_slot=False)
class Mailbox(Generic[_T]):
    """What one reader has still to take, bounded in bytes; `put` never waits, `full` says when to stop reading."""

    limit: int
    """Bytes that make it full."""
    endless: bool = False
    """Whether it goes on from socket to socket: whoever ends a socket leaves it alone."""
    drops: bool = False
    """Whether, when it is full, the oldest event makes room for the latest: of those that cannot stop anyone."""
    items: deque[tuple[_T, int]] = attrs.field(default=_NOTHING)
    size: int = 0
    full: bool = False
    """Whether the socket is to stop reading: `Reader.run` asks `Incoming.is_full`."""
    ended: bool = False
    wakeups: tuple[Wakeup, ...] = ()
    """Set when a full mailbox has been read to half its limit, or closed: those of sockets that stopped reading."""
    readers: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    look_for_more: Callable[[], None] | None = None
    """What may bring something before it is waited for; None where nothing does, or nothing will come."""

    def put(self, item: _T, size: int) -> None:
        """Keep an item for the reader."""
        self.put_all([(item, size)], size)

    def put_all(self, items: list[tuple[_T, int]], size: int) -> None:
        """Keep items, each with its size, and of so many bytes together, for the readers."""
        if self.items is _NOTHING:
            self.items = deque()
        self.items.extend(items)
        self.size += size + len(items) * MESSAGE_OVERHEAD
        if self.size >= self.limit:
            self.full = True
        if self.readers:
            self.readers.unpark(count=len(items))

    def put_first(self, items: list[tuple[_T, int]]) -> None:
        """Keep items that are older than what is here, for the readers."""
        items = [*items, *self.clear()]
        self.put_all(items, sum(map(_size_of, items)))

    def pop(self) -> tuple[_T, int]:
        """Take the oldest item, and return it with its size."""
        taken = self.items.popleft()
        self.size -= taken[1] + MESSAGE_OVERHEAD
        if self.full and self.size <= self.limit // 2:
            self._make_room()
        return taken

    def clear(self) -> list[tuple[_T, int]]:
        """Take everything, and return it as `put_all` was given it."""
        taken = list(self.items)
        self.items.clear()
        self.size = 0
        if self.full:
            self._make_room()
        return taken

    def end(self) -> None:
        """Note that nothing will come: the readers come to an end when they have taken everything."""
        self.ended = True
        self.look_for_more = None
        self.readers.unpark_all()

    def _make_room(self) -> None:
        self.full = False
        for wakeup in self.wakeups:
            wakeup.set()
