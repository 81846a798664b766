"""`_connect`: one socket for the length of a block."""

from __future__ import annotations

import signal

import pytest
import trio
from conftest import Serve
from peer import TEXT, URL, Peer, frame
from trio.testing import MockClock

from trio_socket_task import (
    CloseEvent,
    Coexist,
    ConnectError,
    InvalidOptionsError,
    ReadyState,
    SocketLimitError,
    SocketTask,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task._session._incoming import Incoming
from trio_socket_task._session._session import Session
from trio_socket_task.testing import SocketServer


async def test_nested_blocks_share_the_runs_limit_of_five(memory_socket_server: SocketServer) -> None:
    """The sixth raises, and its words say how to have more."""

    async def nest(depth: int) -> None:
        async with connect_socket(URL, dial=memory_socket_server.dial):
            if depth < 5:
                await nest(depth + 1)
            else:
                with pytest.raises(SocketLimitError, match=r"connect_socket.url, manager=manager"):
                    await nest(6)

    await nest(1)
    await nest(1)  # all five places are free again


async def test_a_manager_of_ones_own(memory_socket_server: SocketServer) -> None:
    """Its policy counts instead."""
    async with open_socket_manager(Coexist(None)) as manager:
        blocks = [connect_socket(URL, manager=manager, dial=memory_socket_server.dial) for _ in range(7)]
        tasks = [await block.__aenter__() for block in blocks]
        assert manager.sockets == tuple(tasks)
        for block in reversed(blocks):
            await block.__aexit__(None, None, None)
        assert manager.sockets == ()


async def test_errors_come_before_anything_else() -> None:
    """Bad arguments, unknown options."""
    with pytest.raises(InvalidOptionsError, match="url must be absolute"):
        async with connect_socket("test.php"):
            pass
    with pytest.raises(TypeError, match="unknown option 'time_out'"):
        async with connect_socket(URL, time_out=1):  # type: ignore[call-arg]
            pass


async def test_o11_cancelled_while_opening(serve: Serve, autojump_clock: MockClock) -> None:
    """No socket, no task, no slot is left."""
    ended: list[bool] = []

    async def script(peer: Peer) -> None:
        await peer.read_request()
        ended.append(await peer.read_end())

    async with open_socket_manager(Coexist(1)) as manager:
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                async with connect_socket(URL, manager=manager, dial=serve(script)):
                    pass
            assert scope.cancelled_caught
            assert manager.sockets == ()
        await trio.testing.wait_all_tasks_blocked()
    assert ended == [True] * 3


async def test_a_refused_socket_leaves_nothing(serve: Serve) -> None:
    """One exception, un-nested, its slot free."""
    async with open_socket_manager(Coexist(1)) as manager:
        for _ in range(3):
            with pytest.raises(ConnectError):
                async with connect_socket(URL, manager=manager, dial=serve(lambda peer: peer.stream.aclose())):
                    pass
            assert manager.sockets == ()


async def test_a_block_is_entered_once(memory_socket_server: SocketServer) -> None:
    """A second time is a mistake that is named."""
    block = connect_socket(URL, dial=memory_socket_server.dial)
    async with block:
        pass
    with pytest.raises(RuntimeError, match="a block can be entered once"):
        async with block:
            pass


async def test_c7_a_keyboard_interrupt_in_the_body(memory_socket_server: SocketServer) -> None:
    """It comes out unchanged, and the socket is gone."""
    with pytest.raises(KeyboardInterrupt):
        async with connect_socket(URL, dial=memory_socket_server.dial) as task:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
    assert task.close_event == CloseEvent(code=1001)


async def test_a_bug_in_the_package_is_reported(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no rule foresees ends the block with a group, as in any nursery, and nothing is left behind."""

    def fail(_self: Incoming, _data: bytes, **_keywords: object) -> bool:
        raise AssertionError("a bug")

    async def answer(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.send(frame(TEXT, b"x"))
        await peer.read_end()

    task: SocketTask | None = None
    with pytest.raises(BaseExceptionGroup) as caught:
        async with connect_socket(URL, dial=serve(answer)) as task:
            monkeypatch.setattr(Incoming, "receive_data", fail)
            await task.send("x")
            await trio.sleep_forever()
    assert caught.group_contains(AssertionError, match="a bug")
    assert task is not None
    assert task.ready_state is ReadyState.CLOSED
    assert len([event async for event in task.on_close()]) == 1


async def test_a_block_left_as_a_bug_shows(memory_socket_server: SocketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the body itself has succeeded."""
    block = connect_socket(URL, dial=memory_socket_server.dial)
    task = await block.__aenter__()
    monkeypatch.setattr(Session, "_conclude", lambda _self: 1 / 0)
    task.close()
    with pytest.raises(trio.Cancelled):
        await trio.sleep_forever()
    with pytest.raises(BaseExceptionGroup) as caught:
        await block.__aexit__(None, None, None)
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize("manager", [False, 0, "", 5, "x", open_socket_manager()])
async def test_a_manager_that_is_none(manager: object) -> None:
    """Is refused by name before any I/O; the block of one, which was not entered, gives none."""
    with pytest.raises(InvalidOptionsError, match=r"^manager must be what the block of open_socket_manager\(\) gives"):
        async with connect_socket("ws://memory.test/", manager=manager):  # type: ignore[arg-type]
            raise AssertionError
