"""Ctrl-C at any line of the package: a bare KeyboardInterrupt, whole frames, and nothing left behind."""

from __future__ import annotations

import gc
import inspect
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Self, cast

import pytest
import trio
from conftest import Serve
from peer import CLOSE, TEXT, URL, Peer, frame
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import trio_socket_task
from trio_socket_task import (
    ConnectionState,
    Listener,
    ReadyState,
    ResilientSocket,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._resilient._delivery import Delivery
from trio_socket_task._resilient._sender import Sender
from trio_socket_task._resilient._supervisor import Supervisor
from trio_socket_task._session._mailbox import Mailbox
from trio_socket_task._session._poller import Polled, poller_of_this_run
from trio_socket_task._session._reader import Reader
from trio_socket_task._session._session import Session
from trio_socket_task._session._wakeup import SmallEvent
from trio_socket_task._session._writer import Writer
from trio_socket_task.testing import SocketServer

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


def watch(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[bool]:
    """Note of each call of a function whether Ctrl-C waits until the caller is done."""
    function, seen = getattr(owner, name), []

    def watched(*args: object) -> object:
        seen.append(trio.lowlevel.currently_ki_protected())
        return function(*args)

    monkeypatch.setattr(owner, name, watched)
    return seen


@pytest.mark.parametrize(
    ("call", "owner", "inner"),
    [
        ("send", Sender, "put"),
        ("send_nowait", Sender, "put"),
        ("receive_nowait", SocketTask, "receive_nowait"),
        ("reconnect", Supervisor, "reconnect_now"),
        ("close", Supervisor, "close"),
        ("aclose", Supervisor, "close"),
    ],
)
async def test_a_call_of_a_resilient_socket_is_done_before_an_interrupt(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, call: str, owner: type, inner: str
) -> None:
    """Else the program might find it half done."""
    async with open_resilient_socket(URL, dial=serve(play)) as socket:
        await socket.wait_connected()
        calls: dict[str, Callable[[], object]] = {
            "send": lambda: socket.send("x"),
            "send_nowait": lambda: socket.send_nowait("x"),
        }
        with monkeypatch.context() as patch, suppress(trio.WouldBlock):
            seen = watch(patch, owner, inner)
            called = calls.get(call, getattr(socket, call))()
            if inspect.iscoroutine(called):
                await called
    assert seen == [True]


@pytest.mark.parametrize(("owner", "inner"), [(Session, "wait_closed"), (Delivery, "_send_pings")])
async def test_a_task_of_a_resilient_socket_is_done_before_an_interrupt(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, owner: type, inner: str
) -> None:
    """Which is the main task's to raise."""

    async def greet(task: SocketTask) -> None:
        await task.send("hello")
        await task.receive()

    seen = watch(monkeypatch, owner, inner)
    async with open_resilient_socket(URL, dial=serve(play), on_connected=greet) as socket:
        await socket.send("x")
        await socket.wait_delivered()
    assert seen
    assert all(seen)


@pytest.mark.parametrize(
    ("owner", "inner"),
    [
        (Session, "_serve"),
        (Session, "close"),
        (Writer, "_write"),
        (Reader, "look"),
        (Mailbox, "pop"),
        (Listener, "_release"),
    ],
)
async def test_a_task_or_a_call_of_a_socket_is_done_before_an_interrupt(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, owner: type, inner: str
) -> None:
    """From the first byte to a peer that is silent, and the close."""
    seen = watch(monkeypatch, owner, inner)
    async with connect_socket(URL, dial=serve(play), receive_timeout=5) as task:
        async with task.on_message() as listener:
            for _ in range(3):
                await task.send("x")
            await listener.receive()
        await trio.sleep(10)
        assert task.ready_state is ReadyState.CLOSED
        await task.aclose()
    assert seen
    assert all(seen)


async def test_a_fact_is_told_to_all_who_wait_for_it_before_an_interrupt() -> None:
    """Whoever sets it: between its two halves nobody would wake them any more."""
    seen: list[bool] = []

    class Waited:
        def set(self) -> None:
            seen.append(trio.lowlevel.currently_ki_protected())

    fact = SmallEvent()
    fact._event = cast("trio.Event", Waited())
    fact.set()
    assert seen == [True]
    assert fact.is_set()


class WatchedEpoll:
    """Notes of each change of what the kernel watches whether Ctrl-C waits until the caller is done."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.seen: list[bool] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._epoll, name)

    def modify(self, fd: int, events: int) -> None:
        self.seen.append(trio.lowlevel.currently_ki_protected())
        self._epoll.modify(fd, events)


@asynccontextmanager
async def read_by_its_program(socket_server: SocketServer) -> AsyncIterator[SocketTask]:
    """Connect a socket whose program has just waited for messages itself, so that the poller does not watch it yet."""
    async with connect_socket(socket_server.url) as task:
        await task.send("x")
        await task.receive()
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(task.receive)
                await wait_all_tasks_blocked()
                await task.send("x")
        yield task


@pytest.mark.needs("epoll")
async def test_the_poller_knows_what_it_watches_though_an_interrupt_comes(
    socket_server: SocketServer, mock_clock: MockClock
) -> None:
    """Whoever has it watch a socket, or not."""
    async with read_by_its_program(socket_server) as task:
        poller = poller_of_this_run()
        assert poller is not None
        watched = WatchedEpoll(poller.epoll)
        poller.epoll = cast("select.epoll", watched)
        with trio.move_on_after(0):
            await task.wait_closed()
        assert watched.seen == [True]


@pytest.mark.needs("epoll")
async def test_a_socket_has_somebody_who_reads_though_an_interrupt_comes(
    socket_server: SocketServer, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the poller cannot, the socket's task."""
    async with read_by_its_program(socket_server) as task:
        with monkeypatch.context() as patch:
            patch.setattr(Polled, "watch", lambda *_: False)
            seen = watch(patch, Reader, "_unwatch")
            with trio.move_on_after(0):
                await task.wait_closed()
        assert seen == [True]
