"""Events to listeners, in order, with bounded buffers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Generic, TypeVar, final

import attrs
import trio

from trio_socket_task._errors import HandshakeError
from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent
from trio_socket_task._hooks import nothing
from trio_socket_task._protocol._decoder import Message
from trio_socket_task._thread import HomeThread

from ._mailbox import FACTS_KEPT, MESSAGE_OVERHEAD, Mailbox

_T = TypeVar("_T")
_logger = logging.getLogger("trio_socket_task")

_ERROR_OVERHEAD = 1024  # an exception, its cause and their tracebacks


@final
class Listener(trio.abc.ReceiveChannel[_T]):
    """The events of one kind, as a channel: ``async for event in task.on_message():``.

    It is an async context manager, may be read by several tasks (each event goes to one of them), and detaches when
    it is closed or garbage-collected. A message listener that is not read fills up to the socket's ``receive_buffer``;
    then the socket stops reading until the listener is read or closed.
    """

    _closed = True  # until it is made

    def __init__(self, mailbox: Mailbox[_T], attach: Callable[[], None], detach: Callable[[], None]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._mailbox = mailbox
        self._thread = HomeThread()
        self._detach = detach
        attach()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ended" if self._mailbox.ended else "open"
        return f"<Listener {state}, {len(self._mailbox.items)} waiting>"

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> _T:
        """Give the next event.

        If it is cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: There will be no more; everything that came was received.
            trio.ClosedResourceError: This listener was closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._mailbox.items:
            if self._mailbox.ended:
                raise trio.EndOfChannel
            await self._mailbox.readers.park()
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed; ask the socket for a new one")
        event, _ = self._mailbox.pop()
        return event

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Stop listening: events not yet received are dropped, and a task that waits for one gets an error.

        Raises:
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._thread.check()
        if not self._closed:
            self._closed = True
            self._release()

    def _release(self) -> None:
        self._detach()
        self._mailbox.clear()
        self._mailbox.end()

    async def aclose(self) -> None:
        """Stop listening, as `close` does; a checkpoint. If it is cancelled, the listener is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        # A collector may run in any thread, and in the middle of anything: the detaching is left to the Trio loop.
        if not self._closed:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._release)


def _weigh(event: object) -> int:
    """Count the bytes that an event holds on to, but for `MESSAGE_OVERHEAD`."""
    match event:
        case OpenEvent(header=header):
            return _weigh_header(header)
        case ErrorEvent(err_msg=words, error=error):
            size = _ERROR_OVERHEAD + 2 * len(words)
            return size + _weigh_header(error.header) + len(error.body) if isinstance(error, HandshakeError) else size
        case CloseEvent(reason=reason, peer_reason=peer_reason):
            return len(reason) + len(peer_reason)
        case _:
            return 0


def _weigh_header(header: Mapping[str, str]) -> int:
    return sum(MESSAGE_OVERHEAD + len(name) + len(value) for name, value in header.items())


@final
@attrs.define(eq=False)
class Topic(Generic[_T]):
    """One kind of event, and who listens to it."""

    once: bool
    """Whether it happens once: then it is kept for those who come later, and ends their channels."""
    mailboxes: list[Mailbox[_T]] = attrs.field(factory=list)
    happened: tuple[_T, ...] = ()

    def publish(self, event: _T, size: int = 0) -> None:
        """Give an event to everyone who listens."""
        for mailbox in self.mailboxes:
            self._give(mailbox, event, size)
        if self.once:
            self.happened = (event,)
            self.end()

    def _give(self, mailbox: Mailbox[_T], event: _T, size: int) -> None:
        if mailbox.drops:
            size = size or _weigh(event)
            while mailbox.items and mailbox.size + size + MESSAGE_OVERHEAD > mailbox.limit:
                mailbox.pop()
        mailbox.put(event, size)

    def attach(self, mailbox: Mailbox[_T]) -> None:
        """Let a mailbox have what comes, and what is kept."""
        for event in self.happened:
            self._give(mailbox, event, 0)
        if self.happened and not mailbox.endless:
            mailbox.end()
        else:
            self.mailboxes.append(mailbox)

    def detach(self, mailbox: Mailbox[_T]) -> None:
        """Let a mailbox have nothing any more."""
        if mailbox in self.mailboxes:
            self.mailboxes.remove(mailbox)

    def end(self) -> None:
        """Say that nothing will come any more."""
        for mailbox in self.mailboxes:
            if not mailbox.endless:
                mailbox.end()
        self.mailboxes = [mailbox for mailbox in self.mailboxes if mailbox.endless]

    @property
    def full(self) -> bool:
        """Whether some mailbox is full."""
        return any(mailbox.full for mailbox in self.mailboxes)


@final
class Listeners:
    """All that listens to one socket.

    Messages that come before anyone listens are kept in the inbox and go to the first who does: a call of
    `claim_inbox` (by `receive` and iteration), or a message listener.
    """

    __slots__ = (
        *("_ended", "_limit", "_on_room", "_warned", "claimed", "close", "error", "inbox", "keeps_inbox"),
        *("message", "on_messages", "open"),
    )

    def __init__(self, limit: int, on_room: Callable[[], None]) -> None:
        self._on_room = on_room
        self._limit = limit
        self.inbox: Mailbox[str | bytes] = Mailbox(limit, on_room=on_room)
        self.keeps_inbox: bool = True
        """Whether messages go to the inbox."""
        self.open: Topic[OpenEvent] = Topic(once=True)
        self.message: Topic[MessageEvent] = Topic(once=False)
        self.error: Topic[ErrorEvent] = Topic(once=True)
        self.close: Topic[CloseEvent] = Topic(once=True)
        self.on_messages: Callable[[list[Message]], None] | None = None
        """Called with messages as they come, whether the program receives them or not."""
        self.claimed: bool = False
        """Whether somebody receives, so that messages are kept for the next call."""
        self._ended = False
        self._warned = False

    def claim_inbox(self) -> None:
        """Let messages go to the inbox from now on."""
        self.keeps_inbox = self.claimed = True

    def attach_messages(self, mailbox: Mailbox[MessageEvent]) -> None:
        """Let a mailbox have the messages; the first one also gets those that came before."""
        mailbox.on_room = self._on_room
        if not self.claimed and self.keeps_inbox:
            self.keeps_inbox = False
            for data, size in self.inbox.clear():
                mailbox.put(MessageEvent(data), size)
        if self._ended and not mailbox.endless:
            mailbox.end()
        else:
            self.message.attach(mailbox)

    def deliver(self, messages: list[Message], *, discards: bool = False) -> None:
        """Give messages to everyone who listens, or, where they are discarded, to `on_messages` alone."""
        if self.on_messages is not None:
            self.on_messages(messages)
        if discards:
            return
        if self.keeps_inbox:
            self.inbox.put_all(messages)
        if self.message.mailboxes:
            for data, size in messages:
                self.message.publish(MessageEvent(data), size)

    def listen_messages(self) -> Listener[MessageEvent]:
        """Make a listener of messages."""
        mailbox: Mailbox[MessageEvent] = Mailbox(self._limit)
        return Listener(mailbox, lambda: self.attach_messages(mailbox), lambda: self.message.detach(mailbox))

    def listen(self, topic: Topic[_T]) -> Listener[_T]:
        """Make a listener of `open`, `error` or `close`."""
        mailbox: Mailbox[_T] = Mailbox(FACTS_KEPT)

        def attach() -> None:
            topic.attach(mailbox)
            if self._ended:
                mailbox.end()

        return Listener(mailbox, attach, lambda: topic.detach(mailbox))

    @property
    def full(self) -> bool:
        """Whether some reader of messages is so far behind that reading must stop."""
        is_full = self.inbox.full or self.message.full
        if is_full and not self._warned and self.message.mailboxes:
            self._warned = True
            behind = "a message listener" if self.message.full else "receive()"
            _logger.warning(
                "%s is %d bytes behind, so the socket reads no more until it has caught up or is closed",
                behind,
                self.kept,
            )
        return is_full

    @property
    def kept(self) -> int:
        """Bytes that the slowest reader of messages has still to take."""
        return max(self.inbox.size, *(mailbox.size for mailbox in self.message.mailboxes), 0)

    def channels(self) -> Iterator[tuple[str, object]]:
        """Give the mailboxes that listen to this socket alone, with the names of what made them."""
        for name in ("open", "message", "error", "close"):
            topic: Topic[OpenEvent] = getattr(self, name)
            for mailbox in topic.mailboxes:
                if not mailbox.endless:
                    yield f"on_{name}", mailbox

    def end(self) -> None:
        """Say that nothing will come any more."""
        self._ended = True
        for mailbox in self.message.mailboxes:
            if mailbox.on_room == self._on_room:  # and not that of several sockets
                mailbox.on_room = nothing
        self._on_room = self.inbox.on_room = nothing
        self.inbox.end()
        self.open.end()
        self.message.end()
        self.error.end()
        self.close.end()
