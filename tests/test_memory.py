"""Bounded memory, measured: whatever the peer sends, and whatever the program does not read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from conftest import ServeTcp
from deflated import RSV1, bomb
from needs import import_or_skip
from peer import BINARY, CONTINUATION, Peer, frame

from trio_socket_task import ConnectOptions, HandshakeError, SocketLostError, connect_socket

pytestmark = pytest.mark.long

tracemalloc = import_or_skip("tracemalloc")

MIB = 2**20
BUFFER = 4 * MIB


class Meter:
    """The most memory that Python objects took since the test began, in bytes."""

    @property
    def peak(self) -> int:
        return int(tracemalloc.get_traced_memory()[1])


@pytest.fixture
def gigabyte() -> bytes:
    """Make a message of a gigabyte of nothing, compressed, before anything is measured."""
    return frame(BINARY, bomb(), reserved=RSV1)


@pytest.fixture
def meter() -> Iterator[Meter]:
    """Measure from here on."""
    tracemalloc.start()
    try:
        yield Meter()
    finally:
        tracemalloc.stop()


async def flood(peer: Peer, piece: bytes, total: int) -> None:
    """Send the same bytes again and again, until the total, or until the client has gone."""
    with suppress(trio.BrokenResourceError):
        for _ in range(total // len(piece)):
            await peer.send(piece)


@pytest.mark.parametrize(
    ("size", "reader"), [(0, "nobody"), (1, "nobody"), (100_000, "nobody"), (0, "a listener"), (100_000, "a listener")]
)
async def test_a_flood_that_nobody_reads(serve_tcp: ServeTcp, meter: Meter, size: int, reader: str) -> None:
    """Stays below three times the receive buffer, objects and all, for messages of every size."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        message = frame(BINARY, bytes(size))
        await flood(peer, message * max(1, 50_000 // len(message)), 100 * MIB)

    options: ConnectOptions = {"receive_buffer": BUFFER, "close_timeout": 0.1}
    with trio.fail_after(60):
        async with connect_socket(await serve_tcp(script), **options) as task:
            listener = task.on_message() if reader == "a listener" else None
            while task.statistics().receive_buffered < BUFFER:
                await trio.lowlevel.checkpoint()
            received = task.statistics().bytes_received
            for _ in range(1000):
                await trio.lowlevel.checkpoint()
            assert task.statistics().bytes_received == received
            assert meter.peak < 3 * BUFFER
            del listener


async def test_an_endless_header(serve_tcp: ServeTcp, meter: Meter) -> None:
    """Costs a few hundred kilobytes."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 101 X\r\n")
        await flood(peer, b"x: y\r\n" * 100, 100 * MIB)

    with trio.fail_after(60), pytest.raises(HandshakeError):
        async with connect_socket(await serve_tcp(script)):
            pass
    assert meter.peak < 2 * MIB


async def test_a_header_of_a_gibibyte(serve_tcp: ServeTcp, meter: Meter) -> None:
    """Is refused before its bytes are taken; one within the limit is not allocated before they come."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=b"\x82\x7f" + struct.pack(">Q", 2**30))
        await flood(peer, bytes(50_000), 100 * MIB)

    with trio.fail_after(60):
        async with connect_socket(await serve_tcp(script), close_timeout=0.2) as task:
            with pytest.raises(SocketLostError):
                await task.receive()
        assert meter.peak < 4 * MIB
        async with connect_socket(await serve_tcp(script), close_timeout=0.2, max_message_size=2**31) as task:
            with trio.move_on_after(0.01):
                await task.receive()
            assert meter.peak < 64 * MIB
            task.close()


async def test_many_fragments_of_one_byte(serve_tcp: ServeTcp, meter: Meter) -> None:
    """Cost less than eight bytes for each byte of the message; that a million take linear time is hazard R11."""
    count = 2**16

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(BINARY, b"x", fin=False))
        await flood(peer, frame(CONTINUATION, b"x", fin=False) * (count // 256), 3 * count)
        await peer.send(frame(CONTINUATION))
        await peer.read_end()

    with trio.fail_after(120):
        async with connect_socket(await serve_tcp(script), close_timeout=0.1) as task:
            assert len(await task.receive()) == count + 1
    assert meter.peak < 8 * count


@pytest.mark.parametrize("limit", [MIB, 4 * MIB])
async def test_a_gigabyte_in_a_megabyte(serve_tcp: ServeTcp, gigabyte: bytes, meter: Meter, limit: int) -> None:
    """It takes the limit and a few hundred KiB, however much more would come of it."""
    closes: list[tuple[int, str]] = []

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        with suppress(trio.BrokenResourceError):
            await peer.send(gigabyte)
        closes.append(await peer.read_close())

    options: ConnectOptions = {"per_message_deflate": True, "max_message_size": limit, "close_timeout": 1}
    with trio.fail_after(60):
        async with connect_socket(await serve_tcp(script), **options) as task:
            with pytest.raises(SocketLostError, match=f"more than {limit} bytes"):
                await task.receive()
    assert closes == [(1009, "")]
    assert meter.peak < limit + 700 * 1024
