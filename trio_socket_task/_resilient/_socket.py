"""ResilientSocket: the handle that a program holds across connections, and its block."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Unpack, final

import trio

from trio_socket_task._checks import encode_payload
from trio_socket_task._connect import current_default_manager
from trio_socket_task._errors import InvalidOptionsError, SocketLostError, SocketNotOpenError
from trio_socket_task._events import CloseEvent
from trio_socket_task._manager import SocketManager
from trio_socket_task._options import ConnectOptions
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._service_nursery import ServiceBlock
from trio_socket_task._session._listener import Listener
from trio_socket_task._session._statistics import add
from trio_socket_task._socket_task import SocketTask
from trio_socket_task._text import mask_url
from trio_socket_task._thread import HomeThread

from ._backoff import Backoff
from ._mail import Mail
from ._outbox import Outbox
from ._reports import ResilientStatistics, StateEvent, UndeliveredEvent
from ._retry import Retry
from ._settings import OnConnected, Plan, Target, check_plan
from ._states import States
from ._supervisor import Keeper

_DIRECT = Outbox()  # stays empty where messages go to the connection or nowhere


@final
class ResilientSocket(trio.abc.Channel[str | bytes]):
    """A WebSocket that connects again when it is lost. Made by `open_resilient_socket`.

    Every ``async`` method is a cancel point on every call. Any number of tasks may use one socket.
    """

    def __init__(self, keeper: Keeper, mail: Mail, outbox: Outbox | None) -> None:
        self._keeper = keeper
        self._connection = keeper.connection
        self._states = keeper.states
        self._mail = mail
        self._outbox = outbox
        self._thread = HomeThread()

    def __repr__(self) -> str:
        number, url = self._states.number, mask_url(self._states.url)
        return f"<ResilientSocket {number} {self.state.state.name} {url}, connection {self.state.generation}>"

    @property
    def state(self) -> StateEvent:
        """What it is doing about its connection."""
        return self._states.current

    @property
    def task(self) -> SocketTask | None:
        """The present connection; None while there is none. What is sent on it directly bypasses the outbox."""
        return self._connection.task

    @property
    def close_event(self) -> CloseEvent | None:
        """How this side closed it, else how its latest connection closed; None where none has."""
        return self._keeper.close_event

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
        return self._mail.undelivered.listen()

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
        data, size = self._check(data)
        self._keeper.require_running()
        if self._outbox is None:
            await self._require_task().send(data)
            return
        await trio.lowlevel.checkpoint()
        self._keeper.require_running()
        if self._mail.queue.locked() or not self._mail.may_post(size):
            async with self._mail.queue:
                self._keeper.require_running()
                while not self._mail.may_post(size):
                    await self._mail.wait_to_post(size)
                    self._keeper.require_running()
                self._mail.post(data, size)
        else:
            self._mail.post(data, size)

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
        data, size = self._check(data)
        self._keeper.require_running()
        if self._outbox is None:
            self._require_task().send_nowait(data)
        elif not self._mail.queue.locked() and self._mail.make_room(size):
            self._mail.post(data, size)
        else:
            raise trio.WouldBlock

    def _check(self, data: str | bytes | bytearray | memoryview) -> tuple[str | bytes, int]:
        payload = encode_payload(data)
        if self._outbox is not None and len(payload) > self._outbox.max_bytes:
            rule = f"must fit into the outbox, whose max_bytes is {self._outbox.max_bytes}"
            raise InvalidOptionsError("data", data, rule)
        return (data if isinstance(data, str) else payload), len(payload)

    def _require_task(self) -> SocketTask:
        if self.task is None:
            raise SocketNotOpenError(self._states.url)
        return self.task

    async def receive(self) -> str | bytes:
        """Give the next message, of this connection or of those to come: str for text, bytes for binary.

        ``async for data in socket`` does the same. What a connection brought before it was lost is received before
        anything of the next. If this is cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: This side closed the socket, or the server did with 1000.
            GaveUpError: It connects no more. What came before was received first.
        """
        connection, states = self._connection, self._states
        while True:
            changed, task = states.changed, connection.task
            if task is not None:
                try:
                    return await task.receive()
                except (trio.EndOfChannel, SocketLostError):
                    await changed.wait()  # that connection is over, and another state is coming
                continue
            await trio.lowlevel.checkpoint()
            if connection.task is None and connection.backlog:
                return connection.take_old()
            if states.stopped:
                if self._keeper.ended_quietly:
                    raise trio.EndOfChannel
                self._keeper.require_running()
            elif states.changed is changed:
                await changed.wait()

    async def wait_connected(self) -> None:
        """Wait until it is connected and ``on_connected`` is done; if this is cancelled, the socket is unharmed.

        Raises:
            SocketClosedError: This side closed the socket.
            GaveUpError: It connects no more.
        """
        await trio.lowlevel.checkpoint()
        self._keeper.require_running()
        while self.task is None or self.task.ready_state is not ReadyState.OPEN:
            await self._states.changed.wait()
            self._keeper.require_running()

    async def wait_delivered(self) -> None:
        """Wait until the outbox is empty: everything is proven to be delivered, or was given up.

        If this is cancelled, the socket is unharmed.

        Raises:
            SocketClosedError: This side closed the socket before.
            GaveUpError: It connects no more, and something was left.
        """
        await self._mail.wait_empty()
        if self._mail.abandoned:
            self._keeper.require_running()

    @trio.lowlevel.enable_ki_protection
    def reconnect(self) -> None:
        """Connect anew at once: end the connection without waiting for the server, or the wait for the next attempt.

        For a program that knows better, such as one whose machine has another network. It does nothing once the socket
        has stopped.

        Raises:
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._thread.check()
        self._keeper.hurry()

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
        self._keeper.close(code, reason)

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
        await self._keeper.aclose(code, reason)

    def statistics(self) -> ResilientStatistics:
        """Give a snapshot of its figures."""
        letters, sockets = self._mail.letters, self._connection.gone.settled()
        if self.task is not None:
            sockets = add(sockets, self.task.statistics())
        return ResilientStatistics(
            attempts=self._keeper.attempts,
            generation=self.state.generation,
            waiting=len(letters.waiting),
            unconfirmed=len(letters.handed),
            outbox_bytes=letters.size,
            delivered=letters.delivered,
            undelivered=self._mail.undelivered.count,
            reports_dropped=self._mail.undelivered.dropped,
            sockets=sockets,
        )


@final
class ResilientBlock(ServiceBlock[ResilientSocket]):
    """The block of `open_resilient_socket`."""

    maker = "open_resilient_socket"

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._states = States(plan.url)
        self._mail = Mail(plan.outbox or _DIRECT, self._states.label)

    def prepare(self) -> None:
        """Take the run's own manager, where none was named."""
        self.keeper = Keeper(self._plan, self._plan.manager or current_default_manager(), self._mail, self._states)

    async def start(self, nursery: trio.Nursery) -> ResilientSocket:
        """Begin to connect."""
        nursery.start_soon(self.keeper.run)
        return ResilientSocket(self.keeper, self._mail, self._plan.outbox)

    async def finish(self) -> None:
        """Close the socket."""
        await self.keeper.aclose(1000, "")

    def abort(self) -> None:
        """Drop the socket."""
        self.keeper.abort()


def open_resilient_socket(  # noqa: PLR0913 (each says something of its own)
    target: Target,
    *,
    backoff: Backoff = Backoff(),  # noqa: B008 (it is frozen)
    retry: Retry = Retry(),  # noqa: B008 (as above)
    outbox: Outbox | None = Outbox(),  # noqa: B008 (as above)
    on_connected: OnConnected | None = None,
    manager: SocketManager | None = None,
    **options: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[ResilientSocket]:
    """Open a socket that connects again when it is lost, for the length of a block.

    ``async with open_resilient_socket(url) as socket:`` gives a `ResilientSocket`, which begins to connect.

    Leaving gives the connection what waits in the outbox, closes it with 1000 and waits until it is CLOSED, at most
    twice its ``close_timeout``. When the body raises or is cancelled, the body ends first; then the connection is
    dropped. The body's exception comes out unchanged. What the network did is raised by nothing but the socket's own
    calls, and only when it has given up.

    Args:
        target: A URL, or an async function that gives one, or a URL and options for it; it is asked before each
            attempt, so that each can have a fresh token or another host. What it raises makes the attempt fail.
        backoff: How long to wait between attempts.
        retry: Whether there is another attempt.
        outbox: Where messages wait for a connection, and for a sign that the server has read them; None for nowhere,
            so that `ResilientSocket.send` needs a connection.
        on_connected: An async function, given each new `SocketTask` before anything else is sent or received on it: to
            log in, to subscribe. If it raises, the attempt has failed; it is cancelled when the connection ends.
        manager: Whose limit counts while there is a connection; by default the run's own. A full one is waited for.
        options: See `ConnectOptions`. The heartbeat is ``Heartbeat()`` unless they say otherwise, None for none.

    Raises:
        InvalidOptionsError: An argument breaks its rule; nothing was dialled.
    """
    return ResilientBlock(
        check_plan(
            Plan(
                target=target,
                backoff=backoff,
                retry=retry,
                outbox=outbox,
                on_connected=on_connected,
                manager=manager,
                options=options,
            )
        )
    )
