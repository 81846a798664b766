"""What keeps one resilient socket connected, and decides when there is another attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import final

import trio

from trio_socket_task._checks import check_close
from trio_socket_task._errors import GaveUpError, SocketClosedError
from trio_socket_task._events import Attempt, CloseCode, CloseEvent
from trio_socket_task._manager import SocketManager, members_of
from trio_socket_task._session._wakeup import SmallEvent, wait_for_end
from trio_socket_task._tasks import waiting_tasks
from trio_socket_task._text import quoted, text_of

from ._attempts import Attempts
from ._reports import ConnectionState
from ._retry import describe
from ._sender import Sender
from ._settings import Settings
from ._states import States, level_of

_HISTORY = 100  # attempts remembered


@final
class Supervisor:
    """What keeps one resilient socket connected. `run` is its task; the rest may be called by any."""

    __slots__ = (
        *("_delay_scope", "_ended", "_history", "_manager", "_nursery", "_requested", "_sender", "_settings"),
        *("attempts", "error", "states"),
    )

    def __init__(self, settings: Settings, manager: SocketManager, sender: Sender, states: States) -> None:
        self.states: States = states
        self.attempts: Attempts = Attempts(settings, manager, sender, states)
        self.error: GaveUpError | None = None
        """Why it gave up."""
        self._settings = settings
        self._manager = manager
        self._sender = sender
        self._requested: CloseEvent | None = None  # how this side has closed it
        self._history: tuple[Attempt, ...] = ()
        self._delay_scope = trio.CancelScope()
        self._ended = SmallEvent()
        self._nursery: trio.Nursery | None = None  # of all tasks of the socket, and of nothing else

    @trio.lowlevel.enable_ki_protection
    async def run(self, nursery: trio.Nursery) -> None:
        """Connect again and again, with tasks in `nursery`, until this side closes it or there is no sense in it.

        It is shielded, as `Session.run` is, and never raises what the network or the program's own functions did.
        """
        self._nursery = nursery
        try:
            with trio.CancelScope(shield=True):
                self._sender.tasks.open(nursery)
                await self._run_attempts(nursery)
                await self._sender.tasks.aclose()
        finally:
            why = "this side closed it" if self.error is None else self.error.why
            level = logging.INFO if self.ended_normally else logging.WARNING
            self.states.enter(ConnectionState.STOPPED, why=why, level=level)
            self._sender.stop()
            self._ended.set()

    async def _run_attempts(self, nursery: trio.Nursery) -> None:
        failures, useful_at = 0, trio.current_time()
        while self._requested is None:
            attempt = await self.attempts.run(failures, nursery)
            if self._requested is None and self.attempts.closed_by_others is not None:
                self._requested = self.attempts.closed_by_others  # by the manager, or by who was given the SocketTask
            if attempt.connected_for >= self._settings.backoff.useful_after:
                failures, useful_at = 0, trio.current_time()
                self._history = ()
            if self._requested is not None or self.attempts.reconnect_requested:
                continue
            self._history = (*self._history[1 - _HISTORY :], attempt)
            failures += 1
            self._delay_scope = trio.CancelScope()  # made before the program's functions are called: they may end it
            delay, why = self._decide(attempt, failures, trio.current_time() - useful_at)
            if self._requested is not None:
                continue
            if why is not None:
                self.error = GaveUpError(why, self._history)
                self.error.__cause__ = attempt.error
                return
            why, level = describe(attempt), level_of(failures)
            self.states.enter(ConnectionState.WAITING, failures=failures, delay=delay, why=why, level=level)
            with self._delay_scope:
                await trio.sleep(delay)

    def _decide(self, attempt: Attempt, failures: int, seconds: float) -> tuple[float, str | None]:
        """Return the delay before the next attempt, and why there is to be none."""
        if members_of(self._manager).ended:
            return 0.0, "its manager's block has ended"
        try:
            delay = self._settings.backoff.delay(failures - 1, attempt.retry_after)
            return delay, self._settings.retry.refusal(attempt, failures, seconds + delay)
        except Exception as error:  # noqa: BLE001 (of the program's own functions)
            what = f"{type(error).__name__}, {quoted(text_of(error))}"
            return 0.0, f"the backoff or the retry policy raised {what}, about this: {describe(attempt)}"

    def close(self, code: int, reason: str) -> None:
        """Close the connection once it was given what waits, or end the wait for one."""
        check_close(code, reason)
        if self._requested is None and not self._ended.is_set():
            self._requested = CloseEvent(code=code, reason=reason)
            self._delay_scope.cancel()
            self.attempts.close(code, reason)

    def abort(self) -> None:
        """End without waiting for the server, which is told 1001 where that needs no waiting either."""
        if not self._ended.is_set():
            event = self.attempts.abort() or self._requested or CloseEvent(code=CloseCode.GOING_AWAY.value)
            self._requested = CloseEvent(code=int(event.code), reason=event.reason)
            self._delay_scope.cancel()

    def reconnect_now(self) -> None:
        """End the connection, or the wait, so that the next attempt begins at once."""
        self._delay_scope.cancel()
        self.attempts.reconnect_now()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, code: int, reason: str) -> None:
        """Close and wait until it has stopped; when cancelled, by force.

        Called from the program's own target or ``on_connected``, which are waited for themselves, it does not wait.
        """
        self.close(code, reason)
        if self._is_called_by_own_task():
            await trio.lowlevel.checkpoint()
        else:
            await wait_for_end(self._ended, self.abort)

    def _is_called_by_own_task(self) -> bool:
        """Whether this is called by what the tasks of the socket wait for themselves."""
        return any(nursery is self._nursery for _, nursery in waiting_tasks() if nursery is not None)

    @property
    def close_event(self) -> CloseEvent | None:
        """How it was asked to close, else how its latest connection closed."""
        return self._requested or self.attempts.close_event

    @property
    def ended_normally(self) -> bool:
        """Whether reading ends without an error: this side closed, or the server with 1000."""
        if self.error is None:
            return True
        latest = self._history[-1]
        is_normal = latest.close_event is not None and latest.close_event.code == CloseCode.NORMAL_CLOSURE
        return latest.error is None and is_normal

    def require_running(self) -> None:
        """Raise what a call raises that comes too late, once it closes or has stopped."""
        if self.states.stopped:
            if self.error is None:
                raise SocketClosedError(self.close_event or CloseEvent(code=CloseCode.ABNORMAL_CLOSURE))
            raise GaveUpError(self.error.why, self.error.attempts) from self.error.__cause__
        if self._requested is not None:
            raise SocketClosedError(self._requested)

    def channels(self) -> Iterator[tuple[str, object]]:
        """Yield the mailboxes that listen to this socket, with the names of what made them."""
        for state_mailbox in self.states.mailboxes():
            yield "on_state", state_mailbox
        for mailbox in self._sender.undelivered.mailboxes():
            yield "on_undelivered", mailbox
