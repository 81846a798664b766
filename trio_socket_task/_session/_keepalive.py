"""Whether the peer is alive: pings at intervals, messages in time, and what it means when they do not come."""

from __future__ import annotations

from typing import final

import attrs
import trio

from trio_socket_task._options import Heartbeat, Options

from ._ending import Ending
from ._pings import PendingPing, Pings
from ._reader import Reader
from ._statistics import Traffic
from ._writer import Writer


@final
@attrs.frozen(eq=False)
class Keepalive:
    """What finds out that one socket's peer is gone."""

    _writer: Writer
    _reader: Reader
    _pings: Pings
    _traffic: Traffic
    _ending: Ending

    def start(self, options: Options, nursery: trio.Nursery) -> None:
        """Start the tasks that the options ask for."""
        self._traffic.spoken_at = trio.current_time()
        self._reader.is_timed = options.heartbeat is not None or options.receive_timeout is not None
        if options.heartbeat is not None:
            nursery.start_soon(self._send_heartbeats, options.heartbeat)
        if options.receive_timeout is not None:
            nursery.start_soon(self._expect_messages, options.receive_timeout)

    def ping(self, *, in_order: bool = False) -> PendingPing:
        """Send a ping: at once, or after the messages that wait, so that its pong tells that they were read."""
        ping = self._pings.start(in_order=in_order)
        (self._writer.put_in_order if in_order else self._writer.put_ping)(ping.frame)
        self._reader.read_in_background()
        return ping

    @trio.lowlevel.enable_ki_protection
    async def _send_heartbeats(self, heartbeat: Heartbeat) -> None:
        """Ping until the socket closes, or the peer gives no sign of life in time.

        The time runs while the ping is with the peer and its pong could be seen: not while it waits behind an upload
        that makes progress, and not while reading is paused. Whatever comes in starts it anew: a pong cannot stand
        inside the frame of a large message that is coming in.
        """
        writer, reader = self._writer, self._reader
        while True:
            await trio.sleep(heartbeat.interval)
            ping, taken, looked = self._pings.start_heartbeat(heartbeat), None, False
            writer.put_ping(ping.frame)
            reader.read_in_background()
            while not ping.settled.is_set():
                if writer.finished:
                    return  # a close has a deadline of its own
                if taken is None and not writer.holds_ping(ping.frame):
                    taken = writer.pings_taken
                left = writer.progress if taken is None else taken
                since = max(ping.sent, left, reader.paused_until, reader.received_at)
                if trio.current_time() >= since + heartbeat.timeout:
                    if not looked:
                        looked = True
                        await reader.look()
                        continue
                    answer = "pong" if heartbeat.message is None else "reply to the heartbeat's message"
                    self._ending.time_out(f"no {answer} within {heartbeat.timeout:g} seconds")
                    return
                looked = False
                with trio.move_on_at(min(since, trio.current_time()) + heartbeat.timeout):
                    await ping.settled.wait()

    @trio.lowlevel.enable_ki_protection
    async def _expect_messages(self, seconds: float) -> None:
        """Wait until the socket closes, or the peer has said nothing for so long, not counting pauses of reading.

        An answer to this side's own pings says that the peer lives, not that it speaks. A part of a message does.
        """
        reader, looked = self._reader, False
        while not self._writer.finished:
            now = trio.current_time()
            since = max(self._traffic.spoken_at, reader.incomplete_at, reader.paused_until)
            if now < since + seconds:
                looked = False
                await trio.sleep_until(min(since, now) + seconds)
            elif not looked:
                looked = True
                await reader.look()
            else:
                self._ending.time_out(f"no message within {seconds:g} seconds")
                return
