"""`_wire`: bytes on a stream, with and without waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from peer import reset
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task._stream._wire import SocketWire, StreamWire, wire_for


async def connected() -> tuple[SocketWire, trio.SocketStream]:
    """Give the two ends of a loopback connection."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
    server = await listeners[0].accept()
    await listeners[0].aclose()
    return SocketWire(client, is_ours=True), server


@pytest.mark.needs("files as sockets")
async def test_the_best_wire_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain socket is used directly where sockets are file descriptors; all else goes through its stream."""
    left, right = socket.socketpair()
    right.close()
    async with trio.SocketStream(trio.socket.from_stdlib_socket(left)) as stream:
        assert isinstance(wire_for(stream, is_ours=True), SocketWire)
        monkeypatch.setattr(os, "name", "nt")
        assert isinstance(wire_for(stream, is_ours=True), StreamWire)
    assert isinstance(wire_for(memory_stream_pair()[0], is_ours=True), StreamWire)


async def test_a_stream_is_written_by_waiting_only() -> None:
    """StreamWire has no way to write at once."""
    client, server = memory_stream_pair()
    wire = StreamWire(client)
    assert wire.send_now(b"x") == 0
    await wire.send(memoryview(b"abc"))
    assert await server.receive_some() == b"abc"
    await server.send_all(b"answer")
    assert await wire.receive(3) == b"ans"
    assert type(await wire.receive(3)) is bytes
    await wire.aclose()
    assert await server.receive_some() == b""


@pytest.mark.needs("files as sockets")
async def test_a_socket_is_read_and_written() -> None:
    """Small data goes at once; the peer's end is no bytes."""
    wire, server = await connected()
    async with server:
        assert wire.send_now(b"hello") == 5
        assert await server.receive_some() == b"hello"
        await server.send_all(b"answer")
        assert await wire.receive(100) == b"answer"
        await server.send_eof()
        assert await wire.receive(100) == b""
        await wire.aclose()
        assert await server.receive_some() == b""


@pytest.mark.needs("files as sockets")
async def test_a_full_socket_takes_nothing_at_once_and_everything_by_waiting() -> None:
    """What the kernel has no room for waits until the peer reads."""
    wire, server = await connected()
    data = os.urandom(8 * 2**20)
    sent = 0
    while taken := wire.send_now(data[sent : sent + 2**20]):
        sent += taken
    received = bytearray()
    async with server, trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, data[sent:])
        await wait_all_tasks_blocked()
        while len(received) < len(data):
            received += await server.receive_some()
    assert received == data
    await wire.aclose()


@pytest.mark.needs("files as sockets")
async def test_a_reset_is_a_broken_resource() -> None:
    """With the OS error as its cause, in both directions."""
    wire, server = await connected()
    await reset(server)
    with pytest.raises(trio.BrokenResourceError, match="reset") as caught:
        await wire.receive(1)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    with pytest.raises(trio.BrokenResourceError) as caught:
        wire.send_now(b"x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    await wire.aclose()


@pytest.mark.needs("files as sockets")
async def test_a_reset_that_was_found_without_waiting_is_told_who_waits() -> None:
    """The kernel tells of it once; after that the connection only seems to have ended."""
    wire, server = await connected()
    await reset(server)
    descriptor = wire.polled_fd()
    assert descriptor is not None
    await trio.lowlevel.wait_readable(descriptor)
    assert wire.receive_now(1) is None
    assert wire.receive_now(1) is None
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await wire.receive(1)
    await wire.aclose()


@pytest.mark.needs("files as sockets")
async def test_only_a_socket_of_ours_is_watched() -> None:
    """Of another it is not known when it is closed."""
    wire, server = await connected()
    assert wire.polled_fd() is not None
    async with server:
        assert SocketWire(server, is_ours=False).polled_fd() is None
    await wire.aclose()


@pytest.mark.needs("files as sockets")
async def test_reading_survives_a_wakeup_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket reported readable may have nothing to read (select(2), BUGS)."""
    wire, server = await connected()
    wait_readable, early = trio.lowlevel.wait_readable, [True]

    async def wake_early(fd: trio.socket.SocketType) -> None:
        if early:
            early.pop()
            await trio.lowlevel.checkpoint()
        else:
            await server.send_all(b"x")
            await wait_readable(fd)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wake_early)
    async with server:
        assert await wire.receive(1) == b"x"
        assert not early
    await wire.aclose()


@pytest.mark.needs("files as sockets")
async def test_closing_wakes_the_reader() -> None:
    """The task that reads gets trio.ClosedResourceError."""
    wire, server = await connected()

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wire.receive(1)

    async with server, trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        await wire.aclose()


class Grouping(trio.abc.Stream):
    """A stream of somebody else's with a nursery inside, which raises groups."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = errors

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        del data
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise BaseExceptionGroup("sending", self._errors)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        del max_bytes
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise BaseExceptionGroup("receiving", self._errors)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_groups_of_a_foreign_stream() -> None:
    """Errors alone are a broken stream; beside a cancellation they are no news."""
    wire = StreamWire(Grouping(ValueError("odd"), KeyError("odd")))
    calls: tuple[Callable[[], Awaitable[object]], ...] = (lambda: wire.send(b"x"), lambda: wire.receive(1))
    for call in calls:
        with pytest.raises(trio.BrokenResourceError) as broken:
            await call()
        assert isinstance(broken.value.__cause__, ExceptionGroup)
    wire = StreamWire(Grouping(ValueError("odd"), KeyboardInterrupt()))
    for call in (lambda: wire.send(b"x"), lambda: wire.receive(1)):
        with pytest.raises(BaseExceptionGroup) as others:
            await call()
        assert [type(error) for error in others.value.exceptions] == [KeyboardInterrupt]
