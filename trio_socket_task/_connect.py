"""connect_socket: one socket for the length of a block."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from textwrap import fill
from typing import Unpack, final

import trio

from ._errors import InvalidOptionsError
from ._manager import SocketManager, members_of
from ._members import Member, Members
from ._options import ConnectOptions, list_defaults
from ._policy import Coexist
from ._service_nursery import ServiceBlock
from ._socket_task import SocketTask

_default_manager: trio.lowlevel.RunVar[SocketManager] = trio.lowlevel.RunVar("trio_socket_task.default_manager")


def current_default_manager() -> SocketManager:
    """Return the run's own manager, which only counts: five sockets, as the vendors have it."""
    try:
        return _default_manager.get()
    except LookupError:
        manager = SocketManager(Members(Coexist(), {}))
        _default_manager.set(manager)
        return manager


def manager_or_default(manager: SocketManager | None) -> SocketManager:
    """Return the manager that was named, or the run's own.

    Raises:
        InvalidOptionsError: It is none.
        RuntimeError: It belongs to the Trio run of another thread.
    """
    if manager is None:
        return current_default_manager()
    if not isinstance(manager, SocketManager):
        rule = "must be what the block of open_socket_manager() gives, or None for the run's own"
        raise InvalidOptionsError("manager", manager, rule)
    members_of(manager).thread.check()
    return manager


@final
class SocketBlock(ServiceBlock[SocketTask]):
    """The block of `connect_socket`."""

    maker = "connect_socket"

    def __init__(self, url: str, manager: SocketManager | None, options: ConnectOptions) -> None:
        self._url = url
        self._manager = manager
        self._options = options
        self.member: Member | None = None
        """The socket, once the block is entered."""

    def prepare(self) -> None:
        """Join the manager."""
        self._members = members_of(manager_or_default(self._manager))
        self.member = self._members.admit(self._url, self._options)
        self._session = self.member.session

    async def start(self, nursery: trio.Nursery) -> SocketTask:
        """Open the socket."""
        assert self.member is not None  # noqa: S101 (it has joined)
        self._members.start(self.member, nursery)
        await self._session.wait_open()
        return self.member.task

    async def finish(self) -> None:
        """Close the socket."""
        await self._session.aclose(1000, "")

    def abort(self) -> None:
        """Drop the socket."""
        self._session.abort()


def connect_socket(
    url: str, *, manager: SocketManager | None = None, **options: Unpack[ConnectOptions]
) -> AbstractAsyncContextManager[SocketTask]:
    """Connect for the length of a block (the vendors' ``connectSocket``).

    ``async with connect_socket(url) as task:`` has an open `SocketTask`.

    Entering waits until the socket is open. Leaving closes it with 1000 and waits until it is CLOSED, at most its
    ``close_timeout``. When the body raises or is cancelled, the body ends first; then the socket sends Close 1001 where
    that needs no waiting, and is dropped. The body's exception comes out unchanged. A connection that is lost raises
    nothing by itself: the calls that need it do.

    If entering is cancelled, nothing is left behind.

    Args:
        url: An absolute ``ws://`` or ``wss://`` URL without fragment and userinfo (RFC 6455 section 3).
        manager: Whose limit counts; by default the run's own, which admits five sockets at a time.
        options: See `ConnectOptions`. The defaults:
            DEFAULTS

    Raises:
        InvalidOptionsError: An argument breaks its rule; nothing was dialled.
        SocketLimitError: The policy admits no more; nothing was dialled.
        ConnectError: The server cannot be reached, or does not accept; `ConnectTimeoutError` and `HandshakeError` are
            its kinds.
    """
    return SocketBlock(url, manager, options)


if connect_socket.__doc__:  # which there is not where Python was told to leave docstrings out
    _defaults = fill(", ".join(list_defaults()), 100, subsequent_indent=" " * 12)
    connect_socket.__doc__ = connect_socket.__doc__.replace("DEFAULTS", f"{_defaults}.")
