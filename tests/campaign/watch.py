"""What a resilient socket did, and when: its states, its connections, what it received, and how long it took to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs
import trio

from trio_socket_task import ConnectionState, Listener, ResilientSocket, SocketTask, StateEvent

from .findings import Findings
from .server import acknowledged_name, is_whole, name_of

_NEXT = {
    ConnectionState.CONNECTING: {ConnectionState.CONNECTED, ConnectionState.WAITING, ConnectionState.STOPPED},
    ConnectionState.CONNECTED: {ConnectionState.CONNECTING, ConnectionState.WAITING, ConnectionState.STOPPED},
    ConnectionState.WAITING: {ConnectionState.CONNECTING, ConnectionState.STOPPED},
    ConnectionState.STOPPED: set(),
}
_ABRUPT = 0.3  # seconds that a connection may take to end without waiting for the server


@final
@attrs.define(eq=False)
class Watch:
    """What was seen of one resilient socket."""

    findings: Findings
    bound: float
    """Seconds that an orderly end may take."""
    closes: trio.Event
    """Set when the program asks to close."""
    nursery: trio.Nursery
    socket: ResilientSocket | None = None
    asked_at: float | None = None
    """When the program first asked to close, or left the block."""
    ended_at: float | None = None
    """When the body of the block ended."""
    dropped_at: float | None = None
    """When the block was cancelled, or its body raised."""
    stopped_at: float | None = None
    stopped: trio.Event = attrs.field(factory=trio.Event)
    over: tuple[float, str] | None = None
    """When a call first said that the socket is over, where the program had not asked for that."""
    acknowledged: set[str] = attrs.field(factory=set)
    """Messages of which the program received an acknowledgement."""
    states: list[tuple[float, StateEvent]] = attrs.field(factory=list)
    _reconnects: list[float] = attrs.field(factory=list)
    _tasks: list[SocketTask] = attrs.field(factory=list)
    _received: dict[int, int] = attrs.field(factory=dict)  # by connection, how many messages
    _latest: int = 0

    def note_close_request(self) -> None:
        """Note that the program has asked to close."""
        if self.asked_at is None:
            self.findings.note("asked to close")
            self.asked_at = trio.current_time()
            self.closes.set()

    def note_end(self, *, by_force: bool) -> None:
        """Note that the body of the block has ended: it is left, or cancelled."""
        self.note_close_request()
        self.findings.note(f"the block is {'cancelled' if by_force else 'left'}")
        self.ended_at = trio.current_time()
        self.dropped_at = self.ended_at if by_force else None

    def note_reconnect(self) -> None:
        """Note that the program has asked to connect anew."""
        self._reconnects.append(trio.current_time())

    def note_dial(self) -> None:
        """Note that it dials."""
        self.findings.note("dials")
        self.findings.check(self.asked_at is None, "it dials after it was closed")
        self.findings.check(self.stopped_at is None, "it dials after it has stopped")

    def note_task(self, task: SocketTask) -> None:
        """Note one of its connections, and wait for its close event."""
        if task not in self._tasks:
            self._tasks.append(task)
            self.nursery.start_soon(self._wait_closes, task)

    async def _wait_closes(self, task: SocketTask) -> None:
        closes = [event async for event in task.on_close()]
        self.findings.check(len(closes) == 1, f"{len(closes)} close events of one socket")
        self.findings.check(closes[:1] == [task.close_event], "another close event than on_close() gave")

    def received(self, data: str | bytes, *, by_greeting: bool = False) -> None:
        """Note a message that the program received, in ``on_connected`` or later."""
        name = name_of(data)
        self.findings.note(f"received {name}")
        self.findings.count("messages received")
        self.findings.check(is_whole(data), f"{name} came damaged")
        acknowledged = acknowledged_name(data)
        if acknowledged is not None:
            self.acknowledged.add(acknowledged)
            return
        connection, number = map(int, name[1:].split("."))
        expected = self._received.get(connection, 0)
        self.findings.check(number == expected, f"received {name}, and {expected} was to come")
        self._received[connection] = number + 1
        if not by_greeting:
            self.findings.check(connection >= self._latest, f"received {name} after some of connection {self._latest}")
            self._latest = connection

    def note_over(self, error: Exception) -> None:
        """Note that a call says that the socket is over: then it has stopped, or does so now."""
        if self.asked_at is None and self.over is None:
            self.over = trio.current_time(), repr(error)

    async def watch_states(self, states: Listener[StateEvent], poke: Callable[..., None]) -> None:
        """Follow the states to the last, and check each step; `poke` calls back in the instant of a step."""
        assert self.socket is not None
        async for event in states:
            now = trio.current_time()
            self.findings.note(f"{event}")
            if self.socket.task is not None:
                self.note_task(self.socket.task)
            if self.states:
                self._check_step(*self.states[-1], event, now)
            else:
                self.findings.check(event.state is ConnectionState.CONNECTING, f"the first state is {event}")
            self.states.append((now, event))
            if event.state is ConnectionState.STOPPED:
                self.stopped_at = now
                self.stopped.set()
                self._check_bound(now)
            poke("on_state", may_raise=False)
        self.findings.check(self.stopped_at is not None, "the states ended without STOPPED")

    def _check_step(self, since: float, before: StateEvent, after: StateEvent, now: float) -> None:
        check = self.findings.check
        # What it waits for may change: the next attempt, and then that the program receives.
        still_waits = before.state is after.state is ConnectionState.WAITING and after.delay is None
        check(still_waits or after.state in _NEXT[before.state], f"{before.state.name}, then {after.state.name}")
        rises = after.state is ConnectionState.CONNECTED
        check(after.generation == before.generation + rises, f"generation {before.generation}, then {after.generation}")
        was_hurried = any(since <= moment <= now for moment in self._reconnects)
        if before.state is ConnectionState.WAITING and before.delay is not None:
            on_time = abs(now - since - before.delay) < 1e-6
            check(
                on_time or was_hurried or after.state is ConnectionState.STOPPED,
                f"waited for {now - since} instead of {before.delay}",
            )
        if before.state is ConnectionState.CONNECTED and after.state is ConnectionState.CONNECTING:
            check(was_hurried, "connects anew without a delay, and nobody asked for that")

    def _check_bound(self, now: float) -> None:
        if self.asked_at is not None:
            took = now - self.asked_at
            self.findings.check(took <= self.bound, f"it stopped {took:g} s after it was closed")
        if self.dropped_at is not None:
            took = now - self.dropped_at
            self.findings.check(took <= _ABRUPT, f"it stopped {took:g} s after its block was cancelled")

    def check_left(self) -> None:
        """Check what must hold when the block has been left."""
        assert self.socket is not None
        if self.over is not None:
            moment, error = self.over
            is_so = self.stopped_at is not None and self.stopped_at <= moment
            self.findings.check(is_so, f"{error}, and it goes on")
        self.findings.check(self.socket.state.state is ConnectionState.STOPPED, "the block was left before it stopped")
        self.findings.check(self.socket.task is None, "there is a connection after the end")
        assert self.ended_at is not None
        took, bound = trio.current_time() - self.ended_at, self.bound if self.dropped_at is None else _ABRUPT
        self.findings.check(took <= bound, f"leaving the block took {took:g} s")
        self.findings.count("sockets of the program", len(self._tasks))
