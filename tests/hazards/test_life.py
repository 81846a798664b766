"""Hazards L1 and L2: what shows that a peer is alive, and that a deadline is not judged before what came is read.

Ids such as L1 are rows of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import os
import signal
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from conftest import Reach, Serve, ServeTcp
from peer import BINARY, CLOSE, PING, PONG, TEXT, URL, Peer, frame
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task import (
    ConnectOptions,
    Heartbeat,
    ReadyState,
    SocketLostError,
    SocketTask,
    connect_socket,
    open_resilient_socket,
)

BEAT = Heartbeat(interval=20, timeout=10)


async def trickle(peer: Peer, data: bytes, *, pieces: int, every: float) -> None:
    """Send data piece by piece, answering nothing meanwhile, as a server must inside a frame; then be a good one."""
    await peer.accept()
    step = -(-len(data) // pieces)
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
        for start in range(0, len(data), step):
            await peer.send(data[start : start + step])
            await trio.sleep(every)
        await peer.echo()


@pytest.mark.parametrize(
    "options", [{"heartbeat": BEAT}, {"receive_timeout": 10.0}, {"heartbeat": BEAT, "receive_timeout": 10.0}]
)
async def test_l1_a_large_message_on_a_slow_link(
    serve: Serve, autojump_clock: MockClock, options: ConnectOptions
) -> None:
    """It takes a minute, in which no pong can come; its bytes are life."""
    data = frame(BINARY, bytes(600_000))
    options = {**options, "dial": serve(lambda peer: trickle(peer, data, pieces=60, every=1))}
    async with connect_socket(URL, **options) as task:
        assert len(await task.receive()) == 600_000
    assert trio.current_time() >= 60


@pytest.mark.parametrize("options", [{"heartbeat": BEAT}, {"receive_timeout": 10.0}])
async def test_l1_many_fragments_on_a_slow_link(
    serve: Serve, autojump_clock: MockClock, options: ConnectOptions
) -> None:
    """A message in fragments is coming in between them, too."""
    data = frame(TEXT, b"x" * 1000, fin=False) + frame(0, b"x" * 1000, fin=False) * 58 + frame(0, b"x" * 1000)
    options = {**options, "dial": serve(lambda peer: trickle(peer, data, pieces=60, every=4))}
    async with connect_socket(URL, **options) as task:
        assert len(await task.receive()) == 60_000


async def test_l1_a_resilient_socket_gets_its_message_in_one_connection(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """With the heartbeat that it has by default."""
    data = frame(BINARY, bytes(600_000))
    dial = serve(lambda peer: trickle(peer, data, pieces=100, every=1))
    async with open_resilient_socket(URL, dial=dial) as socket:
        assert len(await socket.receive()) == 600_000
        assert socket.statistics().attempts == 1


async def test_l1_other_messages_are_life(serve: Serve, autojump_clock: MockClock) -> None:
    """A server that speaks all the time, and is late with its pongs, is alive."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(100):
            await peer.send(frame(TEXT, b"tick"))
            await trio.sleep(1)
        await peer.echo()

    async with connect_socket(URL, dial=serve(script), heartbeat=Heartbeat(interval=5, timeout=5)) as task:
        for _ in range(100):
            assert await task.receive() == "tick"
        assert await task.ping() >= 0


async def test_l1_a_record_of_tls_that_comes_slowly(
    serve_tcp: ServeTcp, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Bytes that cannot be decrypted yet are life, too."""

    class Dripping(trio.abc.Stream):
        """Gives few bytes at a time, slowly, once it is told to."""

        slow = False

        def __init__(self, stream: trio.abc.Stream) -> None:
            self._stream = stream
            self._left = b""

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            if not self._left:
                self._left = bytes(await self._stream.receive_some(max_bytes))
            if self.slow:
                await trio.sleep(0.03)
            size = 500 if self.slow else len(self._left)
            piece, self._left = self._left[:size], self._left[size:]
            return piece

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self._stream.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self._stream.aclose()

    streams: list[Dripping] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        streams.append(Dripping(await trio.open_tcp_stream(host, port)))
        return streams[0]

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.send(frame(BINARY, bytes(16_000)))
        await peer.echo()

    url = await serve_tcp(script, server_context)
    options: ConnectOptions = {"heartbeat": Heartbeat(interval=0.1, timeout=0.5), "receive_timeout": 0.5}
    options |= {"dial": dial, "ssl_context": client_context}
    with trio.fail_after(60):
        async with connect_socket(url, **options) as task:
            streams[0].slow = True
            started = trio.current_time()
            await task.send("now")
            assert len(await task.receive()) == 16_000
            assert trio.current_time() - started > 0.8, "the record came as slowly as it was meant to"
            streams[0].slow = False


@pytest.mark.parametrize("begun", [b"", frame(BINARY, bytes(1000))[:500]])
async def test_l1_a_silent_peer_is_still_found(serve: Serve, autojump_clock: MockClock, begun: bytes) -> None:
    """In time: also in the middle of a message."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(5)
        if begun:
            await peer.send(begun)
        await peer.read_end()

    async with connect_socket(URL, dial=serve(script), heartbeat=BEAT) as task:
        with pytest.raises(SocketLostError, match="no pong within 10 seconds"):
            await task.receive()
        assert round(trio.current_time(), 3) == 30


async def speak_once(peer: Peer) -> None:
    """Ping the client after nine seconds."""
    await trio.sleep(9)
    await peer.send(frame(PING, b"hello"))


async def test_l1_answers_to_this_side_s_pings_are_no_messages(serve: Serve, autojump_clock: MockClock) -> None:
    """For receive_timeout, which asks whether the peer speaks; a ping of the peer's own is something said."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak_once, peer)
            with suppress(EOFError):
                await peer.echo()

    heartbeat = Heartbeat(interval=3, timeout=3)
    async with connect_socket(URL, dial=serve(script), heartbeat=heartbeat, receive_timeout=10) as task:
        with pytest.raises(SocketLostError, match="no message within 10 seconds"):
            await task.receive()
        assert round(trio.current_time(), 3) == 19


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[trio.Process]:
    """Run Python, with pipes, for the length of a block."""
    command = [sys.executable, *arguments]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(10):
                await process.wait()  # it ends with its peer
            process.kill()
            await process.wait()


async def read_line(process: trio.Process) -> bytes:
    """Read what a program prints, up to the end of its line."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some(1)
        assert data, "the program has ended"
        line += data
    return line.strip()


@asynccontextmanager
async def lone_server(kind: str) -> AsyncIterator[str]:
    """Run a server in a process of its own and give its URL."""
    async with program(str(Path(__file__).parent.parent / "lone_server.py"), kind) as server:
        yield f"ws://127.0.0.1:{int(await read_line(server))}/"


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize("kind", ["heartbeat", "receive_timeout"])
async def test_l2_what_came_in_the_instant_of_the_deadline(mock_clock: MockClock, kind: str, *, reading: bool) -> None:
    """The loop comes to itself with the deadline past and the bytes there; which task it runs first is by chance."""
    options: ConnectOptions = {"receive_timeout": 5.0}
    if kind == "heartbeat":
        options = {"heartbeat": Heartbeat(interval=20, timeout=5)}

    async def once(nursery: trio.Nursery) -> None:
        client, server = memory_stream_pair()
        peer = Peer(server)

        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return client

        async def read() -> None:
            async for _ in task:
                pass

        nursery.start_soon(peer.accept)
        options["dial"] = dial
        async with connect_socket(URL, **options) as task:
            if reading:
                nursery.start_soon(read)
            await wait_all_tasks_blocked()
            if kind == "heartbeat":
                mock_clock.jump(20)
                opcode, payload = await peer.read_frame()
                assert opcode == PING
                await peer.send(frame(PONG, payload))
            else:
                await peer.send(frame(TEXT, b"x"))
            mock_clock.jump(6)  # as if the loop had been blocked: nothing ran since the bytes came
            await wait_all_tasks_blocked()
            assert task.ready_state is ReadyState.OPEN
            mock_clock.autojump_threshold = 0
            nursery.start_soon(peer.finish)

    for _ in range(20):
        mock_clock.autojump_threshold = float("inf")
        async with trio.open_nursery() as nursery:
            await once(nursery)


# What has come is read before a deadline is judged. Blocking the loop is what these are about, so the clock is real.


async def stay(task: SocketTask, *, seconds: float, reading: bool) -> None:
    """Block the loop as a program may, and find the socket alive afterwards."""
    async with trio.open_nursery() as nursery:
        if reading:

            async def read() -> None:
                async for _ in task:
                    pass

            nursery.start_soon(read)
        await trio.sleep(0.27)  # a heartbeat has sent its ping, and the pong is not here yet
        time.sleep(seconds)  # noqa: ASYNC251 (as said)
        await trio.sleep(0.02)
        await task.ping()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize("kind", ["answers", "speaks"])
async def test_l2_a_loop_that_was_blocked(kind: str, *, reading: bool) -> None:
    """For longer than the timeout, with the pong or the messages waiting in the kernel."""
    options: ConnectOptions = {"close_timeout": 5}
    if kind == "answers":
        options["heartbeat"] = Heartbeat(interval=0.25, timeout=0.2)
    else:
        options["receive_timeout"] = 0.3
    with trio.fail_after(60):
        async with lone_server(kind) as url, connect_socket(url, **options) as task:
            for _ in range(2):
                await stay(task, seconds=0.4, reading=reading)


CLIENT = """
import sys, trio
from trio_socket_task import Heartbeat, connect_socket

async def main():
    async with connect_socket(sys.argv[1], heartbeat=Heartbeat(interval=0.05, timeout=0.6)) as task:
        print("open", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        print(f"{await task.ping() >= 0}", flush=True)

trio.run(main)
"""


@pytest.mark.needs("stopping")
async def test_l2_a_process_that_was_stopped(serve_tcp: ServeTcp) -> None:
    """As a laptop does that sleeps, or a debugger: the peer has done nothing wrong."""

    async def script(peer: Peer) -> None:
        with suppress(EOFError, trio.BrokenResourceError):
            await peer.accept()
            while True:
                opcode, payload = await peer.read_frame()
                if opcode == CLOSE:
                    await peer.send(frame(CLOSE, payload))
                    return
                await trio.sleep(0.2)  # so that a ping is nearly always on its way
                await peer.send(frame(PONG, payload))

    url = await serve_tcp(script)
    with trio.fail_after(60):
        async with program("-c", CLIENT, url) as client:
            assert client.stdin is not None
            assert await read_line(client) == b"open"
            for _ in range(3):
                os.kill(client.pid, signal.SIGSTOP)
                await trio.sleep(0.8)  # for which it is stopped: longer than its timeout
                os.kill(client.pid, signal.SIGCONT)
                await trio.sleep(0.1)
            await client.stdin.send_all(b"\n")
            assert await read_line(client) == b"True"


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
async def test_l2_a_close_that_came_while_the_loop_was_blocked(reach: Reach, kind: str) -> None:
    """The peer answered the Close in time; its last message and its code are read at the deadline of the close."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        time.sleep(0.4)  # noqa: ASYNC251 (it blocks the client as well)
        await peer.send(frame(TEXT, b"last"), struct.pack(">BBH", 0x88, 2, 4001))
        await peer.read_end()

    with trio.fail_after(60):
        url, options = await reach(kind, script)
        options["close_timeout"] = 0.2
        async with connect_socket(url, **options) as task:
            task.close(4000)
            event = await task.wait_closed()
            assert (event.code, event.peer_code) == (4000, 4001)
            assert await task.receive() == "last"


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
async def test_l2_a_response_that_came_while_the_loop_was_blocked(reach: Reach, kind: str) -> None:
    """The server accepted in time; that is read at the deadline of the opening."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        time.sleep(0.6)  # noqa: ASYNC251 (it blocks the client as well)
        await peer.accept(then=frame(TEXT, b"first"))
        await peer.echo()

    with trio.fail_after(60):
        url, options = await reach(kind, script)
        options["timeout"] = 0.5
        async with connect_socket(url, **options) as task:
            assert await task.receive() == "first"
            await task.send("again")
            assert await task.receive() == "again"


async def test_l2_a_flood_does_not_put_a_deadline_off(serve_tcp: ServeTcp) -> None:
    """What is read at last is bounded, so that leaving takes no longer."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await peer.send(frame(BINARY, bytes(1000)) * 100)

    url = await serve_tcp(script)
    with trio.fail_after(30):
        async with connect_socket(url, close_timeout=0.1) as task:
            await task.receive()
    assert task.close_event is not None
