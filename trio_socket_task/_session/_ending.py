"""How a connection comes to its end: failures are noted and told, and what is left is limited in time."""

from __future__ import annotations

from typing import final

import trio

from trio_socket_task._errors import SocketLostError, SocketTaskError
from trio_socket_task._events import CloseCode, CloseEvent, ErrorEvent
from trio_socket_task._protocol._state import Life, Phase
from trio_socket_task._stream._causes import describe, root_cause
from trio_socket_task._text import quoted

from ._deadline import Deadline
from ._reader import Reader
from ._subscriptions import Subscriptions
from ._wakeup import Wakeup

_ANSWER_GRACE = 0.1
"""Seconds that a program may take, after a protocol violation, to answer the messages that came before it."""


@final
class Ending:
    """What any part of a session does when the connection is, or will be, over."""

    __slots__ = ("_close_timeout", "_life", "_subscriptions", "_wakeup", "deadline", "timed_out")

    def __init__(self, life: Life, subscriptions: Subscriptions, wakeup: Wakeup, close_timeout: float) -> None:
        self._life = life
        self._subscriptions = subscriptions
        self._wakeup = wakeup
        self._close_timeout = close_timeout
        self.deadline: Deadline = Deadline()
        """How long what is under way may take."""
        self.timed_out: bool = False
        """Whether the connection was given up because the peer was silent."""

    def fail(self, error: SocketTaskError) -> None:
        """Note a failure and tell the listeners, unless it means nothing any more."""
        if self._life.fail(error):
            self._subscriptions.error.publish(ErrorEvent(str(error), error))
            self.wake_receivers()

    async def wait_for_answers(self, reader: Reader) -> None:
        """Wait until the program, after a violation, has taken what came before it and waits for more.

        Where the connection is over already, nobody can be answered.
        """
        inbox = self._subscriptions.inbox
        with trio.move_on_after(_ANSWER_GRACE):
            while not reader.over and self._life.phase is Phase.FAILING and (inbox.items or not inbox.readers):
                await self._wakeup.wait()

    def wake_receivers(self) -> None:
        """Wake those who wait for a message, because none will come."""
        self._subscriptions.inbox.readers.unpark_all()

    def require_more(self) -> None:
        """Raise what a reader of messages gets where none can come any more."""
        if self._life.is_decided:
            raise trio.EndOfChannel if self._life.ended_cleanly() else self._life.ended_error()

    def fail_to_read(self, error: Exception) -> None:
        """Note that nothing can be read any more."""
        self.fail(lost(describe(root_cause(error)), error))

    def fail_to_write(self, error: Exception) -> None:
        """Note that nothing can be written any more, and give reading `close_timeout` to find out why.

        What the peer said before it went away is often still there.
        """
        self._life.fail_to_write(lost(describe(root_cause(error)), error))
        self.expect_end()

    def expect_end(self) -> None:
        """Allow the peer `close_timeout` to end the connection, and wake the background task to read until then."""
        self.deadline.limit(self._close_timeout)
        self._wakeup.set()

    def wake(self) -> None:
        """Wake the task that reads in the background: it is to look at how things stand."""
        self._wakeup.set()

    def time_out(self, why: str) -> None:
        """End a connection whose peer is silent."""
        self.timed_out = True
        self.fail(lost(why))
        self.deadline.expire()


def lost(why: str, error: Exception | None = None) -> SocketLostError:
    """Return the error of a connection that ended without a close handshake."""
    failure = SocketLostError(CloseEvent(code=CloseCode.ABNORMAL_CLOSURE), why)
    failure.__cause__ = None if error is None else root_cause(error)
    return failure


def describe_end(life: Life) -> str:
    """Return how a connection has ended, for the log."""
    event = life.close_event()
    parts = [f"closed with {event.code} {quoted(event.reason)}".rstrip()]
    if event.peer_code is not None:
        parts.append(f"the peer with {event.peer_code} {quoted(event.peer_reason)}".rstrip())
    if life.error is not None:
        parts.append(str(life.error))
    return "; ".join(parts)
