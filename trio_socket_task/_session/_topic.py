"""One kind of event, and who listens to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar, final

import attrs

from trio_socket_task._errors import HandshakeError
from trio_socket_task._events import CloseEvent, ErrorEvent, OpenEvent

from ._mailbox import MESSAGE_OVERHEAD, Mailbox

_T = TypeVar("_T")
_ERROR_OVERHEAD = 1024  # an exception, its cause and their tracebacks


@final
@attrs.define(eq=False, weakref_slot=False)
class Topic(Generic[_T]):
    """One kind of event, and who listens to it."""

    once: bool
    """Whether it happens once: then it is kept for those who come later, and ends their channels."""
    mailboxes: tuple[Mailbox[_T], ...] = ()
    happened: tuple[_T, ...] = ()

    def publish(self, event: _T, size: int = 0) -> None:
        """Put an event into every mailbox."""
        for mailbox in self.mailboxes:
            self._put(mailbox, event, size)
        if self.once:
            self.happened = (event,)
            self.end()

    def _put(self, mailbox: Mailbox[_T], event: _T, size: int) -> None:
        if mailbox.drops:
            size = size or _weigh(event)
            while mailbox.items and mailbox.size + size + MESSAGE_OVERHEAD > mailbox.limit:
                mailbox.pop()
        mailbox.put(event, size)

    def attach(self, mailbox: Mailbox[_T]) -> None:
        """Put what comes, and what is kept, into a mailbox."""
        for event in self.happened:
            self._put(mailbox, event, 0)
        if self.happened and not mailbox.endless:
            mailbox.end()
        else:
            self.mailboxes = (*self.mailboxes, mailbox)

    def detach(self, mailbox: Mailbox[_T]) -> None:
        """Put nothing more into a mailbox."""
        self.mailboxes = tuple(other for other in self.mailboxes if other is not mailbox)

    def end(self) -> None:
        """Note that nothing will come any more."""
        for mailbox in self.mailboxes:
            if not mailbox.endless:
                mailbox.end()
        self.mailboxes = tuple(mailbox for mailbox in self.mailboxes if mailbox.endless)

    @property
    def full(self) -> bool:
        """Whether some mailbox is full."""
        for mailbox in self.mailboxes:  # noqa: SIM110 (a generator would cost more than all else of a read)
            if mailbox.full:
                return True
        return False


def _weigh(event: object) -> int:
    """Count the bytes that an event holds on to, but for `MESSAGE_OVERHEAD`."""
    match event:
        case OpenEvent(header=header):
            return _weigh_header(header)
        case ErrorEvent(err_msg=text, error=error):
            size = _ERROR_OVERHEAD + 2 * len(text)
            return size + _weigh_header(error.header) + len(error.body) if isinstance(error, HandshakeError) else size
        case CloseEvent(reason=reason, peer_reason=peer_reason):
            return len(reason) + len(peer_reason)
        case _:
            return 0


def _weigh_header(header: Mapping[str, str]) -> int:
    return sum(MESSAGE_OVERHEAD + len(name) + len(value) for name, value in header.items())
