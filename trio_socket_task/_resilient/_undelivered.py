"""Reports of messages that were given up: to listeners, and to the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, final

import attrs
import trio

from trio_socket_task._log import SafeLogger
from trio_socket_task._session._listener import Listener
from trio_socket_task._session._mailbox import MESSAGE_OVERHEAD, Mailbox

from ._label import SocketLabel
from ._on_demand import OnDemand
from ._outbox import Outbox
from ._queue import MessageQueue, QueuedMessage
from ._reports import UndeliveredEvent

_logger = SafeLogger("trio_socket_task")

_TURNS = 16
"""Times that all other tasks may run in which a listener takes no report, before it counts as one that is not read."""
_LEAST_REPORTS = 1024
_LEAST_BYTES = 2**20
"""Reports, and bytes of them, that a listener has room for however small the outbox is, for those who cannot wait."""
_LOG_INTERVAL = 1.0
"""Seconds between two lines of the log about reports."""


@final
@attrs.define(eq=False)
class _Reader:
    """A listener of reports, and how far it is."""

    mailbox: Mailbox[UndeliveredEvent]
    _limits: Outbox
    given: int = 0
    dropped: int = 0
    stalled_at: int = -1
    """How many reports it had taken when it was seen to take no more; below 0 for never."""

    @property
    def taken(self) -> int:
        """How many reports the program has received."""
        return self.given - self.dropped - len(self.mailbox.items)

    def has_room(self, count: int, size: int) -> bool:
        """Whether there is room for so many more reports, of so many bytes."""
        kept = len(self.mailbox.items)
        kept_size = self.mailbox.size - kept * MESSAGE_OVERHEAD
        most, most_bytes = 2 * self._limits.max_messages, 2 * self._limits.max_bytes
        return kept + count <= max(most, _LEAST_REPORTS) and kept_size + size <= max(most_bytes, _LEAST_BYTES)

    def put(self, event: UndeliveredEvent, size: int) -> int:
        """Keep a report, and return how many older ones had to make room for it."""
        before = self.dropped
        while not self.has_room(1, size):
            self.mailbox.pop()
            self.dropped += 1
        self.mailbox.put(event, size)
        self.given += 1
        return self.dropped - before


@final
class Undelivered:
    """What was given up of one resilient socket's messages, and who is told.

    A listener has room for the reports of all that is in the outbox, and of at least as much again that it has not
    taken yet. While it has less, and its reader goes on reading, `send` waits: so a reader that reads is told of each.
    """

    __slots__ = ("_ended", "_label", "_queue", "_readers", "_tasks", "_unlogged", "_unlogged_drops", "count", "dropped")

    def __init__(self, queue: MessageQueue, label: SocketLabel, tasks: OnDemand) -> None:
        self._queue = queue
        self._label = label
        self._readers: tuple[_Reader, ...] = ()
        self._ended = False
        self.count: int = 0
        """How many messages were given up."""
        self.dropped: int = 0
        """How many reports were dropped in front of a listener that is not read."""
        self._unlogged: Counter[str] = Counter()  # given up with nobody listening and not logged yet, by reason
        self._unlogged_drops = 0
        self._tasks = tasks

    def report(self, messages: Sequence[QueuedMessage], why: Literal["lost", "expired", "dropped", "stopped"]) -> None:
        """Report that messages were given up."""
        if not messages:
            return
        self.count += len(messages)
        dropped = 0
        for message in messages:
            for reader in self._readers:
                dropped += reader.put(UndeliveredEvent(data=message.data, why=why), message.size)
        self.dropped += dropped
        self._unlogged_drops += dropped
        if not self._readers:
            self._unlogged[why] += len(messages)
        if dropped or not self._readers:
            self._tasks.ensure(self._log_losses)

    @trio.lowlevel.enable_ki_protection
    async def _log_losses(self) -> None:
        """Write to the log what nobody was told, at most a line of each kind a second."""
        while self._log():  # noqa: ASYNC110 (it is no wait for a condition, but a pace)
            await trio.sleep(_LOG_INTERVAL)

    def _log(self) -> bool:
        """Write to the log what nobody was told; False where there is nothing."""
        unlogged, drops = self._unlogged, self._unlogged_drops
        self._unlogged, self._unlogged_drops = Counter(), 0
        if unlogged:
            reasons = ", ".join(f"{count} ({why})" for why, count in unlogged.items())
            _logger.warning("%s: given up and not listened to by on_undelivered(): %s", str(self._label), reasons)
        if drops:
            _logger.warning(
                "%s: a listener of on_undelivered() is not read, so its oldest reports were dropped: %d; go on "
                "receiving, or close it",
                str(self._label),
                drops,
            )
        return bool(unlogged or drops)

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody is told."""
        return bool(self._readers)

    def is_behind(self, size: int) -> bool:
        """Whether a reader should go on reading before one more message of such a size is taken."""
        return bool(self._readers and self._behind(size))

    def _behind(self, size: int) -> list[_Reader]:
        count, size = len(self._queue) + 1, self._queue.size + size
        return [
            reader for reader in self._readers if not reader.has_room(count, size) and reader.stalled_at != reader.taken
        ]

    async def wait_for_readers(self, size: int) -> None:
        """Wait until a reader that is behind goes on reading; one that does not is waited for no more until it does."""
        behind = [(reader, reader.taken) for reader in self._behind(size)]
        for _ in range(_TURNS):
            await trio.lowlevel.checkpoint()
            if any(reader.taken > taken or reader not in self._readers for reader, taken in behind):
                return
        for reader, taken in behind:
            reader.stalled_at = taken

    def listen(self) -> Listener[UndeliveredEvent]:
        """Return a new listener."""
        limits = self._queue.limits
        mailbox: Mailbox[UndeliveredEvent] = Mailbox(2 * limits.max_bytes)
        reader = _Reader(mailbox, limits)

        def attach() -> None:
            if self._ended:
                mailbox.end()
            else:
                self._readers = (*self._readers, reader)

        def detach() -> None:
            self._readers = tuple(other for other in self._readers if other is not reader)

        return Listener(mailbox, attach, detach)

    def mailboxes(self) -> Iterator[Mailbox[UndeliveredEvent]]:
        """Yield the mailboxes of those who listen."""
        return (reader.mailbox for reader in self._readers)

    def end(self, left: Sequence[QueuedMessage]) -> None:
        """Report what was left when the socket stopped; then nothing will be given up any more."""
        self.report(left, "stopped")
        self._ended = True
        self._log()
        for reader in self._readers:
            reader.mailbox.end()
        self._readers = ()
