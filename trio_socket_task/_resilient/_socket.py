"""ResilientSocket: the handle that a program holds across connections."""

from __future__ import annotations

from contextlib import suppress
from typing import final

import trio

from trio_socket_task._checks import encode_payload
from trio_socket_task._errors import InvalidOptionsError, SocketLostError, SocketNotOpenError
from trio_socket_task._events import CloseEvent
from trio_socket_task._mistakes import CHANNEL_NAMES, NO_WAIT, tells_names
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._session._listener import Listener
from trio_socket_task._session._mailbox import TURN, TURN_SHIFT
from trio_socket_task._socket_task import SocketTask, session_of
from trio_socket_task._text import mask_url
from trio_socket_task._thread import HomeThread

from ._outbox import Outbox
from ._reports import ResilientStatistics, StateEvent, UndeliveredEvent
from ._sender import Sender
from ._supervisor import Supervisor


@final
@tells_names(CHANNEL_NAMES)
class ResilientSocket(trio.abc.Channel[str | bytes]):
    """A WebSocket that connects again when it is lost. Made by `open_resilient_socket`.

    Every ``async`` method is a cancel point on every call; `send` and `receive` let other tasks run at least once per
    32 messages or 1 MiB. Any number of tasks may use one socket.
    """

    def __init__(self, supervisor: Supervisor, sender: Sender, outbox: Outbox | None) -> None:
        self._supervisor = supervisor
        self._attempts = supervisor.attempts
        self._states = supervisor.states
        self._sender = sender
        self._outbox = outbox
        self._thread = HomeThread()
        self._credit = TURN

    def __repr__(self) -> str:
        label, state = self._states.label, self.state
        where = mask_url(label.url)
        return f"<ResilientSocket {label.number} {state.state.name} {where}, connection {state.generation}>"

    @property
    def state(self) -> StateEvent:
        """What it is doing about its connection."""
        return self._states.current

    @property
    def task(self) -> SocketTask | None:
        """The present connection; None while there is none. What is sent on it directly bypasses the outbox."""
        return self._attempts.task

    @property
    def close_event(self) -> CloseEvent | None:
        """How this side closed it, else how its latest connection closed; None where none has."""
        return self._supervisor.close_event

    def on_state(self) -> Listener[StateEvent]:
        """Listen to its state: the present one first, then each change; the channel ends when it has stopped.

        For a reader that does not read, the latest 1024 are kept.
        """
        return self._states.listen()

    def on_undelivered(self) -> Listener[UndeliveredEvent]:
        """Listen to messages that were given up; where nobody listens, the log tells how many there were.

        A reader that goes on reading is told of each, because `send` waits for it rather than fill its buffer. For one
        that does not, twice as much is kept as the outbox may hold, and 1024 reports or 1 MiB in any case; then the
        oldest reports are dropped, which `statistics` counts and the log tells. `send_nowait` cannot wait.
        """
        return self._sender.undelivered.listen()

    @trio.lowlevel.enable_ki_protection
    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message, now or as soon as it is connected again: text for str, binary for the others.

        It returns when the message is in the outbox, which is at once while there is room. If this is cancelled, it
        is not. Without an outbox it is `SocketTask.send` of the present connection.

        Raises:
            TypeError: `data` is neither text nor bytes.
            InvalidOptionsError: `data` is a str with a lone surrogate, or larger than the whole outbox.
            OutboxFullError: The outbox is full, and its rule is to refuse.
            SocketNotOpenError: There is no outbox, and no connection.
            SocketLostError: There is no outbox, and the connection was lost.
            SocketClosedError: This side closed the socket.
            GaveUpError: It connects no more.
        """
        data, payload = self._check(data)
        self._supervisor.require_running()
        if self._outbox is None:
            await self._require_task().send(data)
            return
        size = len(payload)
        self._credit -= 1 + (size >> TURN_SHIFT)
        if self._credit > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._credit = TURN
            await trio.lowlevel.checkpoint()
            self._supervisor.require_running()
        sender = self._sender
        if sender.has_room(size) or (not sender.is_waited_for and sender.may_put(size)):
            sender.put(data, payload)
            return
        async with sender.turn:
            self._supervisor.require_running()
            while not sender.may_put(size):
                await sender.wait_for_room(size)
                self._supervisor.require_running()
            sender.put(data, payload)

    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message without waiting.

        Raises:
            RuntimeError: This is another thread than that of the Trio run.
            trio.WouldBlock: `send` would wait; nothing was queued.
            TypeError: As `send`; so are InvalidOptionsError, SocketNotOpenError, SocketLostError, SocketClosedError
                and GaveUpError.
        """
        self._thread.check()
        data, payload = self._check(data)
        self._supervisor.require_running()
        if self._outbox is None:
            self._require_task().send_nowait(data)
        elif not self._sender.is_waited_for and self._sender.make_room(len(payload)):
            self._sender.put(data, payload)
        else:
            raise trio.WouldBlock

    def _check(self, data: str | bytes | bytearray | memoryview) -> tuple[str | bytes, bytes]:
        payload = encode_payload(data)
        if self._outbox is not None and len(payload) > self._outbox.max_bytes:
            rule = f"must fit into the outbox, whose max_bytes is {self._outbox.max_bytes}"
            raise InvalidOptionsError("data", data, rule)
        return (data if isinstance(data, str) else payload), payload

    def _require_task(self) -> SocketTask:
        if self.task is None:
            raise SocketNotOpenError(self._states.label.url)
        return self.task

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> str | bytes:
        """Return the next message, of this connection or of those to come: str for text, bytes for binary.

        ``async for data in socket`` does the same. What a connection brought before it was lost is received before
        anything of the next. If this is cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: This side closed the socket, or the server did with 1000.
            GaveUpError: It connects no more. What came before was received first.
        """
        attempts, states = self._attempts, self._states
        while True:
            changed, task = states.changed, attempts.task
            if task is not None:
                session = session_of(task)
                try:
                    await session.wait_for_message()
                    return session.take_message()
                except (trio.EndOfChannel, SocketLostError):
                    await changed.wait()  # that connection is over, and another state is coming
                continue
            await trio.lowlevel.checkpoint()
            if attempts.task is None and attempts.backlog.messages:
                return attempts.backlog.pop()
            if states.stopped:
                if self._supervisor.ended_normally:
                    raise trio.EndOfChannel
                self._supervisor.require_running()
            elif states.changed is changed:
                await changed.wait()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> str | bytes:
        """Return the next message without waiting, as `receive` does.

        Raises:
            trio.WouldBlock: None is here yet, though one may come, be it of the next connection.
            trio.EndOfChannel: As `receive`; so is GaveUpError.
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._thread.check()
        attempts = self._attempts
        if attempts.task is not None:
            with suppress(trio.EndOfChannel, SocketLostError):  # that connection is over, and another state is coming
                return attempts.task.receive_nowait()
        elif attempts.backlog.messages:
            return attempts.backlog.pop()
        elif self._states.stopped:
            if self._supervisor.ended_normally:
                raise trio.EndOfChannel
            self._supervisor.require_running()
        raise trio.WouldBlock

    async def wait_connected(self) -> None:
        """Wait until it is connected and ``on_connected`` is done; if this is cancelled, the socket is unharmed.

        Raises:
            SocketClosedError: This side closed the socket.
            GaveUpError: It connects no more.
        """
        await trio.lowlevel.checkpoint()
        self._supervisor.require_running()
        while self.task is None or self.task.ready_state is not ReadyState.OPEN:
            await self._states.changed.wait()
            self._supervisor.require_running()

    async def wait_delivered(self) -> None:
        """Wait until the outbox is empty: everything is proven to be delivered, or was given up.

        If this is cancelled, the socket is unharmed.

        Raises:
            SocketClosedError: This side closed the socket before.
            GaveUpError: It connects no more, and something was left.
        """
        await self._sender.wait_empty()
        if self._sender.stopped_with_messages:
            self._supervisor.require_running()

    @trio.lowlevel.enable_ki_protection
    def reconnect(self) -> None:
        """Connect anew at once: end the connection without waiting for the server, or the wait for the next attempt.

        For a program that knows better, such as one whose machine has another network. It does nothing once the socket
        has stopped.

        Raises:
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._thread.check()
        self._supervisor.reconnect_now()

    @trio.lowlevel.enable_ki_protection
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start closing: the connection is given what waits in the outbox, and closed; a wait or a dial ends.

        Args:
            code: 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2).
            reason: At most 123 bytes of UTF-8 (RFC 6455 section 5.5).

        Raises:
            InvalidOptionsError: `code` or `reason` breaks its rule; the socket is unharmed.
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._thread.check()
        self._supervisor.close(code, reason)
        return NO_WAIT

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close and wait until it has stopped, at most twice its ``close_timeout`` in seconds.

        What is left in the outbox then is reported by `on_undelivered`. If this is cancelled, the connection is
        dropped without waiting for the server.

        Args:
            code: 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2).
            reason: At most 123 bytes of UTF-8 (RFC 6455 section 5.5).

        Raises:
            InvalidOptionsError: `code` or `reason` breaks its rule; the socket is unharmed.
        """
        await self._supervisor.aclose(code, reason)

    def statistics(self) -> ResilientStatistics:
        """Return a snapshot of its figures."""
        queue = self._sender.queue
        return ResilientStatistics(
            attempts=self._attempts.count,
            generation=self.state.generation,
            waiting=len(queue.waiting),
            unconfirmed=len(queue.unconfirmed),
            outbox_bytes=queue.size,
            delivered=queue.delivered,
            undelivered=self._sender.undelivered.count,
            reports_dropped=self._sender.undelivered.dropped,
            sockets=self._attempts.statistics(),
        )
