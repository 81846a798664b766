"""Who listens to one socket, and what is kept until somebody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar, final

from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent
from trio_socket_task._log import SafeLogger
from trio_socket_task._protocol._events import Message

from ._listener import Listener
from ._mailbox import EVENTS_KEPT, Mailbox
from ._topic import Topic
from ._wakeup import Wakeup

_T = TypeVar("_T")
_logger = SafeLogger("trio_socket_task")


@final
class Subscriptions:
    """All that listens to one socket.

    Messages that come before anyone listens are kept in the inbox and go to the first who does: a call of
    `claim_inbox` (by `receive` and iteration), or a message listener.
    """

    __slots__ = (
        *("_ended", "_limit", "_wakeup", "_warned", "claimed", "close", "error", "inbox", "keeps_inbox"),
        *("message", "on_messages", "on_written", "open"),
    )

    def __init__(self, limit: int, wakeup: Wakeup) -> None:
        self._wakeup = wakeup  # of the reading that stops while somebody is too far behind
        self._limit = limit
        self.inbox: Mailbox[str | bytes] = Mailbox(limit, wakeups=(wakeup,))
        self.keeps_inbox: bool = True
        """Whether messages go to the inbox."""
        self.open: Topic[OpenEvent] = Topic(once=True)
        self.message: Topic[str | bytes] = Topic(once=False)
        self.error: Topic[ErrorEvent] = Topic(once=True)
        self.close: Topic[CloseEvent] = Topic(once=True)
        self.on_messages: Callable[[list[Message]], None] | None = None
        """Called with messages as they come, before the program, and whether that receives them or not."""
        self.on_written: Callable[[], None] | None = None
        """Called when frames were written whole: `Writer.written` has grown."""
        self.claimed: bool = False
        """Whether somebody receives, so that messages are kept for the next call."""
        self._ended = False
        self._warned = False

    def claim_inbox(self) -> None:
        """Put messages into the inbox from now on."""
        self.keeps_inbox = self.claimed = True

    def attach_messages(self, mailbox: Mailbox[str | bytes]) -> None:
        """Put the messages into a mailbox; the first one also gets those that came before."""
        mailbox.wakeups += (self._wakeup,)
        if not self.claimed and self.keeps_inbox:
            self.keeps_inbox = False
            for data, size in self.inbox.clear():
                mailbox.put(data, size)
        if self._ended and not mailbox.endless:
            mailbox.end()
        else:
            self.message.attach(mailbox)

    def deliver(self, messages: list[Message], size: int, *, discards: bool = False) -> None:
        """Put messages, of so many bytes, into every mailbox; where they are discarded, call `on_messages` alone."""
        if self.on_messages is not None:
            self.on_messages(messages)
        if discards:
            return
        if self.keeps_inbox:
            self.inbox.put_all(messages, size)
        for mailbox in self.message.mailboxes:
            mailbox.put_all(messages, size)

    def listen_messages(self, look_for_more: Callable[[], None] | None = None) -> Listener[MessageEvent]:
        """Return a new listener of messages; `look_for_more` may bring some before they are waited for."""
        mailbox: Mailbox[str | bytes] = Mailbox(self._limit, look_for_more=look_for_more)
        attach, detach = partial(self.attach_messages, mailbox), partial(self.message.detach, mailbox)
        return Listener(mailbox, attach, detach, MessageEvent)

    def listen(self, topic: Topic[_T]) -> Listener[_T]:
        """Return a new listener of `open`, `error` or `close`."""
        mailbox: Mailbox[_T] = Mailbox(EVENTS_KEPT)

        def attach() -> None:
            topic.attach(mailbox)
            if self._ended:
                mailbox.end()

        return Listener(mailbox, attach, lambda: topic.detach(mailbox))

    @property
    def full(self) -> bool:
        """Whether some reader of messages is so far behind that reading must stop."""
        return self.inbox.full or (bool(self.message.mailboxes) and self.message.full)

    def warn_once(self) -> None:
        """Log, the first time, that reading stops because of a reader beside others, who then get nothing either."""
        if self._warned or not self.message.mailboxes:
            return
        self._warned = True
        behind = "a message listener" if self.message.full else "receive()"
        _logger.warning(
            "%s is %d bytes behind, so the socket reads no more until it has caught up or is closed", behind, self.kept
        )

    @property
    def kept(self) -> int:
        """Bytes that the slowest reader of messages has still to take."""
        return max(self.inbox.size, *(mailbox.size for mailbox in self.message.mailboxes), 0)

    def channels(self) -> Iterator[tuple[str, object]]:
        """Yield the mailboxes that listen to this socket alone, with the names of what made them."""
        for name in ("open", "message", "error", "close"):
            topic: Topic[OpenEvent] = getattr(self, name)
            for mailbox in topic.mailboxes:
                if not mailbox.endless:
                    yield f"on_{name}", mailbox

    def end(self) -> None:
        """Note that nothing will come any more, after the close event, which has ended its own channels."""
        self._ended = True
        for mailbox in self.message.mailboxes:  # one of socket after socket would keep all their wakeups
            mailbox.wakeups = tuple(other for other in mailbox.wakeups if other is not self._wakeup)
        self.inbox.end()
        self.open.end()
        self.message.end()
        self.error.end()
