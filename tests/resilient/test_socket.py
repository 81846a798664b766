"""The resilient socket: messages, across one connection after another."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing
from counts import count_turns
from resilient.helpers import HALF, until

from trio_socket_task import (
    Backoff,
    CloseEvent,
    ConnectionState,
    GaveUpError,
    InvalidOptionsError,
    Outbox,
    SocketNotOpenError,
    SocketTask,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._manager import members_of
from trio_socket_task.testing import MisuseError, Script, ServerConnection, collect, echo, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def test_messages_go_both_ways_across_a_reconnection(autojump_clock: trio.testing.MockClock) -> None:
    """A drop in the middle: the program goes on, and nothing of it shows but the time."""
    first = Script().expect("one").send("1").drop()
    second = Script().expect("two").send("2").expect_close(1000)
    async with (
        open_memory_server(in_turn(first, second)) as server,
        open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket,
    ):
        number = socket._states.label.number
        assert repr(socket) == f"<ResilientSocket {number} CONNECTING ws://memory.test/, connection 0>"
        await socket.send("one")
        assert await socket.receive() == "1"
        start = trio.current_time()
        await until(socket, ConnectionState.WAITING)
        await socket.send("two")
        assert await socket.receive() == "2"
        assert round(trio.current_time() - start, 6) == 0.5
        assert repr(socket) == f"<ResilientSocket {number} CONNECTED ws://memory.test/, connection 2>"
    assert repr(socket) == f"<ResilientSocket {number} STOPPED ws://memory.test/, connection 2>"
    assert socket.close_event == CloseEvent(code=1000)


async def test_calls_that_need_not_wait_let_others_run(autojump_clock: trio.testing.MockClock) -> None:
    """`wait_connected` always, `send` where a message is large."""
    async with (
        open_memory_server() as server,
        open_resilient_socket(server.url, dial=server.dial) as socket,
    ):
        await socket.wait_connected()
        with trio.testing.assert_checkpoints():
            await socket.wait_connected()
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                await socket.send(bytes(2**20))


async def test_a_close_of_its_task_is_how_it_closed_though_it_is_dropped_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first close is the one that counts."""
    async with open_memory_server(Script().expect_close(4001, "mine")) as server:
        with pytest.raises(ZeroDivisionError):
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await socket.wait_connected()
                assert socket.task is not None
                socket.task.close(4001, "mine")
                raise ZeroDivisionError
        assert socket.close_event == CloseEvent(code=4001, reason="mine")


async def test_iteration_goes_on_across_reconnections(autojump_clock: trio.testing.MockClock) -> None:
    """And ends quietly when the server says that it is done."""
    scripts = in_turn(Script().send("a").send("b").drop(), Script().reject(503), Script().send("c").close(1000))
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            assert [data async for data in socket] == ["a", "b", "c"]
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            with pytest.raises(GaveUpError, match="the server closed with 1000, after which the retry policy stops"):
                await socket.send("too late")


async def test_what_was_not_received_before_a_reconnection_is_received_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Before anything of the new connection, also what on_connected has left."""
    scripts = in_turn(Script().send("old 1").send("old 2").drop(), Script().send("login").send("new"))

    async def log_in(task: SocketTask) -> None:
        if len(server.connections) == 2:
            assert await task.receive() == "login"

    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            await server.wait_connection(2)
            await socket.wait_connected()
            await trio.testing.wait_all_tasks_blocked()
            assert await collect(socket, 3) == ["old 1", "old 2", "new"]


async def test_a_receive_that_is_cancelled_leaves_what_has_come(autojump_clock: trio.testing.MockClock) -> None:
    """However often: each of them raises, and nothing is lost."""
    async with open_memory_server(Script().send("a").send("b")) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(40):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await socket.receive()
                assert scope.cancelled_caught
            assert await collect(socket, 2) == ["a", "b"]


@pytest.mark.parametrize("greets", [False, True])
async def test_words_before_an_early_close_are_received(
    autojump_clock: trio.testing.MockClock, *, greets: bool
) -> None:
    """Even when the close came before the program had the connection."""

    async def greet(task: SocketTask) -> None:
        await trio.sleep(1)

    async with open_memory_server(Script().send("news").close(1000)) as server:
        greeting = greet if greets else None
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=greeting) as socket:
            assert await socket.receive() == "news"
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()


async def test_without_an_outbox_a_send_needs_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    """It is the connection's own send."""
    async with open_memory_server(in_turn(Script().expect("a").drop(), echo)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=None) as socket:
            with pytest.raises(SocketNotOpenError, match="wait_connected"):
                await socket.send("too early")
            with pytest.raises(SocketNotOpenError):
                socket.send_nowait("too early")
            await socket.wait_connected()
            await socket.send("a")
            await until(socket, ConnectionState.WAITING)
            await socket.wait_connected()
            socket.send_nowait("b")
            assert await socket.receive() == "b"
            await socket.wait_delivered()
            assert socket.task is not None
            assert socket.statistics().sockets.messages_sent == 2


async def test_data_is_checked_before_anything_else(autojump_clock: trio.testing.MockClock) -> None:
    """And refused without harm."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=Outbox(max_bytes=10)) as socket:
            with pytest.raises(TypeError):
                await socket.send(3)  # type: ignore[arg-type]
            with pytest.raises(InvalidOptionsError, match="must fit into the outbox, whose max_bytes is 10"):
                await socket.send("x" * 11)
            buffer = bytearray(b"mine")
            await socket.send(buffer)
            buffer[:] = b"yours"
            assert await socket.receive() == b"mine"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("target", "http://a.test/"),
        ("target", 3),
        ("backoff", 3),
        ("retry", 3),
        ("outbox", 3),
        ("on_connected", 3),
        ("manager", 3),
        ("timeout", 0),
    ],
)
async def test_arguments_are_checked_before_any_io(argument: str, value: object) -> None:
    """At the call, by name."""
    arguments = {"target": "ws://a.test/", argument: value}
    argument = "url" if argument == "target" and isinstance(value, str) else argument
    with pytest.raises(InvalidOptionsError, match=f"^{argument} "):
        open_resilient_socket(**arguments)  # type: ignore[arg-type]


async def test_unread_messages_of_many_connections_are_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that does not receive gets no more connections when its buffer is full, and is told."""

    async def flood(connection: ServerConnection) -> None:
        for _ in range(100):
            await connection.send("x" * 1000)
        await connection.drop()

    async def greet(task: SocketTask) -> None:
        await trio.sleep(1)

    async with open_memory_server(flood) as server:
        async with open_resilient_socket(
            server.url, dial=server.dial, on_connected=greet, receive_buffer=50_000, backoff=HALF
        ) as socket:
            await trio.sleep(3600)
            assert len(server.connections) < 5
            assert socket._attempts.backlog.size < 2 * 50_000 + 2**16
            assert "go on receiving" in socket.state.why
            assert "not connecting" in caplog.text
            before = len(server.connections)
            for _ in range(100):
                await socket.receive()
            await server.wait_connection(before + 1)


async def test_a_socket_that_closes_is_not_connected(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for a connection then waits for the next."""

    async def close_only(connection: ServerConnection) -> None:
        await connection.accept()
        if len(server.connections) == 1:
            await connection.send_raw(b"\x88\x02\x03\xf4")  # Close 1012, and no end of the connection
            await trio.sleep_forever()
        await echo(connection)

    async with open_memory_server(close_only) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=None, backoff=HALF) as socket:
            await server.wait_connection()
            await trio.sleep(1)
            await socket.wait_connected()
            await socket.send("x")
            assert await socket.receive() == "x"


async def test_a_fault_on_the_server_s_side_is_not_swallowed(autojump_clock: trio.testing.MockClock) -> None:
    """The kit's own errors come out of its block."""
    with pytest.raises(MisuseError):
        async with open_memory_server(lambda _connection: None) as server:  # type: ignore[arg-type, return-value]
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await socket.receive()


@pytest.mark.long
async def test_hundreds_of_reconnections_leak_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Neither tasks, nor sockets, nor places, nor listeners, nor memory for what has been."""

    async def greet_and_drop(connection: ServerConnection) -> None:
        await connection.send(str(len(server.connections)))
        await connection.drop()

    async with open_memory_server(greet_and_drop) as server, open_socket_manager(dial=server.dial) as manager:
        async with open_resilient_socket(server.url, manager=manager, backoff=Backoff(random=lambda: 0.0)) as socket:
            for number in range(1, 301):
                assert await socket.receive() == str(number)
                if number == 100:
                    gc.collect()
                    before = trio.lowlevel.current_statistics().tasks_living, count(SocketTask)
            gc.collect()
            after = trio.lowlevel.current_statistics().tasks_living, count(SocketTask)
            assert all(late <= early + 8 for early, late in zip(before, after, strict=True)), (before, after)
            assert len(manager.sockets) <= 1
            assert members_of(manager)._room.statistics().tasks_waiting == 0


def count(kind: type) -> int:
    """Count what is alive of a class."""
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_receive_nowait_goes_on_across_reconnections(autojump_clock: trio.testing.MockClock) -> None:
    """What is not here yet would block, in a gap, too; the end, and giving up, are those of `receive`."""
    scripts = in_turn(Script().send("a").send("b").drop(), Script().reject(503), Script().send("c").close(1000))
    received: list[str | bytes] = []
    blocked = 0
    async with open_memory_server(scripts) as server, open_resilient_socket(server.url, dial=server.dial) as socket:
        with pytest.raises(trio.EndOfChannel):
            while True:
                try:
                    received.append(socket.receive_nowait())
                except trio.WouldBlock:
                    blocked += 1
                    await trio.sleep(0.1)
        with pytest.raises(trio.EndOfChannel):
            socket.receive_nowait()
    assert received == ["a", "b", "c"]
    assert blocked > 0


async def test_receive_nowait_of_what_a_lost_connection_left(autojump_clock: trio.testing.MockClock) -> None:
    """It is received in a gap, before anything of the next connection."""
    scripts = in_turn(Script().send("a").send("b").drop(), Script().send("c").expect_close(1000))
    async with (
        open_memory_server(scripts) as server,
        open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket,
    ):
        await until(socket, ConnectionState.WAITING)
        assert [socket.receive_nowait(), socket.receive_nowait()] == ["a", "b"]
        with pytest.raises(trio.WouldBlock):
            socket.receive_nowait()
        assert await socket.receive() == "c"


async def test_receive_nowait_of_a_socket_that_gave_up(autojump_clock: trio.testing.MockClock) -> None:
    """It says why."""
    async with open_memory_server(Script().reject(403)) as server:
        with pytest.raises(GaveUpError):
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await until(socket, ConnectionState.STOPPED)
                socket.receive_nowait()


async def test_receive_nowait_of_a_connection_that_lives_and_of_one_that_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Between its Close frame and its end nothing comes, but the next connection may."""

    async def linger(connection: ServerConnection) -> None:
        await connection.send("a")
        await trio.sleep(1)
        connection.stall(answering=False)  # so that it does not see the answer
        await connection.send_raw(b"\x88\x02\x03\xf4")  # 1012
        await trio.sleep_forever()

    async with (
        open_memory_server(in_turn(linger, Script().send("b").expect_close(1000))) as server,
        open_resilient_socket(server.url, dial=server.dial, backoff=HALF, close_timeout=5) as socket,
    ):
        await socket.wait_connected()
        await trio.testing.wait_all_tasks_blocked()
        assert socket.receive_nowait() == "a"
        with pytest.raises(trio.WouldBlock):
            socket.receive_nowait()
        await trio.sleep(2)
        assert socket.task is not None
        assert socket.task.close_event is not None
        with pytest.raises(trio.WouldBlock):
            socket.receive_nowait()
        assert await socket.receive() == "b"


@pytest.mark.parametrize(("size", "messages", "expected"), [(1, 3200, 100), (2**20, 10, 10)])
async def test_sending_lets_others_run(size: int, messages: int, expected: int) -> None:
    """Every 32 messages, or every MiB, also where nothing has to be waited for."""
    turns: list[None] = []

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with open_resilient_socket("ws://a.test/", dial=dial) as socket, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(count_turns, turns)
        await trio.lowlevel.checkpoint()
        turns.clear()
        for _ in range(messages):
            await socket.send(bytes(size))
        assert abs(len(turns) - expected) <= 1  # as in one pass tasks run in any order
        nursery.cancel_scope.cancel()
