"""Assertions that wait, and what they say when they fail."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_socket_task import SocketManager, connect_socket
from trio_socket_task.testing import (
    MisuseError,
    Script,
    ServerConnection,
    SocketServer,
    assert_closed,
    collect,
    hold,
    wait_all_delivered,
)


async def test_assert_closed(autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer) -> None:
    """It waits, and gives the close event."""
    async with connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task:
        task.close(4000, "done")
        assert (await assert_closed(task, 4000)).peer_code == 4000
        assert await assert_closed(task, 4000, "done") == task.close_event
        with pytest.raises(AssertionError, match=r"closed with 4000 'done', not with 1000$"):
            await assert_closed(task)
        with pytest.raises(AssertionError, match=r"not with 4000 'dome'$"):
            await assert_closed(task, 4000, "dome")


async def test_assert_closed_of_an_open_socket(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer
) -> None:
    """It says that it is not, when the time is over."""
    async with connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task:
        with pytest.raises(AssertionError, match=r"OPEN ws://memory.test/> is not closed after 5 s; close it"):
            await assert_closed(task)


async def test_collect(autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer) -> None:
    """From a socket and from a listener."""
    async with connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task:
        async with task.on_message() as messages:
            for data in ("a", "b", "c"):
                await task.send(data)
            assert [event.data for event in await collect(messages, 3)] == ["a", "b", "c"]
        await task.send("d")
        assert await collect(task, 1) == ["d"]
        with pytest.raises(AssertionError, match=r"2 expected of <SocketTask OPEN .*, 0 came, no more came within 1 s"):
            await collect(task, 2, within=1)
        await task.aclose()
        with pytest.raises(AssertionError, match=r"1 expected .*, 0 came, then it ended \(EndOfChannel"):
            await collect(task, 1)


async def test_all_is_delivered(
    autojump_clock: trio.testing.MockClock, socket_manager: SocketManager, memory_socket_server: SocketServer
) -> None:
    """What was sent was read, and what was answered was taken."""
    heard: list[str | bytes] = []

    async def listen() -> None:
        async for data in task:
            heard.append(data)  # noqa: PERF401 (it is looked at meanwhile)

    task = socket_manager.connect_socket("ws://any.test/")
    await task.wait_open()
    connecting = socket_manager.connect_socket("ws://any.test/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for number in range(100):
            await task.send(f"{number}")
        await wait_all_delivered(socket_manager)
        assert heard == [f"{number}" for number in range(100)]
        assert memory_socket_server.connections[0].received == heard
        task.close()
    connecting.close()


async def test_a_socket_that_ends_has_delivered_what_it_could(
    autojump_clock: trio.testing.MockClock, socket_manager: SocketManager, memory_socket_server: SocketServer
) -> None:
    """It is not waited for in vain."""

    async def leave(connection: ServerConnection) -> None:
        connection.stall(answering=False)
        await connection.accept()
        await trio.sleep(1)
        await connection.drop()

    memory_socket_server.handler = leave
    task = socket_manager.connect_socket("ws://any.test/")
    await task.wait_open()
    await wait_all_delivered(socket_manager)
    await assert_closed(task, 1006)


async def test_a_server_that_does_not_read_is_named(
    autojump_clock: trio.testing.MockClock, socket_manager: SocketManager, memory_socket_server: SocketServer
) -> None:
    """By its socket."""
    memory_socket_server.handler = hold
    task = socket_manager.connect_socket("ws://busy.test/")
    await task.wait_open()
    (await memory_socket_server.wait_connection()).stall()
    with pytest.raises(AssertionError, match=r"within 5 s; this does not answer: <SocketTask OPEN ws://busy.test/>"):
        await wait_all_delivered(socket_manager)


async def test_a_task_that_never_waits_is_told_of(socket_manager: SocketManager) -> None:
    """Then nothing comes to rest."""

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spin)
        with pytest.raises(AssertionError, match="some task that never waits"):
            await wait_all_delivered(socket_manager, within=0.01)
        nursery.cancel_scope.cancel()


async def test_what_is_not_read_is_not_delivered(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, socket_manager: SocketManager
) -> None:
    """And it is the program that does not read, not the server that does not answer."""
    memory_socket_server.handler = Script().send("x" * 1000).send("more")
    task = socket_manager.connect_socket("ws://a.test/", receive_buffer=100)
    await task.wait_open()
    await trio.sleep(1)
    with pytest.raises(AssertionError, match="because nobody reads"):
        await wait_all_delivered(socket_manager)


@pytest.mark.parametrize("within", [float("nan"), "a", -1, None])
async def test_a_time_that_is_none(socket_manager: SocketManager, within: float) -> None:
    """Is refused by every assertion that waits."""
    send, receive = trio.open_memory_channel[None](1)
    send.send_nowait(None)
    task = socket_manager.connect_socket("ws://a.test/")
    for wait in (
        lambda: assert_closed(task, within=within),
        lambda: collect(receive, 1, within=within),
        lambda: wait_all_delivered(socket_manager, within=within),
    ):
        with pytest.raises(MisuseError, match=r"takes a number of seconds for within"):
            await wait()
