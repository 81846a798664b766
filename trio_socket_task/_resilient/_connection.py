"""One connection of a resilient socket: opened, given to ``on_connected``, then to the program, to its end."""

from __future__ import annotations

from typing import final

import attrs
import trio

from trio_socket_task._errors import SocketClosedError, SocketLostError, SocketTaskError
from trio_socket_task._events import Attempt, CloseEvent
from trio_socket_task._functions import call_async
from trio_socket_task._log import SafeLogger
from trio_socket_task._members import Member
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._session._session import Session
from trio_socket_task._session._statistics import Traffic
from trio_socket_task._socket_task import SocketTask

from ._backlog import Backlog
from ._delivery import Delivery
from ._reports import ConnectionState
from ._retry import read_retry_after
from ._sender import Sender
from ._settings import OnConnected
from ._states import States

_ENDS = (SocketLostError, SocketClosedError, trio.EndOfChannel)
"""What calls raise that meet the end of their connection."""

_logger = SafeLogger("trio_socket_task")


@final
@attrs.define(eq=False)
class Connection:
    """One connection, from its place in the manager to its end. `run` is its task; the rest may be called by any."""

    _member: Member
    _on_connected: OnConnected | None
    _sender: Sender
    _states: States
    _backlog: Backlog
    _ended: Traffic  # what went through the connections that have ended
    _log_level: int  # at which the log tells of a failure
    task: SocketTask | None = attrs.field(init=False, default=None)
    """What the program uses, from the end of ``on_connected`` to that of the connection."""
    _ended_here: bool = attrs.field(init=False, default=False)  # by this socket, and by nobody else before
    _close_arguments: tuple[int, str] = attrs.field(init=False, default=(1000, ""))
    _delivery: Delivery | None = attrs.field(init=False, default=None)

    @property
    def session(self) -> Session:
        """Its session."""
        return self._member.session

    @property
    def close_event(self) -> CloseEvent | None:
        """How it closes; None before it does."""
        life = self.session.life
        return life.close_event() if life.ready_state >= ReadyState.CLOSING else None

    @property
    def closed_by_others(self) -> bool:
        """Whether somebody else on this side has closed it."""
        return self.session.life.own_close is not None and not self._ended_here

    def prepare(self) -> None:
        """Claim what it will bring, before it is opened."""
        session = self.session
        session.pings.messages_allowed = False
        subscriptions = session.subscriptions
        subscriptions.on_written = self._sender.on_written
        if self._sender.expects_acknowledgements:
            subscriptions.on_messages = self._sender.on_messages
        subscriptions.claim_inbox()
        subscriptions.inbox.limit = self._backlog.room_left

    async def run(self, nursery: trio.Nursery) -> Attempt:
        """Wait until it is open, serve it to its end, with tasks in `nursery`, and return how it went."""
        session, connected_for = self.session, 0.0
        error = await self._open()
        if error is None:
            connected_for = await self._serve(nursery)
        else:
            if session.life.ready_state is not ReadyState.OPEN and isinstance(error, _ENDS):
                error = session.life.error  # none where the server has closed: then the close event tells
            else:
                self.abort()
            await session.wait_closed()
            self._ended.include(session.traffic)
        error = error or session.life.error
        return Attempt(
            url=self._states.label.url,
            connected_for=connected_for,
            error=error,
            close_event=session.life.close_event(),
            retry_after=read_retry_after(error),
        )

    async def _open(self) -> Exception | None:
        """Wait until it is open, and run ``on_connected``; return what went wrong."""
        try:
            await self.session.wait_open()
        except SocketTaskError as error:
            return error
        if self._on_connected is None or self.session.life.own_close is not None:
            return None
        try:
            return await self._run_on_connected(self._on_connected)
        except Exception as error:  # what it raised while it was being cancelled
            _logger.log(self._log_level, "%s: on_connected raised", str(self._states.label), exc_info=True)
            return error

    async def _run_on_connected(self, on_connected: OnConnected) -> Exception | None:
        """Run the program's function, for as long as the connection lasts; return what it raised."""
        failure: Exception | None = None
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(self._cancel_when_closed, nursery.cancel_scope)
            try:
                await call_async("on_connected", on_connected, self._member.task)
            except Exception as error:
                failure = error
                if self.session.life.ready_state is ReadyState.OPEN or not isinstance(error, _ENDS):
                    what = "on_connected raised, so this attempt to connect has failed"
                    _logger.log(self._log_level, "%s: %s", str(self._states.label), what, exc_info=True)
            nursery.cancel_scope.cancel()
        return failure

    @trio.lowlevel.enable_ki_protection
    async def _cancel_when_closed(self, scope: trio.CancelScope) -> None:
        await self.session.wait_closed()
        scope.cancel()

    async def _serve(self, nursery: trio.Nursery) -> float:
        """Serve the program until it has ended; return for how many seconds it was alive."""
        session, inbox = self.session, self.session.subscriptions.inbox
        self._delivery = delivery = self._sender.new_delivery(self._member.task)
        delivery.tasks.open(nursery)
        session.pings.messages_allowed = True
        session.subscriptions.claim_inbox()  # again, should on_connected have listened to messages
        inbox.limit = session.options.receive_buffer
        self._backlog.move_to(inbox)
        self.task = self._member.task
        started = trio.current_time()
        if session.life.ready_state is ReadyState.OPEN:
            self._sender.begin_connection(delivery)
            self._states.enter(ConnectionState.CONNECTED)
        await session.wait_closed()
        await delivery.tasks.aclose()
        ended = session.reader.received_at if session.timed_out else trio.current_time()
        self.task = None
        self._ended.include(session.traffic)  # in the same instant, so that no figure goes down
        self._backlog.take_from(inbox)
        self._sender.end_connection()
        return max(0.0, ended - started)

    @trio.lowlevel.enable_ki_protection
    async def _close_when_empty(self) -> None:
        with trio.move_on_after(self.session.options.close_timeout):
            await self._sender.wait_empty()
        self._close_now()

    def close(self, code: int, reason: str) -> None:
        """Close it, once it was given what waits; at once where the program does not use it yet."""
        self._close_arguments = code, reason
        if self.task is None or self._delivery is None:
            self._close_now()
        else:
            self._delivery.tasks.ensure(self._close_when_empty)

    def _close_now(self) -> None:
        if self.session.life.own_close is None:
            self._ended_here = True
            self.session.close(*self._close_arguments)

    def abort(self) -> None:
        """End it at once."""
        self._ended_here |= self.session.life.own_close is None
        self.session.abort()
