"""What the program sends: kept in the outbox, given to a connection, and reported where it does not arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import trio

from trio_socket_task._errors import OutboxFullError
from trio_socket_task._protocol._events import Message
from trio_socket_task._socket_task import SocketTask

from ._delivery import Delivery
from ._outbox import Letter, Letters, Outbox
from ._proof import Acknowledgement, Evidence, Ids
from ._undelivered import Undelivered


@final
class Mail:
    """The outbox of one resilient socket, and what becomes of what is in it."""

    def __init__(self, limits: Outbox, label: Callable[[], str]) -> None:
        self.letters: Letters = Letters(limits)
        self.delivery: Delivery | None = None
        """The present connection's."""
        self.undelivered: Undelivered = Undelivered(self.letters, label)
        """What was given up."""
        self.queue: trio.StrictFIFOLock = trio.StrictFIFOLock()
        """Senders that wait for room, in order."""
        self.abandoned: bool = False
        """Whether something was left when the socket stopped."""
        self._moved = trio.lowlevel.ParkingLot()  # those who wait for the outbox to become emptier
        self._aging = trio.lowlevel.ParkingLot()  # who waits for a message that may become too old
        acknowledgement = limits.proof if isinstance(limits.proof, Acknowledgement) else None
        self._ids = Ids(acknowledgement, label)
        self._evidence = Evidence(limits.proof_timeout, acknowledgement is not None, label)

    def post(self, data: str | bytes, size: int) -> None:
        """Keep a message, for which there is room, and give it to the connection if there is one."""
        self.letters.put(Letter(data, size, trio.current_time()))
        if self.delivery is not None:
            self.delivery.hand_over()
        self._look_at_age()

    def may_post(self, size: int) -> bool:
        """Try to have room for a message, by the rule of the outbox; False where it is to wait.

        Raises:
            OutboxFullError: It is full, and does not let anybody wait.
        """
        return not self.undelivered.is_behind(size) and self.make_room(size)

    async def wait_to_post(self, size: int) -> None:
        """Wait until there may be room."""
        if self.undelivered.is_behind(size):
            await self.undelivered.let_them_read(size)
        else:
            await self.wait_moved()

    def make_room(self, size: int) -> bool:
        """Try to have room for a message in the outbox, by its rule; False where there is none.

        Raises:
            OutboxFullError: It is full, and does not let anybody wait.
        """
        self.expire()
        if self.letters.has_room(size):
            return True
        rule = self.letters.limits.when_full
        if rule == "refuse":
            raise OutboxFullError(len(self.letters), self.letters.size)
        if rule == "drop_oldest":
            self.undelivered.report(self.letters.drop_oldest(size), "dropped")
        return self.letters.has_room(size)

    def expire(self) -> None:
        """Give up what has waited for too long."""
        expired = self.letters.expire(trio.current_time())
        if expired:
            self.undelivered.report(expired, "expired")
            self._on_progress()

    async def expire_in_time(self) -> None:
        """Give up what has waited for too long, as soon as it has, for ever."""
        while True:
            if self.letters.waiting:
                await trio.sleep_until(self.letters.expiry)
                self.expire()
            else:
                await self._aging.park()

    def _look_at_age(self) -> None:
        if self.letters.waiting:
            self._aging.unpark_all()

    async def wait_moved(self) -> None:
        """Wait until the outbox may have become emptier."""
        await self._moved.park()

    async def wait_empty(self) -> None:
        """Wait until everything was delivered or given up; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while len(self.letters):
            await self.wait_moved()

    def deliver_to(self, task: SocketTask) -> Delivery:
        """Make the delivery to a connection."""
        return Delivery(task, self.letters, self._ids, self._evidence, self._on_progress)

    def begin_connection(self, delivery: Delivery) -> None:
        """Give the messages that wait to a connection."""
        self.expire()
        self.delivery = delivery

    def on_written(self) -> None:
        """Note that the connection has written something."""
        if self.delivery is not None:
            self.delivery.look_at_written()

    def on_messages(self, messages: Sequence[Message]) -> None:
        """Note what messages that came acknowledge."""
        for data, _ in messages:
            id_ = self._ids.of_received(data)
            if id_ is None or not self.letters.acknowledge(id_, cumulative=self._ids.cumulative):
                continue
            if self.delivery is not None:
                self.delivery.prove()
            else:  # on_connected has the connection, and this is about one before
                self._evidence.come()
                self._on_progress()

    def end_connection(self) -> None:
        """Draw the conclusions of a connection's end."""
        if self.delivery is not None:
            self.delivery.finish()
            self.delivery = None
        self.undelivered.report(self.letters.end_connection(), "lost")
        self._look_at_age()
        self._on_progress()

    def _on_progress(self) -> None:
        """Let those who wait for the outbox look."""
        self._moved.unpark_all()

    def stop(self) -> None:
        """Give up what is left."""
        self.abandoned = bool(len(self.letters))
        self.undelivered.end(self.letters.clear())
        self._on_progress()
