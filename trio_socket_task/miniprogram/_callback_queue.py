"""What is due for one socket: events and callbacks, in their order."""

from __future__ import annotations

from operator import itemgetter
from typing import final

import trio

from trio_socket_task._events import CloseEvent, ErrorEvent
from trio_socket_task._session._mailbox import Mailbox

from ._callbacks import PendingCallback
from ._values import Event

_END = ErrorEvent, CloseEvent


@final
class CallbackQueue:
    """Events of a socket and callbacks of calls that concern it, in the order in which they happened.

    They share one mailbox, so that order needs no rule; but the failure and the close come after everything that was
    asked before they are delivered. What a listener has missed that was added late goes before all of it.
    """

    def __init__(self, limit: int) -> None:
        self.mailbox: Mailbox[Event | list[PendingCallback]] = Mailbox(limit, endless=True)
        """To be attached to the events; `limit` is in bytes."""
        self.reader: trio.lowlevel.ParkingLot = self.mailbox.readers
        """Where the task waits that takes from this, until something is put."""
        self._missed: list[tuple[int, PendingCallback]] = []

    def __bool__(self) -> bool:
        return bool(self._missed or self.mailbox.items)

    def put(self, callbacks: list[PendingCallback]) -> None:
        """Put callbacks after what is already waiting, but before the end of the socket."""
        self.mailbox.put(callbacks, 0)
        items, place = self.mailbox.items, -1
        while len(items) >= 1 - place and _is_end(items[place - 1][0]):
            place -= 1
        items.insert(len(items) + place, items.pop())

    def put_missed(self, callback: PendingCallback, rank: int) -> None:
        """Put a callback before what is already waiting; of several, that of the lowest rank goes first."""
        self._missed.append((rank, callback))
        self._missed.sort(key=itemgetter(0))
        self.reader.unpark()

    def move_end_last(self) -> None:
        """Move the failure and the close, where they are waiting, behind messages that have just been put."""
        items = self.mailbox.items
        end = [item for item in items if _is_end(item[0])]
        others = [item for item in items if not _is_end(item[0])]
        items.clear()
        items.extend([*others, *end])

    @property
    def is_at_end(self) -> bool:
        """Whether the failure or the close is next."""
        return not self._missed and isinstance(self.mailbox.items[0][0], _END)

    def pop(self) -> tuple[Event | list[PendingCallback], int]:
        """Take what is next, and return it with its size in bytes."""
        return ([self._missed.pop(0)[1]], 0) if self._missed else self.mailbox.pop()


def _is_end(item: Event | list[PendingCallback]) -> bool:
    return isinstance(item, _END)
