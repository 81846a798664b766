"""What wx tells of an opening: points in time and durations, in milliseconds."""

from __future__ import annotations

from typing import cast

import attrs
import pytest
import trio
import trio.testing
from conftest import Serve
from heard import Heard
from peer import Peer

from trio_socket_task import Dial, Header
from trio_socket_task._stream._connect import Connected
from trio_socket_task._stream._wire import Wire
from trio_socket_task.miniprogram import open_mini_program
from trio_socket_task.miniprogram._profile import profile_of

URL = "ws://phone.test/"
CONNECTED = Connected(
    wire=cast("Wire", None),
    header=Header(),
    protocol=None,
    per_message_deflate=None,
    rest=b"",
    opened_at=10,
    dial_seconds=0.5,
    proxy_seconds=None,
    tls_seconds=None,
    handshake_seconds=0.25,
    local_address=None,
    remote_address=None,
    tls=None,
)


@pytest.fixture
def slow(serve: Serve) -> Dial:
    """Return a dial that takes 200 ms, to a server that takes 100 ms for its handshake and answers no Close."""

    async def script(peer: Peer) -> None:
        await trio.sleep(0.1)
        await peer.accept()
        await trio.sleep(100)

    served = serve(script)

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep(0.2)
        return await served(host, port)

    return dial


def test_the_points_and_durations_agree() -> None:
    """Without a lookup of its own, and counted from the call."""
    assert profile_of(CONNECTED, asked_at=9) == {
        "fetchStart": 9250,
        "domainLookUpStart": 9250,
        "domainLookUpEnd": 9250,
        "connectStart": 9250,
        "connectEnd": 9750,
        "rtt": 500,
        "handshakeCost": 250,
        "cost": 1000,
    }


def test_a_proxy_and_tls_are_parts_of_connecting() -> None:
    """As the vendor's page has it."""
    profile = profile_of(attrs.evolve(CONNECTED, proxy_seconds=1, tls_seconds=0.125), asked_at=8)
    assert (profile["rtt"], profile["fetchStart"], profile["connectEnd"]) == (1625, 8125, 9750)


async def test_listeners_are_given_the_times(autojump_clock: trio.testing.MockClock, slow: Dial, heard: Heard) -> None:
    """Each a dict of its own, late ones, too, and those of the program."""
    async with open_mini_program("wx", dial=slow, close_timeout=1) as wx:
        await trio.sleep(1)
        task = wx.connectSocket(url=URL)
        wx.onSocketOpen(heard("global"))
        task.onOpen(heard("first", lambda result: cast("dict[str, dict[str, object]]", result)["profile"].clear()))
        task.onOpen(heard("second"))
        await trio.sleep(1)
        task.onOpen(heard("late"))
    first, *others = [result["profile"] for result in heard.results]
    assert first == {}
    assert heard.names == ["first", "second", "global", "late"]
    assert others == 3 * [
        {
            "fetchStart": 1000,
            "domainLookUpStart": 1000,
            "domainLookUpEnd": 1000,
            "connectStart": 1000,
            "connectEnd": 1200,
            "rtt": 200,
            "handshakeCost": 100,
            "cost": 300,
        }
    ]


async def test_a_socket_that_replaces_another_waits_before_it_begins(
    autojump_clock: trio.testing.MockClock, slow: Dial, heard: Heard
) -> None:
    """Which is in its cost: the old server takes all of the close timeout."""
    async with open_mini_program("wx", base_library="1.4.4", dial=slow, close_timeout=1) as wx:
        wx.connectSocket(url=URL)
        await trio.sleep(2)
        wx.connectSocket(url=URL).onOpen(heard("open"))
        await trio.sleep(2)
    profile = cast("dict[str, float]", heard.results[0]["profile"])
    assert (profile["fetchStart"], profile["rtt"], profile["cost"]) == (3000, 200, 1300)


async def test_qq_tells_no_times(autojump_clock: trio.testing.MockClock, slow: Dial, heard: Heard) -> None:
    """Its page knows the header only."""
    async with open_mini_program("qq", dial=slow, close_timeout=1) as qq:
        qq.connectSocket(url=URL).onOpen(heard("open"))
        await trio.sleep(2)
    assert [list(result) for result in heard.results] == [["header"]]
