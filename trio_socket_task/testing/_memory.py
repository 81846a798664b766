"""A connection in memory that behaves like one of a network: what nobody reads fills up, and it can be reset."""

from __future__ import annotations

from typing import final

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

_CAPACITY = 64 * 1024
"""Bytes on their way before a sender waits; the order of a kernel's socket buffers."""


@final
class _Flow:
    """The bytes on their way in one direction."""

    def __init__(self) -> None:
        self._unread = 0
        self._over = False
        self._room = trio.lowlevel.ParkingLot()

    async def sent(self, size: int) -> None:
        """Wait until what was sent is not too far ahead of what was read."""
        self._unread += size
        while self._unread > _CAPACITY:
            if self._over:
                raise trio.BrokenResourceError("the other end is closed")
            await self._room.park()

    def taken(self, size: int) -> None:
        """Note what was read."""
        self._unread -= size
        self._room.unpark_all()

    def end(self) -> None:
        """Wake a sender that waits: nobody will read any more."""
        self._over = True
        self._room.unpark_all()


@final
class MemoryEnd(trio.abc.HalfCloseableStream):
    """One end of a connection in memory."""

    def __init__(self, stream: trio.StapledStream[MemorySendStream, MemoryReceiveStream]) -> None:
        self._stream = stream
        self._broken = False

    def join(self, other: MemoryEnd, outgoing: _Flow, incoming: _Flow) -> None:
        """Connect it with the other end."""
        self._other = other
        self._outgoing = outgoing
        self._incoming = incoming

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, and wait while more than a network holds is on its way."""
        await self._stream.send_all(data)
        await self._outgoing.sent(len(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: whether a send blocks is seen when it is tried."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive; a reset is a `trio.BrokenResourceError`, after what was sent before it."""
        data = bytes(await self._stream.receive_some(max_bytes))
        if self._broken and not data:
            raise trio.BrokenResourceError("the connection was reset by the other end")
        self._incoming.taken(len(data))
        return data

    async def send_eof(self) -> None:
        """End this direction only."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close this end, which the other sees as the end of the stream."""
        self._outgoing.end()
        self._incoming.end()
        await self._stream.aclose()

    def break_other(self) -> None:
        """Make the other end see a reset, and not an end, when this one is closed."""
        self._other.mark_broken()

    def mark_broken(self) -> None:
        """See the end of the stream as a reset."""
        self._broken = True


def memory_connection() -> tuple[MemoryEnd, MemoryEnd]:
    """Return the client's end and the server's."""
    one, other = memory_stream_pair()
    client, server = MemoryEnd(one), MemoryEnd(other)
    to_server, to_client = _Flow(), _Flow()
    client.join(server, to_server, to_client)
    server.join(client, to_client, to_server)
    return client, server
