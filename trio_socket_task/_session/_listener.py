"""The events of one kind, as a channel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, final

import trio

from trio_socket_task._events import ListenerStatistics
from trio_socket_task._thread import HomeThread

from ._mailbox import TURN, TURN_SHIFT, Mailbox

_T = TypeVar("_T")


def itself(item: _T) -> _T:
    """Return an event that was kept as one."""
    return item


@final
class Listener(trio.abc.ReceiveChannel[_T]):
    """The events of one kind, as a channel: ``async for event in task.on_message():``.

    It is an async context manager, may be read by several tasks (each event goes to one of them), and detaches when
    it is closed or garbage-collected. A message listener that is not read fills up to the socket's ``receive_buffer``;
    then the socket stops reading until the listener is read or closed.
    """

    _closed = True  # until it is made

    def __init__(
        self,
        mailbox: Mailbox[Any],
        attach: Callable[[], None],
        detach: Callable[[], None],
        event_of: Callable[[Any], _T] = itself,
    ) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._mailbox = mailbox
        self._thread = HomeThread()
        self._detach = detach
        self._event_of = event_of  # makes an event of what the mailbox keeps
        self._credit = TURN
        attach()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ended" if self._mailbox.ended else "open"
        return f"<Listener {state}, {len(self._mailbox.items)} waiting>"

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> _T:
        """Return the next event.

        If it is cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: There will be no more; everything that came was received.
            trio.ClosedResourceError: This listener was closed.
        """
        mailbox = self._mailbox
        if self._credit > 0 and mailbox.items:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._wait_for_event()
        item, size = mailbox.pop()
        self._credit -= 1 + (size >> TURN_SHIFT)
        return self._event_of(item)

    async def _wait_for_event(self) -> None:
        """Wait until there is an event; let other tasks run first where that is due."""
        mailbox = self._mailbox
        if self._credit > 0 and mailbox.look_for_more is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._credit = TURN
            await trio.lowlevel.checkpoint()
        if mailbox.look_for_more is not None and not mailbox.items:
            mailbox.look_for_more()
        while not self._closed and not mailbox.items:
            if mailbox.ended:
                raise trio.EndOfChannel
            self._credit = TURN
            await mailbox.readers.park()
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed; ask the socket for a new one")

    def statistics(self) -> ListenerStatistics:
        """Return a snapshot of what is waiting to be received."""
        mailbox = self._mailbox
        return ListenerStatistics(
            events_waiting=len(mailbox.items),
            current_buffer_used=mailbox.size,
            max_buffer_size=mailbox.limit,
            tasks_waiting_receive=len(mailbox.readers),
        )

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Stop listening: events not yet received are dropped, and a task that waits for one gets an error.

        Raises:
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._thread.check()
        if not self._closed:
            self._closed = True
            self._release()

    def _release(self) -> None:
        self._detach()
        self._mailbox.clear()
        self._mailbox.end()

    async def aclose(self) -> None:
        """Stop listening, as `close` does; a checkpoint. If it is cancelled, the listener is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        # A collector may run in any thread, and in the middle of anything: the detaching is left to the Trio loop.
        if not self._closed:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._release)
