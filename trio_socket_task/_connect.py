"""connect_socket: one socket for the length of a block."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Unpack, final

import trio

from ._manager import SocketManager
from ._options import ConnectOptions
from ._policy import Coexist
from ._service_nursery import Block
from ._session._session import Driver
from ._socket_task import SocketTask

_default_manager: trio.lowlevel.RunVar[SocketManager] = trio.lowlevel.RunVar("trio_socket_task.default_manager")


def current_default_manager() -> SocketManager:
    """Give the run's own manager, which only counts: five sockets, as the vendors have it."""
    try:
        return _default_manager.get()
    except LookupError:
        manager = SocketManager(Coexist())
        _default_manager.set(manager)
        return manager


@final
class _SocketBlock:
    """The block of `connect_socket`."""

    def __init__(self, url: str, manager: SocketManager | None, options: ConnectOptions) -> None:
        self._url = url
        self._manager = manager
        self._options = options
        self._block = Block()
        self._driver: Driver | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> SocketTask:
        if self._driver is not None:
            raise RuntimeError("a block can be entered once; call connect_socket() for each block")
        member = (self._manager or current_default_manager())._admit(self._url, self._options)
        self._driver = member.driver
        member.nursery = await self._block.enter()
        member.nursery.start_soon(member.driver.run)
        try:
            await member.driver.wait_open()
        except BaseException as error:
            await self._leave(error)
            raise
        return member.task

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        return await self._leave(error)

    async def _leave(self, error: BaseException | None) -> bool:
        driver = self._driver
        assert driver is not None  # noqa: S101 (set on entry)
        return await self._block.leave(error, lambda: driver.aclose(1000, ""), driver.abort)


def connect_socket(
    url: str, *, manager: SocketManager | None = None, **options: Unpack[ConnectOptions]
) -> AbstractAsyncContextManager[SocketTask]:
    """Connect for the length of a block (the vendors' ``connectSocket``).

    ``async with connect_socket(url) as task:`` gives an open `SocketTask`.

    Entering waits until the socket is open. Leaving closes it with 1000 and waits until it is CLOSED, at most its
    ``close_timeout``. When the body raises or is cancelled, the body ends first; then the socket sends Close 1001 where
    that needs no waiting, and is dropped. The body's exception comes out unchanged. A connection that is lost raises
    nothing by itself: the calls that need it do.

    If entering is cancelled, nothing is left behind.

    Args:
        url: An absolute ``ws://`` or ``wss://`` URL without fragment and userinfo (RFC 6455 section 3).
        manager: Whose limit counts; by default the run's own, which admits five sockets at a time.
        options: See `ConnectOptions`.

    Raises:
        InvalidOptionsError: An argument breaks its rule; nothing was dialled.
        SocketLimitError: The policy admits no more; nothing was dialled.
        ConnectError: The server cannot be reached, or does not accept; `ConnectTimeoutError` and `HandshakeError` are
            its kinds.
    """
    return _SocketBlock(url, manager, options)
