"""`_pings`: which pong answers which ping."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_socket_task import Heartbeat, connect_socket
from trio_socket_task._protocol._connection import ClientConnection
from trio_socket_task._session._pings import Pings
from trio_socket_task.testing import SocketServer


async def test_a_pong_answers_its_ping(autojump_clock: MockClock) -> None:
    """And the round trip is measured."""
    pings = Pings(ClientConnection("ws://x/", 100))
    ping = pings.start()
    await trio.sleep(0.25)
    pings.take_pong(ping.payload)
    assert ping.settled.is_set()
    assert ping.rtt == pings.rtt
    assert round(ping.rtt or 0, 6) == 0.25


async def test_a_pong_answers_the_pings_before_it_too() -> None:
    """A peer may answer the latest only (RFC 6455 section 5.5.3); those after it still wait."""
    pings = Pings(ClientConnection("ws://x/", 100))
    one, two, three = pings.start(), pings.start(), pings.start()
    pings.take_pong(two.payload)
    assert [ping.settled.is_set() for ping in (one, two, three)] == [True, True, False]


async def test_a_ping_in_order_is_not_answered_by_one_that_overtook_it() -> None:
    """But it answers those that went ahead of it: a peer may answer the latest of all only."""
    pings = Pings(ClientConnection("ws://x/", 100))
    ahead, in_order, later = pings.start(), pings.start(in_order=True), pings.start()
    pings.take_pong(later.payload)
    assert [ping.settled.is_set() for ping in (ahead, in_order, later)] == [True, False, True]
    ahead, after = pings.start(), pings.start(in_order=True)
    later = pings.start()
    pings.take_pong(after.payload)
    assert [ping.settled.is_set() for ping in (in_order, ahead, after, later)] == [True, True, True, False]
    pings.end()
    assert after.rtt is not None
    assert later.rtt is None


async def test_the_reply_to_a_heartbeats_message() -> None:
    """The latest that was asked for; one that nobody asked for means nothing."""
    pings = Pings(ClientConnection("ws://x/", 100))
    heartbeat, reply = Heartbeat(message="ping", reply="pong"), ("pong", 4)
    assert pings.take_replies(heartbeat, [reply]) == []
    asked = pings.start_heartbeat(heartbeat)
    assert pings.take_replies(heartbeat, [("a", 1), reply]) == [("a", 1)]
    assert asked.rtt is not None
    unanswered = pings.start_heartbeat(heartbeat)
    pings.end()
    assert unanswered.settled.is_set()
    assert unanswered.rtt is None


async def test_a_pong_nobody_asked_for_means_nothing() -> None:
    """Unsolicited pongs are allowed; so is one for a ping that was forgotten."""
    pings = Pings(ClientConnection("ws://x/", 100))
    ping = pings.start()
    pings.forget(ping)
    pings.forget(ping)
    assert not pings.take_pong(ping.payload)
    assert not pings.take_pong(b"what")
    in_order = pings.start(in_order=True)
    pings.forget(in_order)
    assert not pings.take_pong(in_order.payload)
    assert pings.rtt is None


async def test_the_end_settles_all() -> None:
    """Without a round trip, and what comes after it answers nothing."""
    pings = Pings(ClientConnection("ws://x/", 100))
    both = [pings.start(), pings.start(in_order=True)]
    pings.end()
    for ping in both:
        assert ping.settled.is_set()
        assert not pings.take_pong(ping.payload)
        assert ping.rtt is None


async def test_the_first_heartbeat_is_one_interval_after_the_opening(
    autojump_clock: MockClock, memory_socket_server: SocketServer
) -> None:
    """Whatever time it is."""
    await trio.sleep(1000)
    server, heartbeat = memory_socket_server, Heartbeat(interval=0.5)
    async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat) as task:
        await trio.sleep(0.49)
        assert task.statistics().rtt is None
        await trio.sleep(0.02)
        assert task.statistics().rtt is not None
