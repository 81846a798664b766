"""The mini program against a server in memory, in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from trio_socket_task.testing import Script, in_turn

PROJECT = Path(__file__).parent.parent
SUBSCRIBE = json.dumps({"subscribe": "all"}, separators=(",", ":"))


@pytest.fixture
async def prices(javascript):
    await javascript.run(PROJECT / "app.js")
    await javascript.run(PROJECT / "pages" / "prices" / "prices.js")
    return javascript


def shown(program):
    return program.evaluate("getCurrentPages()[0].data.prices")


async def pong(connection):
    async for message in connection:
        if message == "ping":
            await connection.send("pong")


async def test_a_price_is_shown(autojump_clock, memory_socket_server, prices):
    memory_socket_server.handler = Script().expect(SUBSCRIBE).send('{"name": "tea", "price": 3}').expect_close(1000)
    await trio.sleep(1)
    assert shown(prices) == {"tea": 3}
    prices.evaluate("getApp().socket.close()")
    await prices.wait_idle()


async def test_it_comes_back_after_a_crash_of_the_server(autojump_clock, memory_socket_server, prices):
    memory_socket_server.handler = in_turn(
        Script().expect(SUBSCRIBE).drop(),
        Script().reject(503),
        Script().send('{"name": "tea", "price": 4}').expect_close(1000),
    )
    await trio.sleep(5)
    assert [text for level, text in prices.console if level == "info"] == [
        "connected",
        "lost with 1006, again in 1000 ms",
        "lost with 1006, again in 2000 ms",
        "connected",
    ]
    assert shown(prices) == {"tea": 4}
    prices.evaluate("getApp().socket.close()")
    await prices.wait_idle()


async def test_it_notices_a_server_that_is_silent(autojump_clock, memory_socket_server, prices):
    memory_socket_server.handler = in_turn(Script().expect(SUBSCRIBE).stall(), pong)
    await trio.sleep(30 + 10 + 1 + 1)
    assert ("warn", "the server is silent") in prices.console
    assert prices.evaluate("getApp().socket.open") is True


async def test_ten_minutes_of_heartbeats(autojump_clock, memory_socket_server, prices):
    memory_socket_server.handler = pong
    await trio.sleep(600)
    assert list(prices.console) == [("info", "connected")]
    assert len(memory_socket_server.connections) == 1
