"""What the program sends: kept in the outbox, given to a connection, and reported where it does not arrive."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, final

import trio

from trio_socket_task._errors import OutboxFullError
from trio_socket_task._listeners import MESSAGE_OVERHEAD, Listener, Mailbox, Topic

from ._delivery import Delivery
from ._outbox import Letter, Letters, Outbox
from ._reports import UndeliveredEvent

_logger = logging.getLogger("trio_socket_task")


@final
class Mail:
    """The outbox of one resilient socket, and what becomes of what is in it."""

    def __init__(self, limits: Outbox) -> None:
        self.letters: Letters = Letters(limits)
        self.delivery: Delivery | None = None
        """The present connection's."""
        self.undelivered: int = 0
        """How many messages were given up."""
        self.queue: trio.StrictFIFOLock = trio.StrictFIFOLock()
        """Senders that wait for room, in order."""
        self.abandoned: bool = False
        """Whether something was left when the socket stopped."""
        self.moved: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        """Those who wait for the outbox to become emptier."""
        self._topic: Topic[UndeliveredEvent] = Topic(once=False)
        self._stopped = False

    def post(self, data: str | bytes, size: int) -> None:
        """Keep a message, for which there is room, and give it to the connection if there is one."""
        self.letters.put(Letter(data, size, trio.current_time()))
        if self.delivery is not None:
            self.delivery.hand_over()

    def make_room(self, size: int) -> bool:
        """Try to have room for a message, by the rule of the outbox; False where it is to wait.

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
            self._report(self.letters.drop_oldest(size), "dropped")
        return self.letters.has_room(size)

    def expire(self) -> None:
        """Give up what has waited for too long."""
        expired = self.letters.expire(trio.current_time())
        if expired:
            self._report(expired, "expired")
            self.on_progress()

    async def expire_in_time(self, max_age: float) -> None:
        """Give up what has waited for too long, as soon as it has, for ever."""
        while True:
            await trio.sleep_until(min(self.letters.expiry, trio.current_time() + max_age))
            self.expire()

    async def wait_moved(self) -> None:
        """Wait until the outbox may have become emptier."""
        await self.moved.park()

    def begin_connection(self, delivery: Delivery) -> None:
        """Give the messages that wait to a connection."""
        self.expire()
        self.delivery = delivery

    def end_connection(self) -> None:
        """Draw the conclusions of a connection's end."""
        if self.delivery is not None:
            self.delivery.finish()
            self.delivery = None
        self._report(self.letters.end_connection(), "lost")
        self.on_progress()

    def on_progress(self) -> None:
        """Let those who wait for the outbox look."""
        self.moved.unpark_all()

    def stop(self) -> None:
        """Give up what is left."""
        self.abandoned = bool(len(self.letters))
        self._report(self.letters.clear(), "stopped")
        self._stopped = True
        self._topic.end()
        self.on_progress()

    def listen(self) -> Listener[UndeliveredEvent]:
        """Make a listener of what is given up."""
        limits = self.letters.limits
        limit = limits.max_bytes + (limits.max_messages + 1) * MESSAGE_OVERHEAD
        mailbox: Mailbox[UndeliveredEvent] = Mailbox(limit, drops=True)

        def attach() -> None:
            self._topic.attach(mailbox)
            if self._stopped:
                mailbox.end()

        return Listener(mailbox, attach, lambda: self._topic.detach(mailbox))

    def _report(self, letters: Sequence[Letter], why: Literal["lost", "expired", "dropped", "stopped"]) -> None:
        self.undelivered += len(letters)
        for letter in letters:
            self._topic.publish(UndeliveredEvent(data=letter.data, why=why), letter.size)
        if letters and not self._topic.mailboxes:
            _logger.warning("given up and not listened to by on_undelivered(): %d (%s)", len(letters), why)
