"""Every public coroutine and both blocks, cancelled at the n-th step, for every n until they complete."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

import pytest
import trio
from conftest import Serve
from peer import CLOSE, PING, PONG, TEXT, URL, Peer, frame
from trio.testing import MockClock

from trio_socket_task import (
    Coexist,
    ReadyState,
    SocketClosedError,
    SocketLostError,
    SocketManager,
    SocketTask,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task._socket_task import session_of

Operation = Callable[[SocketManager, SocketTask], Awaitable[object]]


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its task has taken so many steps."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._task = trio.lowlevel.current_task()
        self._left = step
        if not step:
            scope.cancel()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(step: int, operation: Callable[[], Awaitable[object]]) -> bool:
    """Run an operation and cancel it after so many steps; False when it was done before."""
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


class Server:
    """A peer that greets, echoes and answers pings; every frame it reads must be whole."""

    def __init__(self) -> None:
        self.connected = 0
        self.received: list[bytes] = []

    async def play(self, peer: Peer) -> None:
        self.connected += 1
        try:
            await peer.accept(then=frame(TEXT, b"greeting"))
            while True:
                opcode, payload = await peer.read_frame()
                if opcode == CLOSE:
                    await peer.send(frame(CLOSE, payload))
                    return
                if opcode == TEXT:
                    self.received.append(payload)
                await peer.send(frame(PONG if opcode == PING else opcode, payload))
        except EOFError:
            assert not peer.leftover, "the client left half a frame"
        except trio.BrokenResourceError:
            pass  # the client dropped the connection, which is its way out when it cannot wait
        except AssertionError:
            assert b"\r\n\r\n" not in peer.request, "the client broke off after its handshake"
        finally:
            await peer.stream.aclose()
            self.connected -= 1


async def send_many(_: SocketManager, task: SocketTask) -> None:
    """Fill the buffer several times over."""
    for number in range(5):
        await task.send(f"{number}" * 1000)


async def iterate(_: SocketManager, task: SocketTask) -> None:
    """Take the greeting and an echo."""
    task.send_nowait("x")
    async for data in task:
        if data == "x":
            return


async def listen(_: SocketManager, task: SocketTask) -> None:
    """The same by a listener."""
    task.send_nowait("x")
    async with task.on_message() as listener:
        async for event in listener:
            if event.data == "x":
                return


async def wait_closed(_: SocketManager, task: SocketTask) -> None:
    """Close, and wait."""
    task.close(4000)
    await task.wait_closed()


async def use_as_resource(_: SocketManager, task: SocketTask) -> None:
    """A Trio resource's own block."""
    async with task:
        await task.ping()


OPERATIONS: list[Operation] = [
    send_many,
    iterate,
    listen,
    wait_closed,
    use_as_resource,
    lambda _, task: task.receive(),
    lambda _, task: task.ping(),
    lambda _, task: task.aclose(4000, "bye"),
    lambda _, task: task.wait_open(),
    lambda _, task: task.on_open().receive(),
    lambda manager, _: manager.send_socket_message("x" * 3000),
]


async def still_right(task: SocketTask) -> None:
    """The socket is usable, or it has ended with its one close event."""
    if task.ready_state is ReadyState.OPEN:
        assert await task.ping() >= 0
        await task.send("still here")
        async for data in task:
            if data == "still here":
                break
    else:
        await task.wait_closed()
        with pytest.raises((SocketClosedError, SocketLostError)):
            await task.send("x")
        assert len([event async for event in task.on_close()]) == 1


@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_operations(serve: Serve, autojump_clock: MockClock, operation: Operation, *, lockstep: bool) -> None:
    """The socket goes on or has ended, the peer saw whole frames only, and nothing is left."""
    server = Server()
    step = -1
    cancelled = True
    while cancelled:
        step += 1
        async with open_socket_manager(Coexist(1)) as manager:
            task = manager.connect_socket(URL, dial=serve(server.play, lockstep=lockstep), send_buffer=1500)
            await task.wait_open()
            cancelled = await cancelled_at(step, lambda task=task, manager=manager: operation(manager, task))  # type: ignore[misc]
            await still_right(task)
            gc.collect(0)
        assert manager.sockets == ()
        assert not session_of(task).subscriptions.message.mailboxes
        await trio.testing.wait_all_tasks_blocked()
        assert server.connected == 0
    assert step > 0
    for message in server.received:
        assert len(set(message)) == 1 or message == b"still here"


async def use_socket(dial: object, tasks: list[SocketTask], manager: SocketManager) -> None:
    """A whole block: connect, talk, leave."""
    async with connect_socket(URL, manager=manager, dial=dial) as task:  # type: ignore[arg-type]
        tasks.append(task)
        await task.send("x")
        assert await task.receive() == "greeting"
        assert await task.receive() == "x"


async def use_manager(dial: object, tasks: list[SocketTask], _: SocketManager) -> None:
    """A manager's block with two sockets."""
    async with open_socket_manager() as manager:
        tasks.extend(manager.connect_socket(URL, dial=dial) for _number in range(2))  # type: ignore[arg-type]
        for task in tasks:
            await task.wait_open()
            await task.send("x")
    assert manager.sockets == ()


@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("block", [use_socket, use_manager])
async def test_blocks(
    serve: Serve,
    autojump_clock: MockClock,
    block: Callable[[object, list[SocketTask], SocketManager], Awaitable[None]],
    *,
    lockstep: bool,
) -> None:
    """Wherever a block is cancelled, its sockets are CLOSED, its slots free, and the peer sees the end."""
    server = Server()
    async with open_socket_manager(Coexist(1)) as manager:
        step = -1
        cancelled = True
        while cancelled:
            step += 1
            tasks: list[SocketTask] = []
            dial = serve(server.play, lockstep=lockstep)
            cancelled = await cancelled_at(step, lambda dial=dial, tasks=tasks: block(dial, tasks, manager))  # type: ignore[misc]
            assert manager.sockets == ()
            for task in tasks:
                assert task.ready_state is ReadyState.CLOSED
                assert len([event async for event in task.on_close()]) == 1
            await trio.testing.wait_all_tasks_blocked()
            assert server.connected == 0
        assert step > 1
