"""Heartbeats, and `receive_timeout`, of both kinds of socket."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from resilient.helpers import HALF

from trio_socket_task import Heartbeat, SocketLostError, connect_socket, open_resilient_socket
from trio_socket_task.testing import Script, ServerConnection, collect, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def test_an_application_s_heartbeat(autojump_clock: trio.testing.MockClock) -> None:
    """Its replies are its own; when they fail to come, the connection is lost and made again."""

    async def serve(connection: ServerConnection) -> None:
        pings = 0
        async for data in connection:
            if data == "ping" and pings < 3:
                pings += 1
                await connection.send("pong")
                await connection.send(f"news {pings}")

    heartbeat = Heartbeat(interval=10, timeout=5, message="ping", reply="pong")
    async with open_memory_server(serve) as server:
        async with open_resilient_socket(server.url, dial=server.dial, heartbeat=heartbeat, backoff=HALF) as socket:
            assert await collect(socket, 6, within=300) == ["news 1", "news 2", "news 3"] * 2
            assert socket.statistics().generation == 2


async def test_a_reply_function_that_raises_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And the message is the program's."""
    heartbeat = Heartbeat(message=b"?", reply=lambda data: data.startswith(b"!"))  # type: ignore[arg-type]
    async with open_memory_server(Script().send("text").expect(b"?").send(b"!")) as server:
        async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat) as task:
            assert await task.receive() == "text"
            await trio.sleep(25)
            assert task.statistics().messages_received == 1
    assert "the heartbeat's reply function raised" in caplog.text


async def test_replies_are_no_messages(autojump_clock: trio.testing.MockClock) -> None:
    """For receive_timeout, as for the program."""

    async def serve(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send("beaten")

    heartbeat = Heartbeat(interval=10, message="beat", reply="beaten")
    async with open_memory_server(serve) as server:
        async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat, receive_timeout=30) as task:
            with pytest.raises(SocketLostError, match="no message within 30 seconds"):
                await task.receive()


async def test_the_program_s_own_pings_do_not_hide_a_dead_link(autojump_clock: trio.testing.MockClock) -> None:
    """The heartbeat's deadline is its own."""
    async with open_memory_server(Script().accept().stall()) as server:
        heartbeat = Heartbeat(interval=10, timeout=5)
        async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat) as task:
            await task.send("x" * 200_000)

            async def ping() -> None:
                with suppress(SocketLostError):
                    while True:
                        with trio.move_on_after(3):
                            await task.ping()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ping)
                with pytest.raises(SocketLostError, match="no pong"):
                    await task.receive()
                nursery.cancel_scope.cancel()
            assert trio.current_time() < 40


async def test_silence_is_an_end(autojump_clock: trio.testing.MockClock) -> None:
    """By receive_timeout: pongs are no messages."""
    script = Script().send("a").sleep(9).send("b")
    async with open_memory_server(script) as server:
        async with connect_socket(server.url, dial=server.dial, receive_timeout=10, heartbeat=Heartbeat()) as task:
            assert await collect(task, 2, within=20) == ["a", "b"]
            with pytest.raises(SocketLostError, match="no message within 10 seconds"):
                await task.receive()
            assert round(trio.current_time(), 3) == 19


async def test_silence_that_this_side_causes_is_none(autojump_clock: trio.testing.MockClock) -> None:
    """While the buffer is full nothing can come."""
    async with open_memory_server(Script().send("a" * 1000).send("b")) as server:
        async with connect_socket(server.url, dial=server.dial, receive_timeout=10, receive_buffer=500) as task:
            await trio.sleep(100)
            assert await collect(task, 2) == ["a" * 1000, "b"]
            task.close()
            await trio.sleep(100)


async def test_a_close_ends_the_wait_for_words(autojump_clock: trio.testing.MockClock) -> None:
    """It has a deadline of its own."""
    async with open_memory_server(Script().accept().never_answer_close()) as server:
        async with connect_socket(server.url, dial=server.dial, receive_timeout=5, close_timeout=60) as task:
            await trio.sleep(1)
            start = trio.current_time()
            await task.aclose(4000)
            assert trio.current_time() - start == pytest.approx(60)
            assert [event async for event in task.on_error()] == []
