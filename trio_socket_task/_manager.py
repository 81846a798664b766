"""SocketManager: the nursery, and who may join it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar, Unpack, final

import attrs
import trio

from ._errors import SocketNotOpenError
from ._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketStatistics
from ._hooks import nothing
from ._options import ConnectOptions, check_options
from ._policy import Coexist, CoexistencePolicy, admit, check_policy
from ._protocol._state import ReadyState
from ._service_nursery import Block
from ._session._mailbox import FACTS_KEPT, Mailbox
from ._session._session import Driver
from ._session._statistics import Traffic, add
from ._session._subscriptions import Listener, Listeners, Topic
from ._socket_task import SocketTask
from ._thread import HomeThread
from ._url import Address, check_url

_T = TypeVar("_T")
_REPLACED = "replaced by a new connection"
_MESSAGE_BUFFER = 16 * 2**20  # as the default receive_buffer of a socket
ANY_ADDRESS = check_url("wss://any.invalid/")
"""To check options with that go to every address."""


@final
@attrs.define(eq=False)
class Member:
    """A socket that is not CLOSED."""

    task: SocketTask
    driver: Driver
    nursery: trio.Nursery | None = None
    """Where it lives: the manager's nursery, or that of a block of its own; None before it does."""
    let_go: bool = False
    """Whether `SocketManager.close_socket` has closed it, so that the global functions act on the next."""


@final
@attrs.define(eq=False)
class _GlobalListener:
    """How an ``on_socket_*`` channel listens to socket after socket."""

    name: str
    attach: Callable[[Listeners], None]
    end: Callable[[], None]


@final
class SocketManager:
    """The sockets of a block: a nursery, and the policy that says how many may coexist.

    Made by `open_socket_manager`. The vendors' seven global functions act on `current`.
    """

    def __init__(self, policy: CoexistencePolicy, defaults: ConnectOptions | None = None) -> None:
        self._policy = policy
        self._defaults: ConnectOptions = {} if defaults is None else defaults
        self._nursery: trio.Nursery | None = None
        self._members: list[Member] = []
        self._listeners: list[_GlobalListener] = []
        self._heard: list[Member] = []  # the sockets that the global listeners listen to
        self._gone = Traffic()  # of the sockets that have closed
        self._ended = False
        self._on_closing: Callable[[], None] = nothing  # called before sockets are closed that no own call closes
        self._room = trio.lowlevel.ParkingLot()  # those who wait until a socket has gone
        self._thread = HomeThread()

    def __repr__(self) -> str:
        return f"<SocketManager {len(self._members)} of {self._policy!r}>"

    @property
    def policy(self) -> CoexistencePolicy:
        """Who may join."""
        return self._policy

    @property
    def sockets(self) -> Sequence[SocketTask]:
        """The sockets that are not CLOSED, the earliest first."""
        return tuple(member.task for member in self._members)

    @property
    def current(self) -> SocketTask | None:
        """The earliest socket that is not CLOSED, on which the global functions act; None where there is none.

        One that `close_socket` has closed gives way to the next at once, though its peer may be slow to answer.
        """
        member = self._current()
        return None if member is None else member.task

    def _current(self) -> Member | None:
        earliest = self._members[0] if self._members else None
        return next((member for member in self._members if not member.let_go), earliest)

    @trio.lowlevel.enable_ki_protection
    def connect_socket(self, url: str, **options: Unpack[ConnectOptions]) -> SocketTask:
        """Start a socket and return it CONNECTING, as the vendors' ``connectSocket`` does.

        Listeners registered before the next checkpoint miss nothing. A socket that cannot be opened raises nowhere by
        itself: `SocketTask.wait_open` does, and its error and close events tell.

        Raises:
            InvalidOptionsError: An argument breaks its rule; nothing was dialled.
            SocketLimitError: The policy admits no more; nothing was dialled.
            RuntimeError: The manager's block has ended, or this is another thread than that of the Trio run.
        """
        member = self._admit(url, options)
        assert self._nursery is not None  # noqa: S101 (only its block gives a manager out)
        member.nursery = self._nursery
        member.nursery.start_soon(member.driver.run)
        return member.task

    def _admit(self, url: str, options: ConnectOptions) -> Member:
        """Check everything in the order url, limit, the rest; then let the socket join."""
        self._thread.check()
        if self._ended:
            raise RuntimeError("this manager's block has ended; open a new one with open_socket_manager()")
        address = check_url(url)
        admit(self._policy, self._members)
        checked = check_options(address, self._complete(address, options))
        replaced = admit(self._policy, self._members)  # again: a mapping of the program's may connect when it is read
        if replaced:
            self._on_closing()
        for old in replaced:
            old.driver.close(1000, _REPLACED)
        driver = Driver(checked, [old.driver for old in replaced])
        member = Member(SocketTask(driver), driver)
        driver.on_freed = lambda: self._free(member)
        driver.on_closed = self._bind
        self._members.append(member)
        self._bind()
        return member

    def _complete(self, address: Address, options: ConnectOptions) -> ConnectOptions:
        """Add the manager's own options where the call gave none."""
        complete: ConnectOptions = {**self._defaults, **options}
        if not address.secure and "ssl_context" not in options:
            complete.pop("ssl_context", None)  # meant for the wss URLs among them
        return complete

    def _free(self, member: Member) -> None:
        self._members.remove(member)
        self._room.unpark_all()
        self._gone.include(member.driver.traffic)

    def _bind(self) -> None:
        """Let the global listeners listen to the current socket; they stay with one until it has closed."""
        self._heard = [member for member in self._heard if not member.driver.has_closed]
        current = self._current()
        if current is not None and current not in self._heard:
            self._heard.append(current)
            for listener in self._listeners:
                listener.attach(current.driver.listeners)

    def statistics(self) -> SocketStatistics:
        """Give the figures of all its sockets together, closed ones included; times of single sockets are None."""
        total = self._gone.settled()
        for member in self._members:
            total = add(total, member.task.statistics())
        return total

    async def _close_all(self) -> None:
        self._on_closing()
        members = tuple(self._members)
        for member in members:
            member.driver.close(1000, "")
        for member in members:
            await member.driver.wait_closed()

    def _abort_all(self) -> None:
        for member in tuple(self._members):
            member.driver.abort()

    def _end(self) -> None:
        self._room.unpark_all()
        for listener in self._listeners:
            listener.end()

    # The global functions

    async def send_socket_message(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message on the current socket (``sendSocketMessage``); as `SocketTask.send`, also when cancelled.

        Raises:
            TypeError: `data` is neither text nor bytes.
            InvalidOptionsError: `data` is a str with a lone surrogate.
            SocketNotOpenError: There is no socket, or it is still connecting.
            SocketClosedError: This side closed it.
            SocketLostError: The peer closed it, or the connection dropped.
        """
        await self._require_current().task.send(data)

    @trio.lowlevel.enable_ki_protection
    def close_socket(self, code: int = 1000, reason: str = "") -> None:
        """Start closing the current socket (``closeSocket``); from now on the next one is `current`, if there is one.

        The ``on_socket_*`` channels hear the old socket to its end, and the new one from its beginning.

        Before it is open this fails and the socket goes on to open: "the purpose of closing the WebSocket cannot be
        achieved", as the vendors say. `SocketTask.close` can.

        Args:
            code: 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2).
            reason: At most 123 bytes of UTF-8 (RFC 6455 section 5.5).

        Raises:
            InvalidOptionsError: `code` or `reason` breaks its rule.
            SocketNotOpenError: There is no socket, or it is still connecting.
        """
        current = self._require_current()
        if current.task.ready_state is ReadyState.CONNECTING:
            raise SocketNotOpenError(current.task.url)
        current.task.close(code, reason)
        current.let_go = True
        self._bind()

    def _require_current(self) -> Member:
        current = self._current()
        if current is None:
            raise SocketNotOpenError(None)
        return current

    def on_socket_open(self) -> Listener[OpenEvent]:
        """Listen to the opening of the current socket and of every one after it (``onSocketOpen``).

        This channel, and those of errors and closes, keep the latest 1024 events for a reader that does not read.
        """
        return self._listen("on_socket_open", FACTS_KEPT, lambda of: of.open)

    def on_socket_message(self) -> Listener[MessageEvent]:
        """Listen to the messages of the current socket and of every one after it (``onSocketMessage``)."""

        def attach(of: Listeners, mailbox: Mailbox[MessageEvent]) -> None:
            of.attach_messages(mailbox)
            mailbox.on_room = self._read_on

        return self._listen("on_socket_message", _MESSAGE_BUFFER, lambda of: of.message, attach)

    def _read_on(self) -> None:
        """Let those sockets read on that have stopped for a global listener, which may listen to several."""
        for member in tuple(self._members):
            member.driver._on_room()

    def on_socket_error(self) -> Listener[ErrorEvent]:
        """Listen to the failure of the current socket and of every one after it (``onSocketError``)."""
        return self._listen("on_socket_error", FACTS_KEPT, lambda of: of.error)

    def on_socket_close(self) -> Listener[CloseEvent]:
        """Listen to the close of the current socket and of every one after it (``onSocketClose``)."""
        return self._listen("on_socket_close", FACTS_KEPT, lambda of: of.close)

    def _listen(
        self,
        name: str,
        limit: int,
        topic: Callable[[Listeners], Topic[_T]],
        attach: Callable[[Listeners, Mailbox[_T]], None] | None = None,
    ) -> Listener[_T]:
        mailbox: Mailbox[_T] = Mailbox(limit, endless=True, drops=limit == FACTS_KEPT)

        def listen(of: Listeners) -> None:
            if attach is None:
                topic(of).attach(mailbox)
            else:
                attach(of, mailbox)

        listener = _GlobalListener(name, listen, mailbox.end)

        def join() -> None:
            self._listeners.append(listener)
            for member in self._heard:
                of = member.driver.listeners
                if not member.let_go:
                    listener.attach(of)
                elif not topic(of).happened:  # what has been belongs to the past, as its socket does
                    topic(of).attach(mailbox)
            if self._ended:
                mailbox.end()

        def leave() -> None:
            self._listeners.remove(listener)
            for member in self._heard:
                topic(member.driver.listeners).detach(mailbox)

        return Listener(mailbox, join, leave)


@final
class _ManagerBlock:
    """The block of `open_socket_manager`."""

    def __init__(self, manager: SocketManager) -> None:
        self._manager = manager
        self._block = Block()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> SocketManager:
        manager = self._manager
        if manager._ended or manager._nursery is not None:
            raise RuntimeError("a block can be entered once; call open_socket_manager() for each block")
        manager._nursery = await self._block.enter()
        manager._thread = HomeThread()  # it may have been made elsewhere
        return manager

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        manager = self._manager
        manager._ended = True
        try:
            return await self._block.leave(error, manager._close_all, manager._abort_all)
        finally:
            manager._end()


def open_socket_manager(
    policy: CoexistencePolicy = Coexist(),  # noqa: B008 (it is frozen)
    **defaults: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[SocketManager]:
    """Open a nursery for several sockets.

    ``async with open_socket_manager() as manager:`` gives a `SocketManager`.

    Leaving the block closes every socket with 1000 and waits until they are CLOSED, at most their ``close_timeout``.
    When the body raises or is cancelled, the body ends first; then the sockets send Close 1001 where that needs no
    waiting, and are dropped. The body's exception comes out unchanged.

    Args:
        policy: Who may join; the default is the vendors' limit of five.
        defaults: What its sockets are given where their own call says nothing; see `ConnectOptions`. `ssl_context`
            is meant for the wss URLs among them.

    Raises:
        InvalidOptionsError: `policy` is not a policy, or an option breaks its rule.
    """
    check_options(ANY_ADDRESS, defaults)
    return _ManagerBlock(SocketManager(check_policy(policy), defaults))
