"""Whether the peer is alive: pings at intervals, messages in time, and what it means when they do not come."""

from __future__ import annotations

from functools import partial
from typing import final

import attrs
import trio

from trio_socket_task._options import Heartbeat, Options

from ._clock import SLACK
from ._ending import Ending
from ._pings import PendingPing, Pings
from ._reader import Reader
from ._statistics import Traffic
from ._watch import Watch
from ._writer import Writer

_EARLY = 2 * SLACK
"""Part of the interval by which a ping may go out early, because the clock's calls may come so."""


@final
@attrs.define(eq=False, weakref_slot=False)
class Keepalive:
    """What finds out that one socket's peer is gone."""

    _writer: Writer
    _reader: Reader
    _pings: Pings
    _traffic: Traffic
    _ending: Ending
    _watches: tuple[Watch, ...] = attrs.field(init=False, default=())

    def start(self, options: Options, nursery: trio.Nursery) -> None:
        """Start what the options ask for."""
        self._traffic.spoken_at = trio.current_time()
        heartbeat, seconds = options.heartbeat, options.receive_timeout
        self._reader.is_timed = heartbeat is not None or seconds is not None
        if heartbeat is not None:
            beats = Heartbeats(heartbeat, self._writer, self._reader, self._pings)
            over = partial(self._ending.time_out, beats.missed)
            self._watch(Watch(self._reader, nursery, beats.send, over), heartbeat.interval)
        if seconds is not None:
            over = partial(self._ending.time_out, f"no message within {seconds:g} seconds")
            self._watch(Watch(self._reader, nursery, partial(self._expect_message, seconds), over), seconds)

    def _watch(self, watch: Watch, seconds: float) -> None:
        self._watches = (*self._watches, watch)
        watch.start(seconds)

    def end(self) -> None:
        """Watch no more: the connection is over."""
        for watch in self._watches:
            watch.end()
        self._watches = ()

    def ping(self, *, in_order: bool) -> PendingPing:
        """Send a ping: at once, or after the messages that wait, so that its pong tells that they were read."""
        ping = self._pings.start(in_order=in_order)
        (self._writer.put_ping_in_order if in_order else self._writer.put_ping)(ping.frame)
        self._reader.read_in_background()
        return ping

    def _expect_message(self, seconds: float) -> float | None:
        """Return for how long the peer may still say nothing, not counting pauses of reading.

        An answer to this side's own pings says that the peer lives, not that it speaks. A part of a message does.
        """
        if self._writer.finished:
            return None
        now = trio.current_time()
        since = max(self._traffic.spoken_at, self._reader.incomplete_at, self._reader.paused_until)
        return min(since, now) + seconds - now


@final
class Heartbeats:
    """The heartbeats of one socket, sent one after another."""

    __slots__ = ("_due", "_heartbeat", "_ping", "_pings", "_reader", "_taken", "_writer")

    def __init__(self, heartbeat: Heartbeat, writer: Writer, reader: Reader, pings: Pings) -> None:
        self._heartbeat = heartbeat
        self._writer = writer
        self._reader = reader
        self._pings = pings
        self._due = trio.current_time() + heartbeat.interval  # when the next one goes out
        self._ping: PendingPing | None = None  # the latest
        self._taken: float | None = None  # when that was written

    def send(self) -> float | None:
        """Send a heartbeat when one is due, and return how long until the next one, or until its answer is missed.

        The time runs while the ping is with the peer and its pong could be seen: not while it waits behind an upload
        that makes progress, and not while reading is paused. Whatever comes in starts it anew: a pong cannot stand
        inside the frame of a large message that is coming in.
        """
        if self._writer.finished:
            return None  # a close has a deadline of its own
        now, interval = trio.current_time(), self._heartbeat.interval
        if self._ping is None or self._ping.settled.is_set():
            if now < self._due - _EARLY * interval:
                return self._due - now
            self._ping, self._taken = self._pings.start_heartbeat(self._heartbeat), None
            self._due = now + interval
            self._writer.put_ping(self._ping.frame)
            self._reader.read_in_background()
        if self._taken is None and not self._writer.holds_ping(self._ping.frame):
            self._taken = self._writer.pings_begun_at
        left = self._writer.progress_at if self._taken is None else self._taken
        since = min(now, max(self._ping.sent, left, self._reader.paused_until, self._reader.received_at))
        return min(since + self._heartbeat.timeout - now, self._due - now if now < self._due else interval)

    @property
    def missed(self) -> str:
        """What it means when time is over."""
        answer = "pong" if self._heartbeat.message is None else "reply to the heartbeat's message"
        return f"no {answer} within {self._heartbeat.timeout:g} seconds"
