"""The journeys of `docs/explanation/walk.md`, traced: what the page says of them is what happens."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import final

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_socket_task
from trio_socket_task import Backoff, Outbox, SocketTask, connect_socket, open_resilient_socket
from trio_socket_task.miniprogram import open_mini_program
from trio_socket_task.testing import ServerConnection, SocketServer, open_memory_server, open_test_server

pytestmark = pytest.mark.needs("cpython")

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "walk.md"
PACKAGE = Path(trio_socket_task.__file__).parent
STEP = re.compile(r"^\d+\. `([\w.]+)` \(`([\w./]+)`\)", re.MULTILINE)
TOTAL = re.compile(r"^(?:(About) )?(\d+) calls in (\d+) files", re.MULTILINE | re.IGNORECASE)
SHUFFLED = 6
"""Calls more or less where several tasks take part, which Trio runs in any order."""
Call = tuple[str, str]


@final
@attrs.define
class Trace:
    """The calls of the package's functions, in their order; coroutines that go on are no calls, and the kit's none."""

    calls: list[Call] = attrs.field(factory=list)

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take what the interpreter tells."""
        code, path = frame.f_code, Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(PACKAGE):
            return
        goes_on = code.co_code[frame.f_lasti + 1] & 3  # the argument of RESUME (see the module dis)
        name, file = code.co_qualname.replace("<locals>.", ""), path.relative_to(PACKAGE).as_posix()
        if not goes_on and "<" not in name and not file.startswith("testing/"):
            self.calls.append((name, file))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Trace what happens in the block, whichever task does it."""
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(None)


@asynccontextmanager
async def connected(server: SocketServer) -> AsyncIterator[tuple[SocketTask, ServerConnection]]:
    """Connect to a server that does what the journey tells it."""
    async with connect_socket(server.url) as task:
        yield task, await server.wait_connection()


async def stay(connection: ServerConnection) -> None:
    """Accept, and leave the rest to the journey."""
    await connection.accept()
    await connection.wait_closed()


async def a_text_message_from_the_kernel_to_async_for(trace: Trace) -> None:
    """The program has received twice just before, so it is the one who reads."""

    async def read(task: SocketTask) -> None:
        for _ in range(2):
            assert await task.receive() == "before"
        with trace.on():
            async for data in task:
                assert data == "hello"
                return

    async with open_test_server(stay) as server, connected(server) as (task, connection):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, task)
            for message in ("before", "before", "hello"):
                await connection.send(message)
                await wait_all_tasks_blocked()


async def a_text_message_to_the_kernel(trace: Trace) -> None:
    """Nothing waits to be written."""
    async with open_test_server(stay) as server, connected(server) as (task, connection):
        with trace.on():
            await task.send("hello")
        assert await connection.receive() == "hello"


async def a_close_of_the_peer(trace: Trace) -> None:
    """The background task reads; the program waits for the close."""
    async with open_test_server(stay) as server, connected(server) as (task, connection):
        with trace.on():
            await connection.close(1001, "away")
            await task.wait_closed()


async def a_cancelled_send(trace: Trace) -> None:
    """The buffer is full, but it is cancelled before it waits for room."""
    async with (
        open_memory_server(stay) as server,
        connect_socket(server.url, dial=server.dial, send_buffer=1) as task,
    ):
        (await server.wait_connection()).stall()
        while task.statistics().send_buffered == 0:
            await task.send(bytes(2**20))
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope, trace.on():
            scope.cancel()
            await task.send("hello")


async def a_reconnect_with_one_unconfirmed_message(trace: Trace) -> None:
    """The server drops the connection with the message, and acknowledges it on the next."""

    async def drop_the_first(connection: ServerConnection) -> None:
        await connection.accept()
        await connection.receive()
        if len(server.connections) == 1:
            await connection.drop()
        await connection.wait_closed()

    backoff, outbox = Backoff(random=lambda: 0.0), Outbox(resend=True)
    async with open_memory_server(drop_the_first) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=backoff, outbox=outbox) as socket:
            await socket.wait_connected()
            await wait_all_tasks_blocked()
            await socket.send("hello")
            with trace.on():
                await socket.wait_delivered()


async def wx_connect_socket_until_on_open(trace: Trace) -> None:
    """As a mini program does."""
    opened = trio.Event()
    async with open_memory_server(stay) as server, open_mini_program(dial=server.dial) as wx:
        with trace.on():
            task = wx.connectSocket(url=server.url)
            task.onOpen(lambda _result: opened.set())
            await opened.wait()


JOURNEYS: dict[str, Callable[[Trace], Awaitable[None]]] = {
    "A text message, from the kernel to `async for`": a_text_message_from_the_kernel_to_async_for,
    "A text message, to the kernel": a_text_message_to_the_kernel,
    "A Close of the peer": a_close_of_the_peer,
    "A cancelled send": a_cancelled_send,
    "A reconnect, with one unconfirmed message until it is delivered": a_reconnect_with_one_unconfirmed_message,
    "`wx.connectSocket`, until `onOpen`": wx_connect_socket_until_on_open,
}


def section(heading: str) -> str:
    """Return what the page says of a journey."""
    return PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]


def test_the_page_has_these_journeys() -> None:
    """And no other."""
    assert re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(JOURNEYS)


async def check(heading: str) -> None:
    """Compare a journey with the page: so many calls in so many files, and among them the steps, in their order."""
    await JOURNEYS[heading](Trace())  # what is made once in a process is made now
    trace = Trace()
    await JOURNEYS[heading](trace)
    shown = "\n".join(f"{name} ({file})" for name, file in trace.calls)
    total = TOTAL.search(section(heading))
    assert total is not None
    assert len({file for _, file in trace.calls}) == int(total[3]), shown
    assert abs(len(trace.calls) - int(total[2])) <= (SHUFFLED if total[1] else 0), shown
    left = iter(trace.calls)
    for step in STEP.findall(section(heading)):
        assert step in left, f"{step} does not come, or not in this place, in:\n{shown}"


@pytest.mark.needs("files as sockets")
@pytest.mark.parametrize("heading", list(JOURNEYS)[:3])
async def test_a_journey_by_tcp_is_what_the_page_says(mock_clock: MockClock, heading: str) -> None:
    """With a kernel, while no time passes."""
    await check(heading)


@pytest.mark.parametrize("heading", list(JOURNEYS)[3:])
async def test_a_journey_in_memory_is_what_the_page_says(autojump_clock: MockClock, heading: str) -> None:
    """With waits, in virtual time."""
    await check(heading)
