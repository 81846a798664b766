"""A resilient socket in a manager: it waits for room, and ends with what the manager closes."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from resilient.helpers import HALF, until

from trio_socket_task import (
    Coexist,
    ConnectionState,
    GaveUpError,
    Heartbeat,
    ReplacePrevious,
    SocketClosedError,
    SocketManager,
    SocketTask,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._socket_task import session_of
from trio_socket_task.testing import Script, hold, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def test_a_full_manager_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """And a place is taken only while there is a connection."""
    async with open_memory_server(in_turn(hold, Script().drop(), hold)) as server:
        async with open_socket_manager(Coexist(1), dial=server.dial) as manager:
            other = manager.connect_socket(server.url)
            await other.wait_open()
            async with open_resilient_socket(server.url, manager=manager, backoff=HALF) as socket:
                await until(socket, ConnectionState.WAITING)
                assert socket.state.delay is None
                assert "1 sockets exist" in socket.state.why
                states = socket.on_state()
                await other.aclose()
                while (await states.receive()).delay != 0.5:
                    pass
                assert manager.sockets == ()
                await socket.wait_connected()
                assert len(manager.sockets) == 1


async def test_room_that_comes_is_told_of(autojump_clock: trio.testing.MockClock) -> None:
    """It connects then, and no longer waits."""
    async with open_memory_server() as server, open_socket_manager(Coexist(1), dial=server.dial) as manager:
        other = manager.connect_socket(server.url)
        await other.wait_open()
        async with open_resilient_socket(server.url, manager=manager) as socket:
            states = socket.on_state()
            await until(socket, ConnectionState.WAITING)
            await other.aclose()
            await socket.wait_connected()
        story = [event.state.value async for event in states]
        assert story == ["connecting", "waiting", "connecting", "connected", "stopped"]


async def test_that_there_is_no_room_is_a_warning_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where others take the room that comes, it is told at INFO that it goes on waiting."""
    caplog.set_level("INFO")
    async with open_memory_server() as server, open_socket_manager(Coexist(1), dial=server.dial) as manager:
        other = manager.connect_socket(server.url)
        await other.wait_open()
        async with open_resilient_socket(server.url, manager=manager) as socket:
            await until(socket, ConnectionState.WAITING)
            for _ in range(2):
                await other.aclose()
                other = manager.connect_socket(server.url)
                await other.wait_open()
            assert socket.state.state is ConnectionState.WAITING
            await other.aclose()
            await socket.wait_connected()
    lines = [record for record in caplog.records if "1 sockets exist" in record.getMessage()]
    assert [record.levelname for record in lines] == ["WARNING", "INFO", "INFO"]


async def test_room_that_comes_as_it_is_closed_is_not_taken(autojump_clock: trio.testing.MockClock) -> None:
    """Who closes another socket, and then this one, gets no connection in between."""
    async with open_memory_server() as server, open_socket_manager(Coexist(1), dial=server.dial) as manager:
        other = manager.connect_socket(server.url)
        await other.wait_open()
        async with open_resilient_socket(server.url, manager=manager) as socket:
            await until(socket, ConnectionState.WAITING)
            states = socket.on_state()
            await other.aclose()
            socket.close()
        assert [event.state async for event in states] == [ConnectionState.WAITING, ConnectionState.STOPPED]


async def test_what_somebody_else_closes_stays_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A replacement, or a close of the SocketTask, is this side's will."""
    async with open_memory_server() as server, open_socket_manager(ReplacePrevious(), dial=server.dial) as manager:
        async with open_resilient_socket(server.url, manager=manager) as socket:
            await socket.wait_connected()
            new = manager.connect_socket(server.url)
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            assert socket.close_event is not None
            assert socket.close_event.reason == "replaced by a new connection"
            await new.wait_open()
            with pytest.raises(SocketClosedError):
                await socket.send("x")
        await new.aclose()


async def test_the_end_of_its_manager_is_its_end(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Whether it is connected then or waits for a place."""
    end = trio.Event()

    async def lend(task_status: trio.TaskStatus[SocketManager]) -> None:
        async with open_socket_manager(Coexist(1), dial=server.dial) as manager:
            task_status.started(manager)
            await end.wait()

    async with open_memory_server(hold) as server:
        manager = await nursery.start(lend)
        async with open_resilient_socket(server.url, manager=manager) as connected:
            await connected.wait_connected()
            async with open_resilient_socket(server.url, manager=manager) as waiting:
                await until(waiting, ConnectionState.WAITING)
                end.set()
                await until(waiting, ConnectionState.STOPPED)
                await until(connected, ConnectionState.STOPPED)
                with pytest.raises(SocketClosedError):
                    await connected.send("x")
                with pytest.raises(GaveUpError, match="block has ended"):
                    await waiting.send("x")


async def test_replaced_while_it_connects(autojump_clock: trio.testing.MockClock) -> None:
    """As when it is connected: this side has closed it."""
    async with open_memory_server() as server, open_socket_manager(ReplacePrevious(), dial=server.dial) as manager:

        async def greet(task: SocketTask) -> None:
            await task.receive()

        async with open_resilient_socket(server.url, manager=manager, on_connected=greet) as socket:
            await server.wait_connection()
            await trio.testing.wait_all_tasks_blocked()
            new = manager.connect_socket(server.url)
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            with pytest.raises(SocketClosedError):
                await socket.send("x")
        await new.aclose()


async def test_the_manager_s_heartbeat_stands(autojump_clock: trio.testing.MockClock) -> None:
    """Only where nobody says is there one of its own."""
    async with open_memory_server() as server:
        heartbeat = Heartbeat(interval=3)
        async with open_socket_manager(dial=server.dial, heartbeat=heartbeat) as manager:
            for options, expected in (({}, heartbeat), ({"heartbeat": None}, None)):
                async with open_resilient_socket(server.url, manager=manager, **options) as socket:  # type: ignore[arg-type]
                    await socket.wait_connected()
                    assert socket.task is not None
                    assert session_of(socket.task).options.heartbeat == expected
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            assert socket.task is not None
            assert session_of(socket.task).options.heartbeat == Heartbeat()


async def test_a_global_listener_takes_nothing_away(autojump_clock: trio.testing.MockClock) -> None:
    """It hears what the program receives."""
    async with open_memory_server(Script().send("early")) as server, open_socket_manager(dial=server.dial) as manager:
        listener = manager.on_socket_message()
        async with open_resilient_socket(server.url, manager=manager) as socket:
            assert await socket.receive() == "early"
            assert (await listener.receive()).data == "early"
        listener.close()


async def test_a_global_listener_takes_nothing_away_while_on_connected_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What comes meanwhile is kept for the program."""

    async def greet(_task: SocketTask) -> None:
        await trio.sleep(1)

    async with open_memory_server(Script().send("early")) as server, open_socket_manager(dial=server.dial) as manager:
        async with manager.on_socket_message() as listener:
            async with open_resilient_socket(server.url, manager=manager, on_connected=greet) as socket:
                assert (await listener.receive()).data == "early"
                with trio.fail_after(10):
                    assert await socket.receive() == "early"
