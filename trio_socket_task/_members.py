"""The sockets of a manager: who may join, who is current, and which listeners go from socket to socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, final

import attrs
import trio

from ._errors import SocketNotOpenError
from ._events import SocketStatistics
from ._options import ConnectOptions, check_options, with_defaults
from ._policy import CoexistencePolicy, admit
from ._session._listener import Listener, itself
from ._session._mailbox import EVENTS_KEPT, Mailbox
from ._session._session import Session
from ._session._statistics import Traffic, add
from ._session._subscriptions import Subscriptions
from ._session._topic import Topic
from ._socket_task import SocketTask
from ._thread import HomeThread
from ._url import Address, check_url

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_REPLACED = "replaced by a new connection"


@final
@attrs.define(eq=False)
class Member:
    """A socket that is not CLOSED."""

    task: SocketTask
    session: Session
    nursery: trio.Nursery | None = None
    """Where it lives: the manager's nursery, or that of a block of its own; None before it does."""
    let_go: bool = False
    """Whether `SocketManager.close_socket` has closed it, so that the global functions act on the next."""


@final
@attrs.define(eq=False)
class GlobalListener:
    """How an ``on_socket_*`` channel listens to socket after socket."""

    name: str
    attach: Callable[[Subscriptions], None]
    end: Callable[[], None]


@final
class Members:
    """The sockets that count for one policy, and those who listen to whichever is current."""

    def __init__(self, policy: CoexistencePolicy, defaults: ConnectOptions) -> None:
        self.policy: CoexistencePolicy = policy
        """Who may join."""
        self.nursery: trio.Nursery | None = None
        """Where sockets live that have no block of their own; None before the manager's block is entered."""
        self.ended: bool = False
        """Whether the manager's block is being left, or was."""
        self.thread: HomeThread = HomeThread()
        self.listeners: list[GlobalListener] = []
        self._defaults = defaults
        self._members: dict[Member, None] = {}  # in order
        self._heard: list[Member] = []  # the sockets that the global listeners listen to
        self._gone = Traffic()  # of the sockets that have closed
        self._room = trio.lowlevel.ParkingLot()  # those who wait until a socket has gone

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    @property
    def current(self) -> Member | None:
        """The earliest socket that was not let go; else the earliest; None where there is none."""
        for member in self._members:
            if not member.let_go:
                return member
        return next(iter(self._members), None)

    def require_current(self) -> Member:
        """Return the current socket.

        Raises:
            SocketNotOpenError: There is none.
        """
        current = self.current
        if current is None:
            raise SocketNotOpenError(None)
        return current

    def admit(self, url: str, options: ConnectOptions) -> Member:
        """Check everything in the order url, limit, the rest; then add the socket."""
        self.thread.check()
        if self.ended:
            raise RuntimeError("this manager's block has ended; open a new one with open_socket_manager()")
        address = check_url(url)
        admit(self.policy, self._members)
        checked = check_options(address, self.complete(address, options))
        replaced = admit(self.policy, self._members)  # again: a mapping of the program's may connect when it is read
        for old in replaced:
            old.session.close(1000, _REPLACED)
        session = Session(checked, [old.session for old in replaced])
        member = Member(SocketTask(session), session)
        self._members[member] = None
        self._attach_listeners()
        return member

    def connect(self, url: str, options: ConnectOptions) -> Member:
        """Add a socket that lives in the manager's nursery, and start its task."""
        member = self.admit(url, options)
        assert self.nursery is not None  # noqa: S101 (only its block gives a manager out)
        self.start(member, self.nursery)
        return member

    def complete(self, address: Address, options: ConnectOptions) -> ConnectOptions:
        """Add the manager's own options where the call gave none."""
        complete = with_defaults(self._defaults, options)
        if not address.secure and "ssl_context" not in options:
            complete.pop("ssl_context", None)  # meant for the wss URLs among them
        return complete

    def start(self, member: Member, nursery: trio.Nursery) -> None:
        """Start the task of a socket in a nursery."""
        member.nursery = nursery
        nursery.start_soon(self._serve, member)

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, member: Member) -> None:
        """Run a socket from its opening to its end; its slot is free when its close event is delivered."""
        try:
            await member.session.run()
        finally:
            del self._members[member]
            self._room.unpark_all()
            self._gone.include(member.session.traffic)
            member.session.announce_close()
            self._attach_listeners()
            self._end_listeners_after_the_last()

    async def wait_for_room(self) -> None:
        """Wait until a socket has gone."""
        await self._room.park()

    def _attach_listeners(self) -> None:
        """Attach the global listeners to the current socket; they stay with one until it has closed."""
        self._heard = [member for member in self._heard if not member.session.has_closed]
        current = self.current
        if current is not None and current not in self._heard:
            self._heard.append(current)
            for listener in self.listeners:
                listener.attach(current.session.subscriptions)

    def let_go(self, member: Member) -> None:
        """Leave the place of the current socket to the next."""
        member.let_go = True
        self._attach_listeners()

    def statistics(self) -> SocketStatistics:
        """Return the figures of all sockets together, closed ones included."""
        total = self._gone.settled()
        for member in self._members:
            total = add(total, member.task.statistics())
        return total

    def begin(self, nursery: trio.Nursery) -> None:
        """Admit sockets without a block of their own, too: they live in this nursery."""
        self.nursery = nursery
        self.thread = HomeThread()  # it may have been made elsewhere

    async def aclose(self) -> None:
        """Admit no more sockets, close those there are, and wait until they have closed."""
        self._end()
        members = tuple(self)
        for member in members:
            member.session.close(1000, "")
        for member in members:
            await member.session.wait_closed()

    def abort(self) -> None:
        """Admit no more sockets, and drop those there are."""
        self._end()
        for member in self:
            member.session.abort()

    def _end(self) -> None:
        self.ended = True
        self._room.unpark_all()
        self._end_listeners_after_the_last()

    def _end_listeners_after_the_last(self) -> None:
        if self.ended and not self._members:
            for listener in self.listeners:
                listener.end()

    def listen(
        self,
        name: str,
        topic: Callable[[Subscriptions], Topic[_Item]],
        limit: int = EVENTS_KEPT,
        attach: Callable[[Subscriptions, Mailbox[_Item]], None] | None = None,
        event_of: Callable[[Any], _T] = itself,
    ) -> Listener[_T]:
        """Return a listener that goes from socket to socket."""
        self.thread.check()
        mailbox: Mailbox[_Item] = Mailbox(limit, endless=True, drops=attach is None)

        def listen(subscriptions: Subscriptions) -> None:
            if attach is None:
                topic(subscriptions).attach(mailbox)
            else:
                attach(subscriptions, mailbox)

        listener = GlobalListener(name, listen, mailbox.end)

        def join() -> None:
            self.listeners.append(listener)
            for member in self._heard:
                subscriptions = member.session.subscriptions
                if not member.let_go:
                    listener.attach(subscriptions)
                elif not topic(subscriptions).happened:  # what has been belongs to the past, as its socket does
                    topic(subscriptions).attach(mailbox)
            if self.ended:
                mailbox.end()

        def leave() -> None:
            self.listeners.remove(listener)
            for member in self._heard:
                topic(member.session.subscriptions).detach(mailbox)

        return Listener(mailbox, join, leave, event_of)
