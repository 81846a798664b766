"""``on_connected``: the program's function that has each new connection first."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from resilient.helpers import until

from trio_socket_task import ConnectionState, GaveUpError, Heartbeat, Retry, SocketTask, open_resilient_socket
from trio_socket_task.testing import Script, hold, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def test_on_connected_comes_before_everything(autojump_clock: trio.testing.MockClock) -> None:
    """On every connection: what waits is sent after it, and its own messages are its own."""
    story = Script().expect("login").send("welcome").expect("waiting").send("news").drop()
    again = Script().expect("login").send("welcome").expect("more")
    welcomes = []

    async def log_in(task: SocketTask) -> None:
        await task.send("login")
        welcomes.append(await task.receive())

    async with open_memory_server(in_turn(story, again)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            await socket.send("waiting")
            assert await socket.receive() == "news"
            await until(socket, ConnectionState.WAITING)
            await socket.send("more")
            await socket.wait_delivered()
    assert welcomes == ["welcome", "welcome"]


async def test_a_connection_whose_greeting_fails_has_failed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What it brought is not received, and the next is made after a delay; the log tells why."""
    scripts = in_turn(Script().send("unheard"), Script().expect("hello"))

    async def log_in(task: SocketTask) -> None:
        await trio.sleep(1)
        if len(server.connections) == 1:
            raise PermissionError("no login today")

    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            await until(socket, ConnectionState.WAITING)
            assert socket.state.why == "no login today"
            await socket.send("hello")
            await socket.wait_delivered()
            assert socket.statistics().generation == 1
    assert "on_connected raised" in caplog.text
    assert "PermissionError: no login today" in caplog.text, "with its traceback"


@pytest.mark.parametrize("code", [4001, 1012])
async def test_a_close_during_the_greeting_counts_as_a_close(autojump_clock: trio.testing.MockClock, code: int) -> None:
    """The server refuses a login by closing: the code decides, not the error that on_connected met."""

    async def log_in(task: SocketTask) -> None:
        await task.send("login")
        await task.receive()

    scripts = in_turn(Script().expect("login").close(code), Script().expect("login").send("ok"))
    async with open_memory_server(scripts if code == 1012 else Script().expect("login").close(code)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            if code == 1012:
                await socket.wait_connected()
            else:
                with pytest.raises(GaveUpError, match="the server closed with 4001"):
                    await socket.wait_connected()


async def test_a_close_after_the_greeting_has_closed(autojump_clock: trio.testing.MockClock) -> None:
    """It changes nothing of the close that is under way."""

    async def close_both(task: SocketTask) -> None:
        task.close(4002)
        socket.close(4003)

    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=close_both) as socket:
            await until(socket, ConnectionState.STOPPED)
        assert [connection.close_code for connection in server.connections] == [4002]


async def test_a_greeting_ends_with_its_connection(autojump_clock: trio.testing.MockClock) -> None:
    """Even when it waits for something else; what it raises on its way out is told in the log."""

    async def never_ends(task: SocketTask) -> None:
        try:
            await trio.sleep_forever()
        finally:
            if len(server.connections) == 1:
                raise ValueError("on the way out")

    async with open_memory_server(in_turn(Script().drop(), Script().drop(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=never_ends):
            await server.wait_connection(3)


async def test_a_greeting_that_is_not_async_is_a_mistake(autojump_clock: trio.testing.MockClock) -> None:
    """Said at once."""
    async with open_memory_server(hold) as server:
        bad = open_resilient_socket(server.url, dial=server.dial, on_connected=lambda _task: None)  # type: ignore[arg-type, return-value]
        async with bad as socket:
            with pytest.raises(GaveUpError, match="on_connected must be an async function"):
                await socket.wait_connected()


async def test_what_another_socket_of_the_greeting_met_is_told(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of some other channel is an error of on_connected's own."""

    async def greet(task: SocketTask) -> None:
        raise trio.EndOfChannel("of the login service")

    async with open_memory_server(hold) as server:
        retry = Retry(max_attempts=1)
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=greet, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="of the login service"):
                await socket.receive()
    assert "on_connected raised" in caplog.text


async def test_a_greeting_that_fails_in_several_ways_while_it_is_cancelled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no cancellation is told, and the attempt has failed."""

    async def object_to_it() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    async def greet(task: SocketTask) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(object_to_it)
            await trio.sleep_forever()

    async with open_memory_server(Script().accept().drop()) as server:
        retry = Retry(max_attempts=1)
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=greet, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="1 attempts in a row"):
                await socket.receive()
    assert "on the way out" in caplog.text


async def test_an_application_s_heartbeat_waits_for_the_greeting(autojump_clock: trio.testing.MockClock) -> None:
    """Ping frames do until then."""

    async def log_in(task: SocketTask) -> None:
        await trio.sleep(50)
        await task.send("login")

    heartbeat = Heartbeat(interval=10, message="beat", reply="beaten")
    script = Script().expect("login").expect("beat").send("beaten")
    async with open_memory_server(script) as server:
        async with open_resilient_socket(
            server.url, dial=server.dial, heartbeat=heartbeat, on_connected=log_in
        ) as socket:
            await socket.wait_connected()
            await trio.sleep(15)
