"""SocketManager: a nursery of sockets, and the vendors' global functions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Unpack, final

import trio

from ._errors import SocketNotOpenError
from ._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketStatistics
from ._members import Members
from ._mistakes import NO_WAIT
from ._options import ConnectOptions, check_options
from ._policy import Coexist, CoexistencePolicy, check_policy
from ._protocol._state import ReadyState
from ._service_nursery import ServiceBlock
from ._session._listener import Listener
from ._session._subscriptions import Subscriptions
from ._socket_task import SocketTask
from ._url import check_url

_MESSAGE_BUFFER = 16 * 2**20  # as the default receive_buffer of a socket
ANY_ADDRESS = check_url("wss://any.invalid/")
"""To check options with that go to every address."""


@final
class SocketManager:
    """The sockets of a block: a nursery, and the policy that says how many may coexist.

    Made by `open_socket_manager`. The vendors' seven global functions act on `current`.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    def __repr__(self) -> str:
        return f"<SocketManager {len(self._members)} of {self._members.policy!r}>"

    @property
    def policy(self) -> CoexistencePolicy:
        """Who may join."""
        return self._members.policy

    @property
    def sockets(self) -> Sequence[SocketTask]:
        """The sockets that are not CLOSED, the earliest first."""
        return tuple(member.task for member in self._members)

    @property
    def current(self) -> SocketTask | None:
        """The earliest socket that is not CLOSED, on which the global functions act; None where there is none.

        One that `close_socket` has closed gives way to the next at once, though its peer may be slow to answer.
        """
        member = self._members.current
        return None if member is None else member.task

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
        return self._members.connect(url, options).task

    def statistics(self) -> SocketStatistics:
        """Return the figures of all its sockets together, closed ones included; times of single sockets are None."""
        return self._members.statistics()

    async def send_socket_message(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message on the current socket (``sendSocketMessage``); as `SocketTask.send`, also when cancelled.

        Raises:
            TypeError: `data` is neither text nor bytes.
            InvalidOptionsError: `data` is a str with a lone surrogate.
            SocketNotOpenError: There is no socket, or it is still connecting.
            SocketClosedError: This side closed it.
            SocketLostError: The peer closed it, or the connection dropped.
        """
        await self._members.require_current().task.send(data)

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
        current = self._members.require_current()
        if current.task.ready_state is ReadyState.CONNECTING:
            raise SocketNotOpenError(current.task.url)
        current.task.close(code, reason)
        self._members.let_go(current)
        return NO_WAIT

    def on_socket_open(self) -> Listener[OpenEvent]:
        """Listen to the opening of the current socket and of every one after it (``onSocketOpen``).

        This channel, and those of errors and closes, keep the latest 1024 events for a reader that does not read.
        """
        return self._members.listen("on_socket_open", lambda of: of.open)

    def on_socket_message(self) -> Listener[MessageEvent]:
        """Listen to the messages of the current socket and of every one after it (``onSocketMessage``)."""
        return self._members.listen(
            "on_socket_message", lambda of: of.message, _MESSAGE_BUFFER, Subscriptions.attach_messages, MessageEvent
        )

    def on_socket_error(self) -> Listener[ErrorEvent]:
        """Listen to the failure of the current socket and of every one after it (``onSocketError``)."""
        return self._members.listen("on_socket_error", lambda of: of.error)

    def on_socket_close(self) -> Listener[CloseEvent]:
        """Listen to the close of the current socket and of every one after it (``onSocketClose``)."""
        return self._members.listen("on_socket_close", lambda of: of.close)


@final
class ManagerBlock(ServiceBlock[SocketManager]):
    """The block of `open_socket_manager`."""

    maker = "open_socket_manager"

    def __init__(self, members: Members) -> None:
        self._members = members

    async def start(self, nursery: trio.Nursery) -> SocketManager:
        """Begin to admit sockets."""
        self._members.begin(nursery)
        return SocketManager(self._members)

    async def finish(self) -> None:
        """Close all sockets."""
        await self._members.aclose()

    def abort(self) -> None:
        """Drop all sockets."""
        self._members.abort()


def open_socket_manager(
    policy: CoexistencePolicy = Coexist(),  # noqa: B008 (it is frozen)
    **defaults: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[SocketManager]:
    """Open a nursery for several sockets.

    ``async with open_socket_manager() as manager:`` has a `SocketManager`.

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
    return ManagerBlock(Members(check_policy(policy), defaults))


def members_of(manager: SocketManager) -> Members:
    """Return what a manager manages, for the layers above that need more than its public functions."""
    return manager._members  # noqa: SLF001 (the one door)
