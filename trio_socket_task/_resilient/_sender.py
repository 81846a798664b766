"""What the program sends: queued, given to a connection, and reported where it does not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import trio

from trio_socket_task._errors import OutboxFullError
from trio_socket_task._protocol._events import Message
from trio_socket_task._socket_task import SocketTask

from ._delivery import Delivery
from ._label import SocketLabel
from ._on_demand import OnDemand
from ._outbox import Outbox
from ._proof import Acknowledgement, MessageIds, ProofMonitor, kind_of_proof
from ._queue import MessageQueue, QueuedMessage
from ._undelivered import Undelivered


@final
class Sender:
    """The queue of one resilient socket's messages, and what becomes of them."""

    __slots__ = (
        *("_ids", "_monitor", "_progress", "_turn", "delivery", "queue", "stopped_with_messages", "tasks"),
        *("undelivered",),
    )

    def __init__(self, limits: Outbox, label: SocketLabel) -> None:
        self.queue: MessageQueue = MessageQueue(limits)
        self.delivery: Delivery | None = None
        """The present connection's."""
        self.tasks: OnDemand = OnDemand()
        """What is done for it across connections."""
        self.undelivered: Undelivered = Undelivered(self.queue, label, self.tasks)
        """What was given up."""
        self._turn: trio.StrictFIFOLock | None = None  # once somebody has waited for room
        self.stopped_with_messages: bool = False
        """Whether something was left when the socket stopped."""
        self._progress = trio.lowlevel.ParkingLot()  # those who wait for the outbox to become emptier
        acknowledgement = limits.proof if isinstance(limits.proof, Acknowledgement) else None
        self._ids = MessageIds(acknowledgement, label)
        self._monitor = ProofMonitor(kind_of_proof(limits.proof), limits.proof_timeout, label)

    def put(self, data: str | bytes, payload: bytes) -> None:
        """Queue a message, for which there is room, and give it to the connection if there is one."""
        queue, delivery = self.queue, self.delivery
        queued_at = 0.0 if queue.limits.max_age is None else trio.current_time()
        message = QueuedMessage(data, len(payload), queued_at)
        if delivery is None or queue.waiting:
            queue.put(message)
        else:
            delivery.send_new(message, payload)
        if queue.waiting:
            if delivery is not None:
                delivery.send_waiting()
            self._watch_age()

    @property
    def turn(self) -> trio.StrictFIFOLock:
        """Held by the call of `send` that is the next to have room; the others wait for it in order."""
        if self._turn is None:
            self._turn = trio.StrictFIFOLock()
        return self._turn

    @property
    def is_waited_for(self) -> bool:
        """Whether a call of `send` waits for room, behind which others wait."""
        return self._turn is not None and self._turn.locked()

    def has_room(self, size: int) -> bool:
        """Whether there is room for a message, where nothing waits, nobody ever did, and no reader of reports might."""
        queue = self.queue
        return not (queue.waiting or self._turn or self.undelivered.is_listened_to) and queue.has_room(size)

    def may_put(self, size: int) -> bool:
        """Make room for a message, by the rule of the outbox; False where its sender is to wait.

        Raises:
            OutboxFullError: It is full, and does not let anybody wait.
        """
        return not self.undelivered.is_behind(size) and self.make_room(size)

    async def wait_for_room(self, size: int) -> None:
        """Wait until there may be room."""
        if self.undelivered.is_behind(size):
            await self.undelivered.wait_for_readers(size)
        else:
            await self._progress.park()

    def make_room(self, size: int) -> bool:
        """Make room for a message, by the rule of the outbox, however far readers of reports are behind.

        Raises:
            OutboxFullError: It is full, and does not let anybody wait.
        """
        if self.queue.waiting:
            self.expire()
        if self.queue.has_room(size):
            return True
        rule = self.queue.limits.when_full
        if rule == "refuse":
            raise OutboxFullError(len(self.queue), self.queue.size)
        if rule == "drop_oldest":
            self.undelivered.report(self.queue.drop_oldest(size), "dropped")
        return self.queue.has_room(size)

    def expire(self) -> None:
        """Give up what has waited for too long."""
        expired = self.queue.expire(trio.current_time())
        if expired:
            self.undelivered.report(expired, "expired")
            self._progress.unpark_all()

    @trio.lowlevel.enable_ki_protection
    async def _expire_in_time(self) -> None:
        """Give up what has waited for too long, as soon as it has, while anything waits."""
        while self.queue.waiting:
            await trio.sleep_until(self.queue.expiry)
            self.expire()

    def _watch_age(self) -> None:
        if self.queue.waiting and self.queue.limits.max_age is not None:
            self.tasks.ensure(self._expire_in_time)

    async def wait_empty(self) -> None:
        """Wait until everything was delivered or given up; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while len(self.queue):
            await self._progress.park()

    def new_delivery(self, task: SocketTask) -> Delivery:
        """Return a new delivery, to a connection."""
        return Delivery(task, self.queue, self._ids, self._monitor, self._progress)

    def begin_connection(self, delivery: Delivery) -> None:
        """Start to send on a connection what waits, and what will."""
        self.expire()
        self.delivery = delivery
        delivery.send_waiting()

    def on_written(self) -> None:
        """Note that the connection has written something."""
        if self.delivery is not None:
            self.delivery.check_written()

    @property
    def expects_acknowledgements(self) -> bool:
        """Whether messages that come acknowledge others."""
        return self._ids.are_known

    def on_messages(self, messages: Sequence[Message]) -> None:
        """Note what messages that came acknowledge."""
        acknowledge = partial(self.queue.acknowledge, cumulative=self._ids.cumulative)
        for data, _ in messages:
            if not self._ids.of_received(data, acknowledge):
                continue
            if self.delivery is not None:
                self.delivery.note_proof()
            else:  # on_connected has the connection, and this is about one before
                self._monitor.note_proof()
                self._progress.unpark_all()

    def end_connection(self) -> None:
        """Take back, or report as lost, what was not proven to be delivered."""
        if self.delivery is not None:
            self.delivery.finish()
            self.delivery = None
        self.undelivered.report(self.queue.end_connection(), "lost")
        self._watch_age()
        self._progress.unpark_all()

    def stop(self) -> None:
        """Give up what is left."""
        self.stopped_with_messages = bool(len(self.queue))
        self.undelivered.end(self.queue.clear())
        self._progress.unpark_all()
