"""One attempt to be connected after another, each from asking where to go to the end of its connection."""

from __future__ import annotations

import logging
from collections import deque
from typing import final

import trio

from trio_socket_task._errors import SocketClosedError, SocketLimitError, SocketLostError, SocketTaskError
from trio_socket_task._events import Attempt, CloseEvent
from trio_socket_task._functions import call_async
from trio_socket_task._manager import SocketManager, members_of
from trio_socket_task._members import Member
from trio_socket_task._options import ConnectOptions
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._session._mailbox import MESSAGE_OVERHEAD
from trio_socket_task._session._session import Session
from trio_socket_task._session._statistics import Traffic
from trio_socket_task._socket_task import SocketTask

from ._mail import Mail
from ._reports import ConnectionState
from ._retry import read_retry_after
from ._settings import OnConnected, Plan
from ._states import States, level_of

_ENDS = (SocketLostError, SocketClosedError, trio.EndOfChannel)
"""What calls raise that meet the end of their connection."""

_INSTANT = 2
"""Turns of the loop before room that has come is taken: who closes the socket in the same instant is to come first."""

_logger = logging.getLogger("trio_socket_task")


@final
class Connection:
    """The present connection of a resilient socket, if there is one, and the way to the next."""

    def __init__(self, plan: Plan, manager: SocketManager, mail: Mail, states: States) -> None:
        self.task: SocketTask | None = None
        """The socket that the program uses, from the end of ``on_connected`` to its own."""
        self.backlog: deque[tuple[str | bytes, int]] = deque()
        """Messages, with their sizes, of connections that have ended: the program is still to receive them."""
        self.closed_here: CloseEvent | None = None
        """How somebody else on this side has closed the latest connection."""
        self.hurried: bool = False
        """Whether the program wants the next attempt at once."""
        self.gone: Traffic = Traffic()
        """What went through the connections that have ended."""
        self._plan = plan
        self._manager = manager
        self._mail = mail
        self._states = states
        self._session: Session | None = None
        self._latest: CloseEvent | None = None  # how the latest connection that has ended closed
        self._level = logging.WARNING  # at which the log tells of a failure of the present attempt
        self._aborted = False  # whether it is ended from here
        self._search = trio.CancelScope()  # for a URL, and for room in the manager
        self._closing: tuple[int, str] | None = None
        self._close_call = trio.Event()
        self._backlog_size = 0
        self._was_read = trio.lowlevel.ParkingLot()

    @property
    def close_event(self) -> CloseEvent | None:
        """How the present connection closes, once it does; else how the one before it closed."""
        life = None if self._session is None else self._session.life
        return life.close_event() if life is not None and life.ready_state >= ReadyState.CLOSING else self._latest

    async def attempt(self, failures: int) -> Attempt:
        """Connect, serve the connection to its end, and say how it went.

        Whatever it waits for, it looks at what is wanted again afterwards: the socket may have been closed in the
        instant in which the wait was over.
        """
        self._level = level_of(failures + 1)
        self.hurried = self._aborted = False
        self._search = trio.CancelScope()
        member = None
        try:
            with self._search:
                await self._wait_until_read(failures)
                self._states.enter(ConnectionState.CONNECTING, failures=failures)
                url, options = await self._plan.aim(self._states.url)
                self._states.url = url
                member = await self._join(url, options, failures)
        except Exception as error:
            if not isinstance(error, SocketTaskError):  # of which the state tells enough
                _logger.log(self._level, "%s: no attempt to connect could be made", self._states.label(), exc_info=True)
            return Attempt(url=self._states.url, error=error)
        if member is None:
            return Attempt(url=self._states.url)  # this side closes, or begins anew
        member.session.pings.messages_allowed = False
        member.session.attach(self._mail)
        member.session.subscriptions.claim_inbox()
        member.session.subscriptions.inbox.limit = max(1, self._plan.receive_buffer - self._backlog_size)
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            self._session = member.session
            if self._search.cancel_called:  # while it joined, by a mapping of the program's own
                self._close(member.session)
                self._abort(member.session)
            members_of(self._manager).start(member, nursery)
            try:
                return await self._use(member)
            finally:
                self._session = None
                member.session.abort()

    async def _wait_until_read(self, failures: int) -> None:
        """Wait until the program has received enough, so that connection after connection does not fill the memory."""
        if self._backlog_size >= self._plan.receive_buffer:
            size = self._backlog_size
            why = f"not connecting: {size} bytes of the connections before are not received; go on receiving"
            self._states.enter(ConnectionState.WAITING, failures=failures, why=why, level=logging.WARNING)
            await self._was_read.park()
            await trio.lowlevel.checkpoint_if_cancelled()

    def take_old(self) -> str | bytes:
        """Give the oldest message of connections that have ended."""
        data, size = self.backlog.popleft()
        self._backlog_size -= size + MESSAGE_OVERHEAD
        if self._backlog_size <= self._plan.receive_buffer // 2:
            self._was_read.unpark_all()
        return data

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
                for _ in range(_INSTANT):
                    await trio.lowlevel.checkpoint()
                self._states.enter(ConnectionState.CONNECTING, failures=failures)
            else:
                return member

    async def _use(self, member: Member) -> Attempt:
        """Let the program use a connection, and say how it went."""
        session, connected_for = member.session, 0.0
        error = await self._open(member)
        if error is None:
            connected_for = await self._serve(member)
        else:
            if session.life.ready_state is not ReadyState.OPEN and isinstance(error, _ENDS):
                error = session.life.error  # none where the server has closed: then the close event tells
            else:
                self._abort(session)
            self._latest = await session.wait_closed()
            self.gone.include(session.traffic)
        self.closed_here = self._latest if session.life.requested is not None and not self._aborted else None
        error = error or session.life.error
        return Attempt(
            url=self._states.url,
            connected_for=connected_for,
            error=error,
            close_event=self._latest,
            retry_after=read_retry_after(error),
        )

    async def _open(self, member: Member) -> Exception | None:
        """Wait until a connection is open, and let the program have it first; give what went wrong."""
        try:
            await member.session.wait_open()
        except SocketTaskError as error:
            return error
        if self._plan.on_connected is None or member.session.life.requested is not None:
            return None
        try:
            return await self._greet(self._plan.on_connected, member)
        except Exception as error:  # what it raised while it was being cancelled
            _logger.log(self._level, "%s: on_connected raised", self._states.label(), exc_info=True)
            return error

    async def _greet(self, on_connected: OnConnected, member: Member) -> Exception | None:
        """Run the program's function, for as long as the connection lasts; give what it raised."""
        failure: Exception | None = None
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(_cancel_when_closed, member.session, nursery.cancel_scope)
            try:
                await call_async("on_connected", on_connected, member.task)
            except Exception as error:
                failure = error
                if member.session.life.ready_state is ReadyState.OPEN or not isinstance(error, _ENDS):
                    what = "on_connected raised, so this attempt to connect has failed"
                    _logger.log(self._level, "%s: %s", self._states.label(), what, exc_info=True)
            nursery.cancel_scope.cancel()
        return failure

    async def _serve(self, member: Member) -> float:
        """Let the program use a connection until it has ended, and give for how many seconds that was alive."""
        session, inbox = member.session, member.session.subscriptions.inbox
        delivery = self._mail.deliver_to(member.task)
        session.pings.messages_allowed = True
        session.subscriptions.claim_inbox()  # again, should on_connected have listened to messages
        inbox.limit = session.options.receive_buffer
        inbox.put_first(list(self.backlog))
        self.backlog.clear()
        self._backlog_size = 0
        self.task = member.task
        started = trio.current_time()
        if session.life.ready_state is ReadyState.OPEN:
            self._mail.begin_connection(delivery)
            self._states.enter(ConnectionState.CONNECTED)
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(delivery.pump)
            nursery.start_soon(delivery.ask)
            nursery.start_soon(delivery.watch)
            nursery.start_soon(self._close_when_asked, session)
            self._latest = await session.wait_closed()
            nursery.cancel_scope.cancel()
        ended = session.reader.received_at if session.timed_out else trio.current_time()
        self.task = None
        self.gone.include(session.traffic)  # in the same instant, so that no figure goes down
        self._backlog_size = inbox.size
        self.backlog.extend(inbox.clear())
        self._mail.end_connection()
        return max(0.0, ended - started)

    async def _close_when_asked(self, session: Session) -> None:
        await self._close_call.wait()
        with trio.move_on_after(session.options.close_timeout):
            await self._mail.wait_empty()
        self._close(session)

    def _close(self, session: Session) -> None:
        if self._closing is not None and session.life.requested is None:
            self._aborted = True
            session.close(*self._closing)

    # What the keeper needs

    def close(self, code: int, reason: str) -> None:
        """Close the connection, once it was given what waits; make none if there is none."""
        self._closing = (code, reason)
        self._close_call.set()
        self._search.cancel()
        if self._session is not None and self.task is None:
            self._close(self._session)

    def abort(self) -> CloseEvent | None:
        """End the connection, or the search for one, at once; give how this side closes the connection, if it does."""
        if self._session is None:
            self._search.cancel()
            return None
        self._abort(self._session)
        return None if self._session.life.requested is None else self.close_event

    def hurry(self) -> None:
        """End the connection, or the search for one, at once, so that the next attempt begins."""
        self.hurried = True
        self.abort()

    def _abort(self, session: Session) -> None:
        self._aborted |= session.life.requested is None
        session.abort()


async def _cancel_when_closed(session: Session, scope: trio.CancelScope) -> None:
    await session.wait_closed()
    scope.cancel()
