"""The end of a resilient socket, and of its block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from resilient.helpers import until

from trio_socket_task import (
    Backoff,
    CloseEvent,
    Coexist,
    ConnectionState,
    GaveUpError,
    InvalidOptionsError,
    ResilientSocket,
    SocketClosedError,
    SocketTask,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._session._clock import clock_of_this_run
from trio_socket_task.testing import Script, ServerConnection, echo, hold, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


@pytest.mark.parametrize("when", ["waiting", "dialling", "asking", "greeting", "full"])
async def test_it_can_be_closed_at_any_time(autojump_clock: trio.testing.MockClock, when: str) -> None:
    """In the middle of whatever it does, without waiting for that."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        if when == "waiting":
            raise ConnectionRefusedError
        if when == "dialling":
            await trio.sleep_forever()
        return await server.dial(_host, _port)

    async def target() -> str:
        if when == "asking":
            await trio.sleep_forever()
        return "ws://a.test/"

    async def greet(task: SocketTask) -> None:
        await trio.sleep_forever()

    async with open_memory_server(hold) as server, open_socket_manager(Coexist(1), dial=server.dial) as manager:
        if when == "full":
            await manager.connect_socket(server.url).wait_open()
        async with open_resilient_socket(
            target, dial=dial, backoff=Backoff(random=lambda: 1.0), on_connected=greet, manager=manager
        ) as socket:
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            await socket.aclose(4000, "enough")
            assert trio.current_time() == start
            assert socket.close_event == CloseEvent(code=4000, reason="enough")
            for call in (socket.send("x"), socket.wait_connected()):
                with pytest.raises(SocketClosedError):
                    await call
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
        for task in manager.sockets:
            await task.aclose()


async def test_closing_gives_the_connection_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    """More than its buffer takes at once; then the close handshake shows that all was read."""
    received = []

    async def read(connection: ServerConnection) -> None:
        received.extend([data async for data in connection])

    async with open_memory_server(read) as server:
        async with open_resilient_socket(server.url, dial=server.dial, send_buffer=1000) as socket:
            undelivered = socket.on_undelivered()
            await socket.wait_connected()
            for number in range(100):
                await socket.send(f"{number} {'x' * 100_000}")
            await socket.aclose()
        assert [str(data).split()[0] for data in received] == [str(number) for number in range(100)]
        assert [event async for event in undelivered] == []
        assert socket.statistics().delivered == 100


async def test_a_close_with_bad_arguments_harms_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """It is refused, and the socket goes on."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            with pytest.raises(InvalidOptionsError):
                socket.close(1001)
            with pytest.raises(InvalidOptionsError):
                await socket.aclose(1000, "x" * 124)
            await socket.send("hello")
            assert await socket.receive() == "hello"
            socket.close()
            with pytest.raises(SocketClosedError):
                await socket.send("late")


async def test_the_first_close_stands(autojump_clock: trio.testing.MockClock) -> None:
    """Whether it is a second one that comes too late, or the first after the socket has given up."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            socket.close(4000, "first")
            socket.close(4001, "second")
            assert socket.close_event == CloseEvent(code=4000, reason="first")
            await socket.aclose(4002, "third")
            assert socket.close_event == CloseEvent(code=4000, reason="first")
    async with open_memory_server(Script().close(4003, "gone")) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await until(socket, ConnectionState.STOPPED)
            socket.close(4000, "late")
            with pytest.raises(GaveUpError):
                await socket.send("x")


async def test_a_close_that_is_cancelled_before_there_is_a_connection_keeps_its_code(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is what the program asked for, however soon it stops waiting."""

    async def target() -> str:
        await trio.sleep_forever()
        return ""

    async with open_resilient_socket(target) as socket:
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await socket.aclose(4000, "enough")
        assert socket.close_event == CloseEvent(code=4000, reason="enough")


@pytest.mark.parametrize("where", ["target", "on_connected", "a task of on_connected"])
async def test_it_may_be_closed_by_its_own_functions(autojump_clock: trio.testing.MockClock, where: str) -> None:
    """They do not wait for themselves."""

    async def target() -> str:
        if where == "target":
            await socket.aclose(4000)
        return server.url

    async def greet(task: SocketTask) -> None:
        if where == "on_connected":
            await socket.aclose(4000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.aclose, 4000)

    with trio.fail_after(1000):
        async with open_memory_server(echo) as server:
            async with open_resilient_socket(target, dial=server.dial, on_connected=greet) as socket:
                with pytest.raises(trio.EndOfChannel):
                    await socket.receive()
    assert socket.close_event == CloseEvent(code=4000)


async def test_a_target_that_closes_it_is_ended_there(autojump_clock: trio.testing.MockClock) -> None:
    """By the cancelling that every `aclose` lets through: its URL is wanted no more."""
    reached: list[str] = []

    async def target() -> str:
        reached.append("the close")
        await socket.aclose(4000)
        reached.append("what follows")
        return "ws://a.test/"

    async with open_resilient_socket(target) as socket:
        await until(socket, ConnectionState.STOPPED)
    assert reached == ["the close"]


async def test_a_block_can_be_entered_once() -> None:
    """As the others."""
    async with open_memory_server(hold) as server:
        block = open_resilient_socket(server.url, dial=server.dial)
        async with block:
            with pytest.raises(RuntimeError, match="entered once"):
                await block.__aenter__()


async def leave_by_break(socket: ResilientSocket) -> None:
    """Leave an iteration."""
    async for _ in socket:
        break


async def leave_by_exception(socket: ResilientSocket) -> None:
    """Raise."""
    await socket.receive()
    raise KeyError("mine")


async def leave_by_cancellation(socket: ResilientSocket) -> None:
    """Be cancelled while sending and receiving."""
    await socket.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_exception, leave_by_cancellation])
@pytest.mark.parametrize("handler", [Script().send("a"), Script().send("a").drop()], ids=["connected", "waiting"])
async def test_a_block_can_be_left_in_any_way(
    autojump_clock: trio.testing.MockClock, leave: Callable[[ResilientSocket], Awaitable[None]], handler: Script
) -> None:
    """The body's exception comes out unchanged, and nothing is left."""
    async with open_memory_server(handler) as server:
        clock_of_this_run()  # whose task is the run's own
        tasks = trio.lowlevel.current_statistics().tasks_living
        try:
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await leave(socket)
        except KeyError as error:
            assert error.args == ("mine",)  # noqa: PT017 (it is raised in one case of three)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= tasks


async def test_a_cancelled_block_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Even while it is being left, and the server answers nothing."""
    async with open_memory_server(Script().expect("a").stall()) as server:
        start = trio.current_time()
        with trio.move_on_after(5):
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await socket.send("a")
                await socket.wait_delivered()
                await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - start <= 5.2


async def test_an_aclose_that_is_cancelled_does_not_wait_for_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As every `aclose` in Trio."""
    async with open_memory_server(Script().accept().stall()) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            start = trio.current_time()
            with trio.move_on_after(1) as scope:
                await socket.aclose(4000)
            assert scope.cancelled_caught
            assert trio.current_time() - start == pytest.approx(1)
            assert socket.state.state is ConnectionState.STOPPED


async def test_a_block_is_left_without_waiting_for_the_next_line_of_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Of which there is at most one a second about lost messages."""
    async with open_memory_server(in_turn(Script().accept().stall(), echo)) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            await socket.send("a")
            socket.reconnect()
            await socket.send("b")
            await socket.wait_delivered()
            assert "1 (lost)" in caplog.text
            start = trio.current_time()
        assert trio.current_time() == start


async def test_how_connections_close_is_known_while_they_last_and_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """There is nothing to know before the first."""
    async with open_memory_server(Script().accept().close(4001, "gone")) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            assert socket.close_event is None
            await until(socket, ConnectionState.STOPPED)
            assert socket.close_event is not None
            assert socket.close_event.code == 4001


async def test_calls_after_the_end_tell_how_it_closed(autojump_clock: trio.testing.MockClock) -> None:
    """As this side asked."""
    async with open_memory_server() as server, open_resilient_socket(server.url, dial=server.dial) as socket:
        await socket.wait_connected()
        await socket.aclose(4000, "enough")
        with pytest.raises(SocketClosedError) as closed:
            await socket.send("late")
    assert (closed.value.close_event.code, closed.value.close_event.reason) == (4000, "enough")
