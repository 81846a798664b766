"""What a message costs, counted and not timed: task steps, waits for I/O, system calls, frames, memory blocks."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from collections import Counter as Counted
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
import trio
from needs import import_or_skip

from trio_socket_task import (
    Coexist,
    ConnectOptions,
    HandshakeError,
    Heartbeat,
    SocketTask,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task._session._busy_poll import waiting_in_this_run
from trio_socket_task._session._clock import clock_of_this_run
from trio_socket_task._session._incoming import Incoming
from trio_socket_task._session._keepalive import Keepalive
from trio_socket_task._session._mailbox import Mailbox
from trio_socket_task._session._pings import Pings
from trio_socket_task._session._statistics import Traffic
from trio_socket_task._session._topic import Topic
from trio_socket_task.testing import Script, ServerConnection, SocketServer, open_memory_server, open_test_server

pytestmark = pytest.mark.needs("cpython")

tracemalloc = import_or_skip("tracemalloc")

MESSAGES = 1000
SMALL = bytes(64)
FOLDERS = tuple(f"trio_socket_task.{name}" for name in ("_socket_task", "_protocol", "_stream", "_session"))
"""What a socket is made of."""


class Counter(trio.abc.Instrument):
    """Counts the steps of this task and of the socket's, and how often the loop waits for I/O."""

    def __init__(self) -> None:
        self._program = trio.lowlevel.current_task()
        self.program = self.socket = self.waits = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.program += task is self._program
        self.socket += task.name.startswith(FOLDERS)

    def before_io_wait(self, timeout: float) -> None:
        self.waits += timeout > 0


class Calls:
    """The system calls that move bytes."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.writes: list[int] = []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Count the reads and writes of plain sockets: the kit's server uses others."""
    counted, read, write = Calls(), os.read, os.write

    def counting_read(descriptor: int, size: int) -> bytes:
        data = read(descriptor, size)
        counted.reads.append(len(data))
        return data

    def counting_write(descriptor: int, data: bytes) -> int:
        size = write(descriptor, data)
        counted.writes.append(size)
        return size

    monkeypatch.setattr(os, "read", counting_read)
    monkeypatch.setattr(os, "write", counting_write)
    return counted


async def echoes(task: SocketTask, count: int) -> None:
    """Send and receive, one in flight."""
    for _ in range(count):
        await task.send(SMALL)
        assert await task.receive() == SMALL


@pytest.mark.needs("files as sockets")
async def test_an_echo_is_one_write_one_read_and_one_step(socket_server: SocketServer, calls: Calls) -> None:
    """The sender writes, and the receiver reads, in the program's own task: nobody else takes a step for it."""
    async with connect_socket(socket_server.url) as task:
        await echoes(task, 10)
        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        calls.reads.clear()
        calls.writes.clear()
        await echoes(task, MESSAGES)
        trio.lowlevel.remove_instrument(counter)
        assert calls.writes == [64 + 6] * MESSAGES
        assert calls.reads == [64 + 2] * MESSAGES
        assert counter.program <= MESSAGES * 1.05
        assert counter.socket <= MESSAGES / 2, "now and then, where the machine is slow, but not for each echo"


@pytest.mark.needs("files as sockets")
async def test_a_burst_is_joined_into_few_writes(socket_server: SocketServer, calls: Calls) -> None:
    """A frame for each message, and a write for each 64 KiB of them."""
    seen: list[ServerConnection] = []

    async def count(connection: ServerConnection) -> None:
        seen.append(connection)
        async for data in connection:
            assert data == SMALL
            if len(connection.received) == MESSAGES:
                await connection.send("all")

    socket_server.handler = count
    async with connect_socket(socket_server.url) as task:
        calls.writes.clear()
        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        for _ in range(MESSAGES):
            await task.send(SMALL)
        trio.lowlevel.remove_instrument(counter)
        assert counter.program <= MESSAGES / 32 + 2
        assert await task.receive() == "all"
        assert sum(calls.writes) == 70 * MESSAGES
        assert len(calls.writes) <= 1 + MESSAGES / 32 + 2
    assert len(seen[0].received) == MESSAGES


async def test_buffered_messages_cost_a_step_for_32(calls: Calls) -> None:
    """And a read for 64 KiB of them."""

    async def flood(connection: ServerConnection) -> None:
        await connection.accept()
        await connection.send_raw((b"\x82\x40" + SMALL) * MESSAGES)
        await connection.wait_closed()

    async with open_test_server(flood) as server, connect_socket(server.url) as task:
        while task.statistics().messages_received < MESSAGES:
            await trio.lowlevel.checkpoint()
        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        for _ in range(MESSAGES):
            assert await task.receive() == SMALL
        trio.lowlevel.remove_instrument(counter)
        assert counter.program <= MESSAGES / 32 + 2
        assert counter.socket <= 2
        assert len(calls.reads) <= 20


@pytest.mark.needs("files as sockets")
async def test_a_large_message_is_moved_in_large_pieces(socket_server: SocketServer, calls: Calls) -> None:
    """Of 64 KiB, most of them without a wait between."""
    message = os.urandom(2**20)
    async with connect_socket(socket_server.url) as task:
        await task.send(message)
        assert await task.receive() == message
        calls.reads.clear()
        calls.writes.clear()
        await task.send(message)
        assert await task.receive() == message
        assert sum(calls.writes) == len(message) + 14
        assert sum(calls.reads) == len(message) + 10
        assert max(calls.reads) == 2**16
        assert len(calls.writes) <= 40


async def test_echoes_leave_nothing_behind(socket_server: SocketServer) -> None:
    """Not a block of memory for each."""
    async with connect_socket(socket_server.url) as task:
        await echoes(task, 100)
        for connection in socket_server.connections:
            connection.received = []
        gc.collect()
        before = sys.getallocatedblocks()
        await echoes(task, MESSAGES)
        for connection in socket_server.connections:
            connection.received = []
        gc.collect()
        assert sys.getallocatedblocks() - before < MESSAGES / 10


@pytest.mark.skipif(sys.gettrace() is not None, reason="what a tracer keeps for each line would count")
async def test_an_idle_socket_is_small(socket_server: SocketServer) -> None:
    """What this package's own lines allocate for one; Trio's part and the system's come on top."""
    async with open_socket_manager(Coexist(None)) as manager, AsyncExitStack() as stack:

        async def open_some(count: int) -> None:
            for _ in range(count):
                await manager.connect_socket(socket_server.url).wait_open()

        await open_some(5)  # what is paid once
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        await open_some(20)
        gc.collect()
        taken = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(inclusive=True, filename_pattern="*/trio_socket_task/_*.py")]
        )
        kept = sum(trace.size for trace in taken.traces) / 20
    assert kept < 7000


@pytest.mark.parametrize("part", [Incoming, Keepalive, Mailbox, Pings, Topic, Traffic])
def test_what_each_socket_has_keeps_no_room_for_weak_references(part: type) -> None:
    """Eight bytes of each, which nothing here needs."""
    assert not hasattr(part, "__weakref__")


async def test_opening_and_closing_is_two_steps_of_the_program(socket_server: SocketServer) -> None:
    """And few of the socket's, of which Trio takes some to connect."""
    async with open_socket_manager() as manager:
        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        for _ in range(10):
            task = manager.connect_socket(socket_server.url)
            await task.wait_open()
            await task.aclose()
        trio.lowlevel.remove_instrument(counter)
        assert counter.program == 10 * 2
        assert counter.socket <= 10 * 9


def parts() -> list[object]:
    """Give the parts of all sockets that are in memory."""
    return [thing for thing in gc.get_objects() if type(thing).__module__.startswith(FOLDERS)]


async def use_up(task: SocketTask, how: str) -> None:
    """Open a socket, use much of what it has, and let it end."""
    async with task.on_message() as listener:
        if how == "refused":
            with pytest.raises(HandshakeError):
                await task.wait_open()
            return
        await task.wait_open()
        for _ in range(10):
            await task.send(SMALL)
        await listener.receive()
        await task.ping()
        if how == "closed":
            await task.aclose()
        else:
            await task.send("end")
            await task.wait_closed()


async def until_told(connection: ServerConnection, how: str) -> None:
    """Echo, and end the connection when the client wants that."""
    async for data in connection:
        if data == "end":
            await (connection.close() if how == "closed by the peer" else connection.drop())
            return
        await connection.send(data)


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
@pytest.mark.parametrize("how", ["closed", "refused", "closed by the peer", "lost"])
async def test_a_closed_socket_leaves_nothing_to_a_collector(kind: str, how: str) -> None:
    """Its last user's goodbye frees it: nothing of it refers to itself in a cycle, and no listener to it."""
    handler = Script().reject(403) if how == "refused" else partial(until_told, how=how)
    watched: ConnectOptions = {"heartbeat": Heartbeat(interval=60), "receive_timeout": 60}
    server_block = open_memory_server(handler) if kind == "memory" else open_test_server(handler, tls=kind == "tls")
    async with server_block as server, open_socket_manager(**watched) as manager, manager.on_socket_message():
        options: ConnectOptions = {"dial": server.dial} if kind == "memory" else {"ssl_context": server.ssl_context}
        _ = waiting_in_this_run(), clock_of_this_run()  # the run's own
        gc.collect()
        gc.disable()
        try:
            before = parts()  # of sockets of other tests
            await use_up(manager.connect_socket(server.url, **options), how)
            assert [part for part in parts() if part not in before] == []
        finally:
            gc.enable()


class Forgetful(trio.abc.Stream):
    """Somebody's stream with a mistake in it: so many pieces can be read."""

    def __init__(self, stream: trio.abc.Stream, reads: int) -> None:
        self.stream = stream
        self.reads = reads

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.reads -= 1
        if self.reads < 0:
            raise LookupError("no bytes today")
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.stream.aclose()


@pytest.mark.parametrize("reads", [0, 1])
async def test_a_mistake_in_a_stream_keeps_no_socket_alive_and_is_found(reads: int) -> None:
    """The callers of its frames are the socket's, so these go; a note says where it was raised."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        return Forgetful(await server.dial(host, port), reads)

    async with open_memory_server() as server, open_socket_manager() as manager:
        _ = waiting_in_this_run(), clock_of_this_run()  # the run's own
        gc.collect()
        gc.disable()
        try:
            before = parts()
            task = manager.connect_socket(server.url, dial=dial)
            await task.wait_closed()
            async with task.on_error() as errors:
                cause = (await errors.receive()).error.__cause__
            assert isinstance(cause, LookupError)
            assert re.match(r"raised in receive_some, .*test_costs.py, line \d+$", cause.__notes__[0])
            del errors, task
            assert [part for part in parts() if part not in before] == []
        finally:
            gc.enable()


async def test_a_log_that_nobody_listens_to_costs_nothing_for_a_message(socket_server: SocketServer) -> None:
    """It is asked when the connection opens, and never again: no message passes through a module of it."""
    called: Counted[str] = Counted()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called[Path(frame.f_code.co_filename).as_posix()] += 1

    async with connect_socket(socket_server.url) as task:
        sys.setprofile(note)
        try:
            await echoes(task, 10)
        finally:
            sys.setprofile(None)
    assert any(path.endswith("_session.py") for path in called)
    of_the_log = ("_frame_log.py", "_frame_parser.py", "_progress.py")
    assert [path for path in called if path.endswith(of_the_log)] == []


@pytest.mark.needs("files as sockets")
async def test_a_log_that_is_listened_to_costs_no_step_and_no_call_of_the_system(
    socket_server: SocketServer, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """A line a frame, and nothing else."""
    caplog.set_level(logging.DEBUG, "trio_socket_task.frames")
    async with connect_socket(socket_server.url) as task:
        await echoes(task, 10)
        calls.reads.clear()
        calls.writes.clear()
        caplog.clear()
        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        await echoes(task, 100)
        trio.lowlevel.remove_instrument(counter)
        assert (calls.writes, calls.reads) == ([64 + 6] * 100, [64 + 2] * 100)
        assert counter.program <= 100 * 1.05
        assert len([record for record in caplog.records if record.name == "trio_socket_task.frames"]) == 200
