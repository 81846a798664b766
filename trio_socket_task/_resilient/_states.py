"""What a resilient socket is doing, for those who look at it and those who wait for it to change."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import final

import trio

from trio_socket_task._log import SafeLogger
from trio_socket_task._session._listener import Listener
from trio_socket_task._session._mailbox import EVENTS_KEPT, Mailbox
from trio_socket_task._session._topic import Topic

from ._label import SocketLabel
from ._reports import ConnectionState, StateEvent

_logger = SafeLogger("trio_socket_task")
_WARNED = 10
"""Of failures in a row the log warns of the first and of every so many; the others are told at INFO."""


@final
class States:
    """The present state, the channel of those to come, and the lines of the log that tell of them."""

    __slots__ = ("_topic", "changed", "current", "label", "stopped")

    def __init__(self, label: SocketLabel) -> None:
        self.label: SocketLabel = label
        """Which socket it is, and where its latest attempt goes."""
        self.current: StateEvent = StateEvent(state=ConnectionState.CONNECTING, generation=0)
        self.changed: trio.Event = trio.Event()
        """Set at the next change."""
        self.stopped: bool = False
        """Whether this is the last state."""
        self._topic: Topic[StateEvent] = Topic(once=False)

    def enter(
        self,
        state: ConnectionState,
        *,
        failures: int = 0,
        delay: float | None = None,
        why: str = "",
        level: int = logging.INFO,
    ) -> None:
        """Enter another state: publish it, and write it to the log."""
        generation = self.current.generation + (state is ConnectionState.CONNECTED)
        event = StateEvent(state=state, generation=generation, failures=failures, delay=delay, why=why)
        if event == self.current:
            return
        self.current = event
        self.stopped = state is ConnectionState.STOPPED
        _logger.log(level, "%s: %s", str(self.label), _describe(event))
        self.changed.set()
        self.changed = trio.Event()
        self._topic.publish(event)
        if self.stopped:
            self._topic.end()

    def listen(self) -> Listener[StateEvent]:
        """Return a new listener, which hears of the present state first."""
        mailbox: Mailbox[StateEvent] = Mailbox(EVENTS_KEPT, drops=True)

        def attach() -> None:
            mailbox.put(self.current, 0)
            self._topic.attach(mailbox)
            if self.stopped:
                mailbox.end()

        return Listener(mailbox, attach, lambda: self._topic.detach(mailbox))

    def mailboxes(self) -> Iterator[Mailbox[StateEvent]]:
        """Yield the mailboxes of those who listen."""
        return iter(self._topic.mailboxes)


def level_of(failures: int) -> int:
    """Return the level at which the log tells of the latest of so many failures in a row."""
    return logging.WARNING if failures == 1 or failures % _WARNED == 0 else logging.INFO


def _describe(event: StateEvent) -> str:
    text = event.state.value
    if event.state is ConnectionState.CONNECTED:
        text += f", connection {event.generation}"
    if event.delay is not None:
        text += f" {event.delay:.3g} seconds, failures in a row: {event.failures}"
    if event.why:
        text += f": {event.why}"
    if event.delay is not None and level_of(event.failures) == logging.WARNING:
        text += (
            f" (of failures in a row the log warns of the first and every {_WARNED}th, and tells the others at INFO)"
        )
    return text
