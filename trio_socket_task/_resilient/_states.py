"""What a resilient socket is doing, for those who look at it and those who wait for it to change."""

from __future__ import annotations

import logging
from itertools import count
from typing import final

import trio

from trio_socket_task._session._listener import Listener
from trio_socket_task._session._mailbox import FACTS_KEPT, Mailbox
from trio_socket_task._session._topic import Topic
from trio_socket_task._text import mask_url

from ._reports import ConnectionState, StateEvent

_logger = logging.getLogger("trio_socket_task")
_numbers = count(1)
_WARNED = 10
"""Of failures in a row the log warns of the first and of every so many; the others are told at INFO."""


@final
class States:
    """The present state, the channel of those to come, and the lines of the log that tell of them."""

    def __init__(self, url: str) -> None:
        self.url: str = url
        """Where the latest attempt goes."""
        self.number: int = next(_numbers)
        """Which resilient socket of this process it is."""
        self.current: StateEvent = StateEvent(state=ConnectionState.CONNECTING, generation=0)
        self.changed: trio.Event = trio.Event()
        """Set at the next change."""
        self._topic: Topic[StateEvent] = Topic(once=False)

    @property
    def stopped(self) -> bool:
        """Whether this is the last state."""
        return self.current.state is ConnectionState.STOPPED

    def label(self) -> str:
        """Name the socket, for the log."""
        return f"resilient socket {self.number} ({mask_url(self.url)})"

    def enter(
        self,
        state: ConnectionState,
        *,
        failures: int = 0,
        delay: float | None = None,
        why: str = "",
        level: int = logging.INFO,
    ) -> None:
        """Come to another state, and tell."""
        generation = self.current.generation + (state is ConnectionState.CONNECTED)
        event = StateEvent(state=state, generation=generation, failures=failures, delay=delay, why=why)
        if event == self.current:
            return
        self.current = event
        _logger.log(level, "%s: %s", self.label(), _words(event))
        self.changed.set()
        self.changed = trio.Event()
        self._topic.publish(event)
        if self.stopped:
            self._topic.end()

    def listen(self) -> Listener[StateEvent]:
        """Make a listener, which hears of the present state first."""
        mailbox: Mailbox[StateEvent] = Mailbox(FACTS_KEPT, drops=True)

        def attach() -> None:
            mailbox.put(self.current, 0)
            self._topic.attach(mailbox)
            if self.stopped:
                mailbox.end()

        return Listener(mailbox, attach, lambda: self._topic.detach(mailbox))


def level_of(failures: int) -> int:
    """Return the level at which the log tells of the latest of so many failures in a row."""
    return logging.WARNING if failures == 1 or failures % _WARNED == 0 else logging.INFO


def _words(event: StateEvent) -> str:
    words = event.state.value
    if event.state is ConnectionState.CONNECTED:
        words += f", connection {event.generation}"
    if event.delay is not None:
        words += f" {event.delay:.3g} seconds, failures in a row: {event.failures}"
    if event.why:
        words += f": {event.why}"
    if event.delay is not None and level_of(event.failures) == logging.WARNING:
        words += (
            f" (of failures in a row the log warns of the first and every {_WARNED}th, and tells the others at INFO)"
        )
    return words
