"""What is done with what comes in: messages to who listens, answers to control frames, the end of the connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
import trio

from trio_socket_task._options import Options
from trio_socket_task._protocol._connection import ClientConnection
from trio_socket_task._protocol._events import Close, Control, Message, Ping, Pong, Violation

from ._ending import Ending, lost
from ._peer_keepalive import answer_peer
from ._pings import Pings
from ._statistics import Traffic
from ._subscriptions import Subscriptions
from ._writer import Writer


@final
@attrs.define(eq=False, weakref_slot=False)
class Incoming:
    """What gives the messages and control frames in one connection's bytes to those whom they concern."""

    _options: Options
    _protocol: ClientConnection
    _subscriptions: Subscriptions
    _writer: Writer
    _pings: Pings
    _traffic: Traffic
    _ending: Ending
    violation: Violation | None = attrs.field(default=None, init=False)
    """How the peer broke the protocol, until the connection is ended because of it."""
    _discards: bool = False  # whether messages that find no room are dropped: when nothing can be answered any more

    def receive_data(self, data: bytes, *, read_was_full: bool) -> bool:
        """Take the next bytes; return whether it is worth to read again at once."""
        self._traffic.wire_bytes_received += len(data)
        messages, controls = self._protocol.receive_data(data)
        if messages:
            self._deliver(messages)
        if controls:
            self._handle_controls(controls)
        if self._options.receive_timeout is not None and self._protocol.is_inside_message:
            self._traffic.spoken_at = trio.current_time()
        self._writer.eager = True
        return self._protocol.expects_more(read_was_full=read_was_full)

    def is_behind(self) -> bool:
        """Whether bytes that came wait to be inflated, until other tasks have run."""
        return self._protocol.is_behind

    def is_full(self) -> bool:
        """Whether some reader of messages is so far behind that reading must stop; the first time, the log may tell."""
        if not self._protocol.life.is_open or not self._subscriptions.full:
            return False
        self._subscriptions.warn_once()
        return True

    def needs_task(self) -> bool:
        """Whether the connection is about to end, or reading must stop."""
        return self.violation is not None or not self._protocol.life.is_open or self.is_full()

    def is_failing(self) -> bool:
        """Whether the peer broke the protocol, which is to be told when the program has answered what came before."""
        return self.violation is not None

    def write_pending_output(self) -> None:
        """Write what TLS itself has to send."""
        self._writer.write_pending_output()

    def fail(self, violation: Violation) -> None:
        """End the connection because the peer broke the protocol."""
        self.violation = None
        self._ending.fail(lost(violation.why))
        self._writer.put_close(self._protocol.fail(violation))
        self._ending.expect_end()

    def _deliver(self, messages: list[Message]) -> None:
        heartbeat = self._options.heartbeat
        if heartbeat is not None and heartbeat.message is not None:
            messages = self._pings.take_replies(heartbeat, messages)
            if not messages:
                return
        if self._options.receive_timeout is not None:
            self._traffic.spoken_at = trio.current_time()
        if heartbeat is not None and heartbeat.answer is not None:
            messages, answers = answer_peer(heartbeat, messages)
            if answers:
                self._writer.put_pongs(self._protocol.send_answers(answers))
            if not messages:
                return
        size = self._traffic.count_received(messages)
        life = self._protocol.life
        if not life.is_open and not self._discards:
            self._discards = self._subscriptions.full
        self._subscriptions.deliver(messages, size, discards=self._discards)

    def _handle_controls(self, controls: Sequence[Control]) -> None:
        pings = [control.payload for control in controls if isinstance(control, Ping)]
        if pings:
            self._writer.put_pongs(self._protocol.send_pongs(pings))
        has_spoken = bool(pings)
        for control in controls:
            if isinstance(control, Pong):
                has_spoken |= not self._pings.take_pong(control.payload)
            elif isinstance(control, Close):
                self._writer.put_close(self._protocol.answer_close(control))
                self._ending.wake_receivers()
                self._ending.expect_end()
            elif isinstance(control, Violation):
                self._violate(control)
        if has_spoken:
            self._traffic.spoken_at = trio.current_time()

    def _violate(self, violation: Violation) -> None:
        """End the connection, unless the program can still answer what came before: then `is_failing`."""
        if self._protocol.life.violate():
            self.violation = violation
            self._ending.wake()
        else:
            self.fail(violation)
