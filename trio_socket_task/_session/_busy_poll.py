"""A look into the socket before waiting for it: the answer to what was just sent is often there at once.

To sleep in the kernel and to be woken up costs more than a small message, and more than the server's answer where that
is on a processor of its own (Linux has the same idea as SO_BUSY_POLL).
"""

from __future__ import annotations

from time import perf_counter
from typing import final

import trio

_PAYS = 8
_RETRY = 64
_SOON = 0.001
"""Seconds in which an answer that was looked for in vain is likely to come."""


@final
class Waiting:
    """Which sockets of a run wait for an answer: while one is looked into, the answers to the others lie about."""

    __slots__ = ("count", "missed_at", "missed_by")

    def __init__(self) -> None:
        self.count: int = 0
        """How many programs wait for a message, and read it themselves."""
        self.missed_by: int = 0
        """The socket that last looked in vain, by its id: others than programs may wait for its answer."""
        self.missed_at: float = -float("inf")
        """When that was."""


_waiting: trio.lowlevel.RunVar[Waiting] = trio.lowlevel.RunVar("trio_socket_task.waiting")


def waiting_in_this_run() -> Waiting:
    """Return the present run's count."""
    try:
        return _waiting.get()
    except LookupError:
        waiting = Waiting()
        _waiting.set(waiting)
        return waiting


@final
class BusyPoll:
    """For how long it is worth to look, learned from the answers so far.

    One try is always made. More are made for at most `limit` seconds while no other socket of the run waits for an
    answer, and while that pays: a look that finds nothing lets it be tried more and more rarely.
    """

    __slots__ = ("_limit", "_score", "_skipped", "waiting")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._score = _PAYS  # looks that may still fail in a row
        self._skipped = 0
        self.waiting: Waiting = waiting_in_this_run()

    def begin(self) -> float:
        """Return when a look that begins now has to end; 0 where it is one try."""
        others = self.waiting
        if not self._limit or others.count > 0:
            return 0.0
        # The answer of another socket is likely to come soon.
        if others.missed_by not in (0, id(self)) and perf_counter() < others.missed_at + _SOON:
            return 0.0
        if not self._score:
            self._skipped += 1
            if self._skipped < _RETRY:
                return 0.0
            self._skipped = 0
        return perf_counter() + self._limit

    def learn(self, end: float, *, found: bool) -> None:
        """Learn whether a look that was to end at `end` has found anything."""
        if not found:
            self.waiting.missed_by, self.waiting.missed_at = id(self), perf_counter()
        elif self.waiting.missed_by == id(self):
            self.waiting.missed_by = 0
        if end:
            self._score = min(self._score + 2, _PAYS) if found else max(self._score - 1, 0)
