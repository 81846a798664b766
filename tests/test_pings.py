"""`_pings`: which pong answers which ping."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_socket_task._pings import Pings


async def test_a_pong_answers_its_ping(autojump_clock: MockClock) -> None:
    """And the round trip is measured."""
    pings = Pings()
    ping = pings.start()
    await trio.sleep(0.25)
    pings.answer(ping.payload)
    assert ping.settled.is_set()
    assert ping.rtt == pings.rtt
    assert round(ping.rtt or 0, 6) == 0.25


async def test_a_pong_answers_the_pings_before_it_too() -> None:
    """A peer may answer the latest only (RFC 6455 section 5.5.3); those after it still wait."""
    pings = Pings()
    one, two, three = pings.start(), pings.start(), pings.start()
    pings.answer(two.payload)
    assert [ping.settled.is_set() for ping in (one, two, three)] == [True, True, False]


async def test_a_pong_nobody_asked_for_means_nothing() -> None:
    """Unsolicited pongs are allowed; so is one for a ping that was forgotten."""
    pings = Pings()
    ping = pings.start()
    pings.forget(ping)
    pings.forget(ping)
    pings.answer(ping.payload)
    pings.answer(b"what")
    assert pings.rtt is None


async def test_the_end_settles_all() -> None:
    """Without a round trip."""
    pings = Pings()
    ping = pings.start()
    pings.end()
    assert ping.settled.is_set()
    assert ping.rtt is None
