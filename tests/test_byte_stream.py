"""`_byte_stream`: a socket as a Trio stream, as Trio itself checks streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from conftest import Serve
from peer import BINARY, CLOSE, PING, TEXT, URL, Peer, close_frame, echo, frame, reset
from trio.testing import MockClock, check_two_way_stream, lockstep_stream_pair, wait_all_tasks_blocked

from trio_socket_task import (
    Coexist,
    ConnectError,
    SocketClosedError,
    SocketLostError,
    SocketManager,
    SocketNotOpenError,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task.testing import ServerConnection, SocketServer, open_memory_server


@asynccontextmanager
async def relay() -> AsyncIterator[tuple[SocketManager, SocketServer]]:
    """Open a server that hands the messages of each odd connection to the next, and the other way round."""
    waiting: list[tuple[ServerConnection, trio.Event]] = []

    async def copy(source: ServerConnection, sink: ServerConnection) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send(data)
        await sink.close(1000)

    async def handle(connection: ServerConnection) -> None:
        await connection.accept()
        if not waiting:
            waiting.append((connection, trio.Event()))
            await waiting[0][1].wait()
            return
        first, done = waiting.pop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, first, connection)
            nursery.start_soon(copy, connection, first)
        done.set()

    async with open_memory_server(handle) as server, open_socket_manager(Coexist(None)) as manager:
        yield manager, server


async def bridge(one: Peer, two: Peer) -> None:
    """Hand frames on from one lockstep stream to another, so that nothing goes out which is not taken; end both."""

    async def copy(source: Peer, sink: Peer) -> None:
        with suppress(EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            while (received := await source.read_frame())[0] != CLOSE:
                await sink.send(frame(*received))
        for peer in (source, sink):
            await trio.aclose_forcefully(peer.stream)

    await one.accept()
    await two.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy, one, two)
        nursery.start_soon(copy, two, one)


async def test_trio_finds_nothing_to_complain_about(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Every rule of Trio's about sending, receiving, closing, cancelling, two tasks at once, and full buffers."""
    async with relay() as (manager, server):

        async def pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            streams = []
            for _ in range(2):
                task = manager.connect_socket(server.url, dial=server.dial)
                await task.wait_open()
                streams.append(task.as_stream())
            return streams[0], streams[1]

        async def clogged_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            tasks, peers = [], []
            for _ in range(2):
                client, end = lockstep_stream_pair()
                peers.append(Peer(end))

                async def dial(_host: str, _port: int, client: trio.abc.Stream = client) -> trio.abc.Stream:
                    await trio.lowlevel.checkpoint()
                    return client

                tasks.append(manager.connect_socket(URL, dial=dial, send_buffer=1, receive_buffer=1))
            nursery.start_soon(bridge, peers[0], peers[1])
            for task in tasks:
                await task.wait_open()
            streams = [task.as_stream() for task in tasks]
            for stream in streams:
                with trio.move_on_after(10):
                    while True:
                        await stream.send_all(bytes(10_000))
            return streams[0], streams[1]

        await check_two_way_stream(pair, clogged_pair)


async def test_messages_are_bytes_in_any_part(serve: Serve) -> None:
    """Those that come are given out in the parts that are asked for; empty ones are not the end."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, b"abc") + frame(BINARY) + frame(PING) + frame(BINARY, b"defgh"))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        stream = task.as_stream()
        assert [await stream.receive_some(2), await stream.receive_some(2)] == [b"ab", b"c"]
        assert [await stream.receive_some(1), await stream.receive_some()] == [b"d", b"efgh"]
        assert repr(stream) == f"<ByteStream OPEN {URL}>"


async def test_much_goes_out_in_messages_of_64_kib(serve: Serve) -> None:
    """None of them is larger, none is empty, and none is text."""
    sizes: list[tuple[int, int]] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        while (received := await peer.read_frame())[0] != CLOSE:
            sizes.append((received[0], len(received[1])))
        await peer.send(close_frame(1000))
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        await task.as_stream().send_all(b"")
        await task.as_stream().send_all(memoryview(bytes(200_000)).cast("I"))
    assert sizes == [(BINARY, 65536)] * 3 + [(BINARY, 3392)]


async def test_text_is_an_error_that_says_so(serve: Serve) -> None:
    """Again and again, after the bytes that came before it."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, b"ab") + frame(TEXT, b"secret") + frame(BINARY, b"c"))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        stream = task.as_stream()
        assert await stream.receive_some() == b"ab"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match=r"sent a text message \(a str of 6 characters\)"):
                await stream.receive_some()


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_clean_close_of_the_peer_is_the_end(serve: Serve, code: int) -> None:
    """After what it sent; and nothing can be sent any more."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, b"ab") + close_frame(code))
        await peer.read_end()

    async with connect_socket(URL, dial=serve(script), close_timeout=0.1) as task:
        stream = task.as_stream()
        assert [await stream.receive_some(), await stream.receive_some(), await stream.receive_some()] == [
            b"ab",
            b"",
            b"",
        ]
        with pytest.raises(SocketLostError):
            await stream.send_all(b"x")


@pytest.mark.parametrize("kind", ["close", "drop"])
async def test_any_other_end_is_an_error(serve: Serve, kind: str) -> None:
    """The one that `receive` raises, which is one of Trio's."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, b"ab"))
        if kind == "close":
            await peer.send(close_frame(1011, "broken"))
        await reset(peer.stream)

    with pytest.raises(trio.BrokenResourceError, match="broken" if kind == "close" else "lost"):
        async with connect_socket(URL, dial=serve(script)) as task:
            stream = task.as_stream()
            assert await stream.receive_some() == b"ab"
            await stream.receive_some()


async def test_a_socket_that_closes_itself_closes_its_stream(serve: Serve) -> None:
    """Whoever waits is told, and what is called later, too; and the other way round."""
    async with connect_socket(URL, dial=serve(echo)) as task:
        stream = task.as_stream()

        async def wait() -> None:
            with pytest.raises(SocketClosedError):
                await stream.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await task.aclose()
        for call in (stream.receive_some, stream.wait_send_all_might_not_block):
            with pytest.raises(SocketClosedError):
                await call()
        with pytest.raises(SocketClosedError):
            await stream.send_all(b"x")
    async with connect_socket(URL, dial=serve(echo)) as task, task.as_stream() as stream:
        await stream.send_all(b"x")
    assert task.close_event is not None
    assert task.close_event.code == 1000


async def test_a_socket_that_is_not_open_has_no_stream(serve: Serve) -> None:
    """Neither before nor when it never was."""

    async def refuse(peer: Peer) -> None:
        await peer.stream.aclose()

    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(refuse))
        with pytest.raises(SocketNotOpenError):
            task.as_stream()
        with pytest.raises(ConnectError):
            await task.wait_open()
        with pytest.raises(SocketLostError):
            task.as_stream()


async def test_a_line_protocol_over_it(serve: Serve) -> None:
    """Such as NATS speaks: whoever reads lines does not see where messages end."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, b"INFO {}\r\nPI") + frame(BINARY, b"NG\r\n"))
        assert await peer.read_frame() == (BINARY, b"PONG\r\n")
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        stream, rest = task.as_stream(), b""
        lines: list[bytes] = []
        while len(lines) < 2:
            rest += await stream.receive_some(3)
            *whole, rest = rest.split(b"\r\n")
            lines += whole
        assert lines == [b"INFO {}", b"PING"]
        await stream.send_all(b"PONG\r\n")


async def test_other_tasks_run_while_much_is_sent(memory_socket_server: SocketServer) -> None:
    """Once per MiB, also where the send buffer takes it all."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    url, dial = memory_socket_server.url, memory_socket_server.dial
    async with connect_socket(url, dial=dial, send_buffer=2**26) as task, trio.open_nursery() as nursery:
        stream = task.as_stream()
        (await memory_socket_server.wait_connection()).stall()
        nursery.start_soon(count_turns)
        await stream.send_all(bytes(2**24))
        assert turns >= 16
        nursery.cancel_scope.cancel()
