"""The chat client against a server in memory, in virtual time."""

from __future__ import annotations

import json

import pytest
import trio
from chat_client import ChatClient, Said

from trio_socket_task.testing import Script, in_turn

pytestmark = pytest.mark.usefixtures("no_socket_leaks")

JOIN = json.dumps({"join": "ada"})


@pytest.fixture
def heard():
    return []


@pytest.fixture
def client(memory_socket_server, heard):
    return ChatClient("ws://chat.example/room", "ada", heard.append, dial=memory_socket_server.dial)


async def test_it_joins_and_hears(autojump_clock, client, heard, memory_socket_server):
    memory_socket_server.handler = (
        Script().expect(JOIN).send(json.dumps({"who": "bob", "text": "hi ada"})).close(1000, "good night")
    )
    await client.run()
    assert heard == [Said("bob", "hi ada")]


async def test_it_speaks(autojump_clock, client, nursery, memory_socket_server):
    memory_socket_server.handler = Script().expect(JOIN).expect(json.dumps({"say": "hello"})).close()
    nursery.start_soon(client.say, "hello")  # before there is a connection
    await client.run()


async def test_it_comes_back_after_a_crash_of_the_server(autojump_clock, client, heard, memory_socket_server):
    memory_socket_server.handler = in_turn(
        Script().expect(JOIN).drop(),
        Script().reject(503),
        Script().expect(JOIN).send(json.dumps({"who": "bob", "text": "back again?"})).close(),
    )
    started = trio.current_time()
    await client.run(retry_after=5)
    assert heard == [Said("bob", "back again?")]
    assert trio.current_time() - started == pytest.approx(5 + 5, abs=0.5)


async def test_it_notices_a_link_that_is_half_open(autojump_clock, client, memory_socket_server):
    memory_socket_server.handler = in_turn(Script().expect(JOIN).stall(), Script().expect(JOIN).close())
    started = trio.current_time()
    await client.run(retry_after=5)
    assert trio.current_time() - started == pytest.approx(20 + 10 + 5, abs=1)


async def test_what_is_said_while_there_is_no_connection_is_said_later(
    autojump_clock, client, nursery, memory_socket_server
):
    memory_socket_server.handler = in_turn(
        Script().expect(JOIN).close(4000, "kicked"),
        Script().expect(JOIN).expect(json.dumps({"say": "I am back"})).close(),
    )

    async def speak_later():
        await trio.sleep(3)
        await client.say("I am back")

    nursery.start_soon(speak_later)
    await client.run(retry_after=5)
