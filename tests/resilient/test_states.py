"""`_resilient._states`, and the figures: what a resilient socket tells of itself."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from peer import URL
from resilient.helpers import HALF, until

from trio_socket_task import ConnectionState, ResilientSocket, open_resilient_socket
from trio_socket_task._resilient._label import SocketLabel
from trio_socket_task._resilient._states import States
from trio_socket_task.testing import Script, hold, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def test_states_tell_the_story(autojump_clock: trio.testing.MockClock) -> None:
    """The present one first, whenever the listener comes; and the end."""
    async with open_memory_server(in_turn(Script().accept().drop(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            states = socket.on_state()
            await server.wait_connection(2)
            await socket.wait_connected()
            late = socket.on_state()
        story = [event async for event in states]
        assert [(event.state.value, event.generation, event.failures, event.delay) for event in story] == [
            ("connecting", 0, 0, None),
            ("connected", 1, 0, None),
            ("waiting", 1, 1, 0.5),
            ("connecting", 1, 1, None),
            ("connected", 2, 0, None),
            ("stopped", 2, 0, None),
        ]
        assert [event.state.value async for event in late] == ["connected", "stopped"]
        assert [event.state.value async for event in socket.on_state()] == ["stopped"]


async def test_figures_of_connections_that_have_gone(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is buffered in them."""
    async with open_memory_server(in_turn(Script().accept().stall(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=None) as socket:
            await socket.wait_connected()
            await socket.send("x" * 100_000)
            await socket.send("x" * 100_000)
            socket.reconnect()
            await server.wait_connection(2)
            assert socket.statistics().sockets.send_buffered == 0


async def test_figures_never_go_down(autojump_clock: trio.testing.MockClock) -> None:
    """Not for an instant, when a connection has ended and the next has not begun."""
    seen: list[int] = []

    async def look(socket: ResilientSocket) -> None:
        while len(seen) < 1000:
            seen.append(socket.statistics().sockets.messages_sent)
            await trio.lowlevel.checkpoint()

    async with (
        open_memory_server(in_turn(Script().expect("one").drop(), hold)) as server,
        open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(look, socket)
        await socket.send("one")
        await until(socket, ConnectionState.WAITING)
    assert seen == sorted(seen)
    assert seen[-1] == 1


async def test_a_connection_that_was_quiet_for_long_was_useful(autojump_clock: trio.testing.MockClock) -> None:
    """Where nobody asked for signs of life, the time counts until it ended: failures are counted anew."""
    quiet = Script().accept().sleep(40).drop()
    async with open_memory_server(in_turn(quiet, quiet, hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF, heartbeat=None) as socket:
            states = socket.on_state()
            await server.wait_connection(2)
            await server.wait_connection(3)
        waits = [event async for event in states if event.state is ConnectionState.WAITING]
        assert [event.failures for event in waits] == [1, 1]


async def test_how_failures_are_logged_is_said_with_the_warnings(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with each line between them."""
    caplog.set_level("INFO")
    async with open_memory_server(in_turn(Script().drop(), Script().drop(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            await socket.wait_connected()
    lines = [record for record in caplog.records if "failures in a row: " in record.getMessage()]
    assert {line.levelname for line in lines} == {"WARNING", "INFO"}
    for line in lines:
        assert ("the log warns of the first" in line.getMessage()) is (line.levelname == "WARNING")


async def test_receive_sees_a_change_that_comes_while_it_begins(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again, and does not wait for the next change with what it saw before."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        del host, port
        await trio.sleep_forever()
        raise AssertionError

    async with open_resilient_socket(URL, dial=dial) as socket:
        checkpoint, states = trio.lowlevel.checkpoint, socket._states

        async def change() -> None:
            monkeypatch.undo()
            states.enter(ConnectionState.WAITING, delay=1.0)
            await checkpoint()

        seen = states.changed
        monkeypatch.setattr(trio.lowlevel, "checkpoint", change)
        with trio.move_on_after(1) as scope:
            await socket.receive()
        assert scope.cancelled_caught
        assert states.changed is not seen


@pytest.mark.parametrize(
    ("script", "level"), [(Script().close(1000), "INFO"), (Script().close(4001), "WARNING"), (hold, "INFO")]
)
async def test_that_it_gave_up_is_a_warning(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, script: Script, level: str
) -> None:
    """But no end that the server, or the program, has wanted."""
    caplog.set_level("INFO")
    async with open_memory_server(script) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            await trio.sleep(1)
    assert [record.levelname for record in caplog.records if ": stopped: " in record.getMessage()] == [level]


async def test_a_reader_that_does_not_read_has_the_latest_states() -> None:
    """1024 of them."""
    states = States(SocketLabel(URL))
    listener = states.listen()
    for failures in range(1, 2001):
        states.enter(ConnectionState.WAITING, failures=failures)
    assert listener.statistics().events_waiting == 1024
    assert (await listener.receive()).failures == 2000 - 1023
