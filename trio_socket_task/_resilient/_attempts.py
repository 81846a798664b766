"""Attempts to connect, one after another: each from asking where to go to the end of its connection."""

from __future__ import annotations

import logging
from typing import final

import trio

from trio_socket_task._errors import SocketLimitError, SocketTaskError
from trio_socket_task._events import Attempt, CloseEvent, SocketStatistics
from trio_socket_task._log import SafeLogger
from trio_socket_task._manager import SocketManager, members_of
from trio_socket_task._members import Member
from trio_socket_task._options import ConnectOptions
from trio_socket_task._session._statistics import Traffic, add
from trio_socket_task._socket_task import SocketTask

from ._backlog import Backlog
from ._connection import Connection
from ._reports import ConnectionState
from ._sender import Sender
from ._settings import Settings
from ._states import States, level_of

_SETTLING = 2
"""Times that other tasks may run before room that has come is taken: who closes the socket in the same instant is to
come first."""

_logger = SafeLogger("trio_socket_task")


@final
class Attempts:
    """The present attempt of a resilient socket, and what is left of those before."""

    __slots__ = (
        *("_close_arguments", "_connection", "_ended", "_latest", "_manager", "_search", "_sender"),
        *("_settings", "_states", "backlog", "closed_by_others", "count", "reconnect_requested"),
    )

    def __init__(self, settings: Settings, manager: SocketManager, sender: Sender, states: States) -> None:
        self.count: int = 0
        """How many were begun."""
        self.backlog: Backlog = Backlog(settings.receive_buffer)
        """What the program is still to receive of connections that have ended."""
        self.closed_by_others: CloseEvent | None = None
        """How somebody else on this side has closed the latest connection."""
        self.reconnect_requested: bool = False
        """Whether the program wants the next attempt at once."""
        self._settings = settings
        self._manager = manager
        self._sender = sender
        self._states = states
        self._connection: Connection | None = None
        self._latest: CloseEvent | None = None  # how the latest connection that has ended closed
        self._ended = Traffic()  # what went through the connections that have ended
        self._search = trio.CancelScope()  # for a URL, and for room in the manager
        self._close_arguments: tuple[int, str] | None = None

    @property
    def task(self) -> SocketTask | None:
        """The socket that the program uses; None while there is none."""
        return None if self._connection is None else self._connection.task

    @property
    def close_event(self) -> CloseEvent | None:
        """How the present connection closes, once it does; else how the one before it closed."""
        return (None if self._connection is None else self._connection.close_event) or self._latest

    def statistics(self) -> SocketStatistics:
        """Return the figures of all connections together."""
        ended = self._ended.settled()
        return ended if self.task is None else add(ended, self.task.statistics())

    async def run(self, failures: int, nursery: trio.Nursery) -> Attempt:
        """Connect, serve the connection to its end, with its tasks in `nursery`, and return how it went.

        Whatever it waits for, it looks at what is wanted again afterwards: the socket may have been closed in the
        instant in which the wait was over.
        """
        self.count += 1
        self.reconnect_requested = False
        self._search = trio.CancelScope()
        log_level = level_of(failures + 1)
        label, member = self._states.label, None
        try:
            with self._search:
                await self._wait_until_received(failures)
                self._states.enter(ConnectionState.CONNECTING, failures=failures)
                label.url, options = await self._settings.resolve_target(label.url)
                member = await self._join(label.url, options, failures)
        except Exception as error:
            if not isinstance(error, SocketTaskError):  # of which the state tells enough
                _logger.log(log_level, "%s: no attempt to connect could be made", str(label), exc_info=True)
            return Attempt(url=label.url, error=error)
        if member is None:
            return Attempt(url=label.url)  # this side closes, or begins anew
        on_connected = self._settings.on_connected
        connection = Connection(member, on_connected, self._sender, self._states, self.backlog, self._ended, log_level)
        return await self._use(member, connection, nursery)

    async def _use(self, member: Member, connection: Connection, nursery: trio.Nursery) -> Attempt:
        """Start a connection, and serve it to its end."""
        connection.prepare()
        self._connection = connection
        if self._search.cancel_called:  # while it joined, by a mapping of the program's own
            if self._close_arguments is not None:
                connection.close(*self._close_arguments)
            connection.abort()
        members_of(self._manager).start(member, nursery)
        try:
            attempt = await connection.run(nursery)
            self._latest = attempt.close_event
            self.closed_by_others = attempt.close_event if connection.closed_by_others else None
            return attempt
        finally:
            self._connection = None
            connection.abort()

    async def _wait_until_received(self, failures: int) -> None:
        """Wait until the program has received enough, so that connection after connection does not fill the memory."""
        if self.backlog.full:
            size = self.backlog.size
            why = f"not connecting: {size} bytes of the connections before are not received; go on receiving"
            self._states.enter(ConnectionState.WAITING, failures=failures, why=why, level=logging.WARNING)
            while self.backlog.full:
                await self.backlog.room.wait()
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _join(self, url: str, options: ConnectOptions, failures: int) -> Member:
        """Join the manager, as soon as it has room."""
        await trio.lowlevel.checkpoint()
        level = logging.WARNING  # the first time, because it may last for ever
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                member = members_of(self._manager).admit(url, options)
            except SocketLimitError as error:
                self._states.enter(ConnectionState.WAITING, failures=failures, why=str(error), level=level)
                level = logging.INFO
                await members_of(self._manager).wait_for_room()
                for _ in range(_SETTLING):
                    await trio.lowlevel.checkpoint()
                self._states.enter(ConnectionState.CONNECTING, failures=failures)
            else:
                return member

    def close(self, code: int, reason: str) -> None:
        """Close the connection, once it was given what waits; make none if there is none."""
        self._close_arguments = (code, reason)
        self._search.cancel()
        if self._connection is not None:
            self._connection.close(code, reason)

    def abort(self) -> CloseEvent | None:
        """End the connection, or the search for one, at once; return how this side closes it, if it does."""
        if self._connection is None:
            self._search.cancel()
            return None
        self._connection.abort()
        return None if self._connection.session.life.own_close is None else self.close_event

    def reconnect_now(self) -> None:
        """End the connection, or the search for one, at once, so that the next attempt begins."""
        self.reconnect_requested = True
        self.abort()
