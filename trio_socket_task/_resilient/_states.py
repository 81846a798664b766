"""What a resilient socket is doing, for those who look at it and those who wait for it to change."""

from __future__ import annotations

import logging
from typing import final

import trio

from trio_socket_task._listeners import FACTS_KEPT, Listener, Mailbox, Topic

from ._reports import ConnectionState, StateEvent

_logger = logging.getLogger("trio_socket_task")


@final
class States:
    """The present state, and the channel of those to come."""

    def __init__(self) -> None:
        self.current: StateEvent = StateEvent(state=ConnectionState.CONNECTING, generation=0)
        self.changed: trio.Event = trio.Event()
        """Set at the next change."""
        self._topic: Topic[StateEvent] = Topic(once=False)

    @property
    def stopped(self) -> bool:
        """Whether this is the last state."""
        return self.current.state is ConnectionState.STOPPED

    def enter(self, state: ConnectionState, *, failures: int = 0, delay: float | None = None, why: str = "") -> None:
        """Come to another state, and tell."""
        generation = self.current.generation + (state is ConnectionState.CONNECTED)
        event = StateEvent(state=state, generation=generation, failures=failures, delay=delay, why=why)
        if event == self.current:
            return
        self.current = event
        _logger.info("%s", event)
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
