"""`_resilient._attempts` and `_supervisor`: when there is another attempt, where it goes, and when no other is made."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
import trio.testing
from resilient.helpers import HALF, until

from trio_socket_task import (
    Attempt,
    Backoff,
    ConnectionState,
    ConnectOptions,
    GaveUpError,
    HandshakeError,
    InvalidOptionsError,
    Retry,
    SocketLostError,
    SocketTask,
    open_resilient_socket,
)
from trio_socket_task._resilient._connection import Connection
from trio_socket_task.testing import Script, echo, hold, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def test_it_gives_up_by_the_evidence(autojump_clock: trio.testing.MockClock) -> None:
    """The program's own calls say so, with the attempts."""
    scripts = in_turn(Script().send("a").drop(), Script().reject(403))
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            assert await socket.receive() == "a"
            with pytest.raises(GaveUpError, match="403") as caught:
                await socket.receive()
            assert isinstance(caught.value.__cause__, HandshakeError)
            assert [type(attempt.error) for attempt in caught.value.attempts] == [SocketLostError, HandshakeError]
            assert [attempt.connected_for for attempt in caught.value.attempts] == [0, 0]
            for call in (socket.send("x"), socket.wait_connected(), socket.receive()):
                with pytest.raises(GaveUpError):
                    await call
            with pytest.raises(GaveUpError):
                socket.send_nowait("x")
            socket.reconnect()
            await socket.aclose()
            assert socket.state.state is ConnectionState.STOPPED
            assert "403" in socket.state.why


async def test_a_policy_of_the_program_s_own_that_raises_is_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """And is told of."""
    async with open_memory_server(Script().drop()) as server:
        retry = Retry(decide=lambda _attempt, _failures: 1 / 0)  # type: ignore[arg-type, return-value]
        async with open_resilient_socket(server.url, dial=server.dial, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="the backoff or the retry policy raised ZeroDivisionError"):
                await socket.receive()


@pytest.mark.parametrize("random", [lambda: 1 / 0, lambda: None, lambda: -1.0])
async def test_a_backoff_that_makes_no_sense_is_the_end(
    autojump_clock: trio.testing.MockClock, random: Callable[[], float]
) -> None:
    """Said by the program's own calls."""
    async with open_memory_server(Script().drop()) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=Backoff(random=random)) as socket:
            with pytest.raises(GaveUpError, match="the backoff or the retry policy raised"):
                await socket.receive()


async def test_limits_of_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """Then it gives up."""
    async with open_memory_server(Script().reject(500)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, retry=Retry(max_attempts=3)) as socket:
            with pytest.raises(GaveUpError, match="3 attempts in a row have failed"):
                await socket.wait_connected()
        assert len(server.connections) == 3


async def test_delays_start_over_after_a_useful_connection(autojump_clock: trio.testing.MockClock) -> None:
    """And only after one: a server that accepts and closes meets ever longer delays."""
    scripts = in_turn(*[Script().drop()] * 3, Script().sleep(31).drop(), Script().sleep(29).drop(), hold)
    delays = []
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF, heartbeat=None) as socket:
            async with socket.on_state() as states:
                while len(server.connections) < 6:
                    event = await states.receive()
                    if event.state is ConnectionState.WAITING:
                        delays.append(event.delay)
    assert delays == [0.5, 1.0, 2.0, 0.5, 1.0]


async def test_a_useful_connection_counts_though_it_was_ended_by_reconnect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Limits and delays start over after it."""
    scripts = in_turn(*[Script().reject(503)] * 5, hold, Script().reject(503), hold)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(
            server.url, dial=server.dial, backoff=HALF, retry=Retry(max_seconds=60)
        ) as socket:
            await socket.wait_connected()
            await trio.sleep(3600)
            socket.reconnect()
            states = socket.on_state()
            while (await states.receive()).delay is None:
                pass
            assert socket.state.delay == 0.5
            await socket.wait_connected()


async def test_a_useful_connection_ends_the_story_that_giving_up_tells(autojump_clock: trio.testing.MockClock) -> None:
    """The attempts before it are forgiven, so they are not blamed."""
    scripts = in_turn(Script().drop(), Script().sleep(31).drop(), Script().reject(403))
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            with pytest.raises(GaveUpError, match="403") as caught:
                await socket.receive()
    assert [type(attempt.error) for attempt in caught.value.attempts] == [SocketLostError, HandshakeError]


async def test_a_black_hole_is_not_useful(autojump_clock: trio.testing.MockClock) -> None:
    """However long it takes to find out: what counts is the last sign of life."""
    async with open_memory_server(Script().accept().stall()) as server:
        retry = Retry(max_attempts=5)
        async with open_resilient_socket(server.url, dial=server.dial, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="5 attempts in a row"):
                await socket.receive()


async def test_a_busy_server_is_given_time(autojump_clock: trio.testing.MockClock) -> None:
    """Retry-After, and the jitter on top."""
    scripts = in_turn(Script().reject(503, {"Retry-After": "30"}), hold)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            await socket.wait_connected()
            assert round(trio.current_time(), 3) == 30.5


async def test_the_target_is_asked_before_each_attempt(autojump_clock: trio.testing.MockClock) -> None:
    """A fresh token each time; when it cannot be asked, that attempt has failed."""
    asked: list[int] = []

    async def target() -> str | tuple[str, ConnectOptions]:
        asked.append(len(asked))
        await trio.lowlevel.checkpoint()
        if len(asked) == 1:
            raise OSError("the token server is down")
        return f"ws://a.test/{len(asked)}", {"header": {"token": f"t{len(asked)}"}}

    async with open_memory_server(in_turn(Script().drop(), hold)) as server:
        async with open_resilient_socket(target, dial=server.dial) as socket:
            await server.wait_connection(2)
            await socket.wait_connected()
            assert [connection.path for connection in server.connections] == ["/2", "/3"]
            assert [connection.header["token"] for connection in server.connections] == ["t2", "t3"]


async def test_a_target_that_gives_nonsense_is_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing would get better."""

    async def target() -> str:
        await trio.lowlevel.checkpoint()
        return "http://a.test/"

    async with open_resilient_socket(target) as socket:
        with pytest.raises(GaveUpError, match="must be absolute") as caught:
            await socket.wait_connected()
        assert isinstance(caught.value.__cause__, InvalidOptionsError)


async def test_reconnect_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Neither for a server that is gone, nor for the delay; and it is no failure."""
    scripts = in_turn(Script().stall(), Script().reject(503), echo)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF, heartbeat=None) as socket:
            await server.wait_connection(1)
            start = trio.current_time()
            socket.reconnect()  # while the handshake hangs
            await until(socket, ConnectionState.WAITING)
            socket.reconnect()
            await socket.send("hello")
            assert await socket.receive() == "hello"
            socket.reconnect()  # while it is connected
            await socket.send("again")
            assert await socket.receive() == "again"
            assert trio.current_time() - start < 0.5
            assert socket.statistics().generation == 2


async def test_reconnect_ends_one_thing_only(autojump_clock: trio.testing.MockClock) -> None:
    """The delay after the next failure is waited for, and what a server asks for is honoured."""
    scripts = in_turn(Script().accept(), Script().reject(503, {"Retry-After": "30"}), hold)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            await socket.wait_connected()
            start = trio.current_time()
            socket.reconnect()
            await server.wait_connection(3)
            assert trio.current_time() - start >= 30


async def test_reconnect_while_the_target_is_asked(autojump_clock: trio.testing.MockClock) -> None:
    """It is asked anew; what the connection then ends with is judged as ever."""
    asked: list[float] = []

    async def target() -> str:
        asked.append(trio.current_time())
        if len(asked) == 1:
            await trio.sleep_forever()
        return "ws://a.test/"

    async with open_memory_server(Script().accept().close(4001)) as server:
        async with open_resilient_socket(target, dial=server.dial) as socket:
            await trio.testing.wait_all_tasks_blocked()
            socket.reconnect()
            with pytest.raises(GaveUpError, match="4001"):
                await socket.receive()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("function", "line"),
    [("target", "no attempt to connect could be made"), ("on_connected", "on_connected raised, so this attempt")],
)
async def test_what_the_program_s_own_functions_raise_is_logged_as_failures_are(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, function: str, line: str
) -> None:
    """The first one and every tenth is a warning; each has its traceback."""

    def fail(here: str) -> None:
        if here == function:
            raise PermissionError("not now")

    async def target() -> str:
        await trio.lowlevel.checkpoint()
        fail("target")
        return server.url

    async def greet(_task: SocketTask) -> None:
        await trio.lowlevel.checkpoint()
        fail("on_connected")

    caplog.set_level(logging.INFO)
    async with open_memory_server(hold) as server:
        async with open_resilient_socket(target, dial=server.dial, backoff=HALF, on_connected=greet) as socket:
            async with socket.on_state() as states:
                while (await states.receive()).failures < 11:
                    pass
    lines = [record for record in caplog.records if line in record.getMessage()]
    assert [record.levelname for record in lines] == ["WARNING", *["INFO"] * 8, "WARNING", "INFO"]
    assert all(record.exc_info for record in lines)


async def test_a_connection_that_fails_by_a_bug_is_not_left_open(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is reported, and the server is told at once."""

    async def fail(connection: Connection, _nursery: trio.Nursery) -> Attempt:
        await connection.session.wait_open()
        raise ZeroDivisionError

    monkeypatch.setattr(Connection, "run", fail)
    async with open_memory_server(hold) as server:
        with trio.fail_after(1), pytest.raises(ExceptionGroup) as raised:
            async with open_resilient_socket(server.url, dial=server.dial):
                await trio.sleep_forever()
        assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
        await (await server.wait_connection()).wait_closed()
