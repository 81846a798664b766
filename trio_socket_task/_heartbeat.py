"""The heartbeat: pings at intervals, and what it means when a pong does not come."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ._options import Heartbeat
from ._outgoing import Outgoing
from ._pings import PendingPing
from ._reading import Reading


@trio.lowlevel.enable_ki_protection
async def beat(
    heartbeat: Heartbeat,
    send_ping: Callable[[], PendingPing],
    outgoing: Outgoing,
    reading: Reading,
    on_lost: Callable[[str], None],
) -> None:
    """Ping until the socket closes, or a pong fails to come in time: then the connection is lost.

    The time runs while the ping is with the peer and its pong could be seen: not while it waits behind an upload that
    makes progress, and not while reading is paused.
    """
    while True:
        await trio.sleep(heartbeat.interval)
        ping = send_ping()
        while not ping.settled.is_set():
            if outgoing.finished:
                return  # a close has a deadline of its own
            left = outgoing.progress if outgoing.holds_ping(ping.frame) else outgoing.pings_taken
            since = max(ping.sent, left, reading.paused_until)
            if trio.current_time() >= since + heartbeat.timeout:
                on_lost(f"no pong within {heartbeat.timeout:g} seconds")
                return
            with trio.move_on_at(min(since, trio.current_time()) + heartbeat.timeout):
                await ping.settled.wait()
