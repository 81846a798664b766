"""Ctrl-C at any line of the package: a bare KeyboardInterrupt, whole frames, and nothing left behind."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Self

import pytest
import trio
from peer import CLOSE, TEXT, URL, Peer, frame
from trio.testing import memory_stream_pair

import trio_socket_task
from trio_socket_task import (
    ConnectionState,
    ReadyState,
    ResilientSocket,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)

FOLDER = str(Path(trio_socket_task.__file__).parent)
STRIDE = 20  # every line would take minutes; what both kinds of block run is met at every tenth line


class InterruptAtLine:
    """Sends SIGINT when so many lines of the package were run in the main task's own frames or its children's."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __enter__(self) -> Self:
        self._previous = sys.gettrace()
        sys.settrace(self._on_call)  # type: ignore[arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous)

    def _on_call(self, called: FrameType, _event: str, _argument: object) -> object:
        return self._on_line if called.f_code.co_filename.startswith(FOLDER) else None

    def _on_line(self, _frame: FrameType, event: str, _argument: object) -> object:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
        return self._on_line


async def play(peer: Peer) -> None:
    """Greet and echo; every frame that comes must be whole, but for the last of a dropped connection."""
    try:
        await peer.accept(then=frame(TEXT, b"greeting"))
        while (item := await peer.read_frame())[0] != CLOSE:
            await peer.send(frame(*item))
        await peer.send(frame(CLOSE, item[1]))
    except (AssertionError, EOFError, trio.BrokenResourceError):
        pass
    await peer.stream.aclose()


async def conversation(block: str, tasks: list[SocketTask | ResilientSocket]) -> None:
    """Open, talk and close, by each kind of block."""
    async with trio.open_nursery() as nursery:

        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            client, server = memory_stream_pair()
            nursery.start_soon(play, Peer(server))
            await trio.lowlevel.checkpoint()
            return client

        async def talk(task: SocketTask) -> None:
            tasks.append(task)
            await task.wait_open()
            for number in range(3):
                await task.send(f"{number}")
            assert await task.receive() == "greeting"
            listener = task.on_message()
            await task.ping()
            listener.close()

        if block == "resilient":
            async with open_resilient_socket(URL, dial=dial, outbox=None) as socket:
                tasks.append(socket)
                await socket.wait_connected()
                for number in range(3):
                    await socket.send(f"{number}")
                assert await socket.receive() == "greeting"
                states = socket.on_state()
                await states.receive()
                states.close()
        elif block == "manager":
            async with open_socket_manager() as sockets:
                await talk(sockets.connect_socket(URL, dial=dial))
        else:
            async with connect_socket(URL, dial=dial) as task:
                await talk(task)
                await task.aclose(4000)


def leaves(error: BaseException) -> list[BaseException]:
    """Give the exceptions inside groups: the conversation's own nursery makes one."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer is at work already")
@pytest.mark.parametrize(("block", "first"), [("socket", 1), ("manager", 11), ("resilient", 6)])
def test_an_interrupt_at_any_line(block: str, first: int) -> None:
    """Whichever task runs the line, the interrupt comes out once, and every socket is CLOSED."""
    number, ended_by_itself = first, 0
    while ended_by_itself < 2:
        tasks: list[SocketTask | ResilientSocket] = []
        try:
            with InterruptAtLine(number) as interrupt:
                trio.run(lambda tasks=tasks: conversation(block, tasks))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001 (its kind is what is looked at)
            kinds = {type(leaf) for leaf in leaves(error)}
        else:
            kinds = {KeyboardInterrupt}
        assert kinds == {KeyboardInterrupt}, number
        if interrupt.left > 0:
            ended_by_itself += 1
        for task in tasks:
            if isinstance(task, SocketTask):
                assert task.ready_state is ReadyState.CLOSED, number
            else:
                assert task.state.state is ConnectionState.STOPPED, number
        number += STRIDE
    assert number > 500
    gc.collect()  # what was half made when it was interrupted
