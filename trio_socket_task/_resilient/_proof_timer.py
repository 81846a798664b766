"""Whether the proofs of one connection come in time."""

from __future__ import annotations

from typing import final

import attrs
import trio

from trio_socket_task._session._pings import PendingPing
from trio_socket_task._session._session import Session

from ._proof import ProofKind, ProofMonitor
from ._queue import MessageQueue


@final
@attrs.define(eq=False)
class DeliveryPing:
    """A ping that asks how far the server has read."""

    ping: PendingPing
    number: int
    """The last message that went before it."""
    position: int
    """What `Writer.written` is when it was written."""
    written_at: float | None = None
    """When that was."""


@final
class ProofTimer:
    """The time that a proof takes. When it is too long, messages no longer wait for one, and the log says so.

    The time does not run while bytes are being written, because what asks for the proof may wait behind them, nor
    while reading is paused. An application that has ever acknowledged anything may take its time.
    """

    __slots__ = ("_monitor", "_pings", "_queue", "_received", "_session", "_since", "expired")

    def __init__(
        self,
        session: Session,
        queue: MessageQueue,
        monitor: ProofMonitor,
        pings: list[DeliveryPing],
    ) -> None:
        self.expired: bool = False
        """Whether no proof came in time, and none has come since."""
        self._session = session
        self._queue = queue
        self._monitor = monitor
        self._pings = pings
        self._since = 0.0  # from when on a proof is waited for
        self._received = 0  # how many messages had come then

    def restart(self) -> None:
        """Wait for a proof from now on."""
        self._since = trio.current_time()
        self._received = self._session.traffic.messages_received

    def note_proof(self) -> None:
        """Wait for the next proof, because one came."""
        self.expired = False
        self.restart()

    @property
    def is_of_use(self) -> bool:
        """Whether a proof may be waited for, when something was sent."""
        return self._monitor.kind is ProofKind.PONG or not self._monitor.any_came

    async def run(self) -> None:
        """Watch the time while a proof is waited for, and until it is too long."""
        session, timeout = self._session, self._monitor.timeout
        while not self.expired and self._waits_for_proof():
            now = trio.current_time()
            since = max(self._since, self._asked_at(), session.reader.paused_until)
            if now < since + timeout:
                await trio.sleep_until(min(since, now) + timeout)
            elif self._is_silent():
                await trio.sleep(timeout)
            else:
                self.expired = True
                self._monitor.note_none_in_time()

    def _asked_at(self) -> float:
        """When what asks for the proof was written, or, while it waits, bytes before it."""
        writer = self._session.writer
        if self._pings and self._pings[0].written_at is not None:
            return self._pings[0].written_at
        return writer.progress_at if writer.written < writer.taken else self._since

    def _is_silent(self) -> bool:
        """Whether the peer may be gone, which the heartbeat finds out: then it need not be given all there is."""
        heartbeat = self._session.options.heartbeat
        sends_pings = heartbeat is not None and heartbeat.message is None
        is_pong = self._monitor.kind is ProofKind.PONG
        return is_pong and sends_pings and self._session.traffic.messages_received == self._received

    def _waits_for_proof(self) -> bool:
        unconfirmed = self._queue.unconfirmed
        if self._monitor.kind is ProofKind.PONG:
            return bool(unconfirmed)
        return not self._monitor.any_came and any(message.id is not None for message in unconfirmed.values())
