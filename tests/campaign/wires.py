"""A connection in memory that behaves like a network: latency, buffers that fill up, pieces of any size, resets."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import final

import attrs
import trio


@final
@attrs.define(eq=False)
class _Flow:
    """The bytes on their way in one direction."""

    capacity: int
    latency: float
    pieces: deque[tuple[float, bytes]] = attrs.field(factory=deque)  # when each arrives; an empty one is the end
    size: int = 0
    ended: bool = False  # no more will be written
    broken: bool = False  # the reader is gone, or the connection was reset
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def put(self, data: bytes) -> None:
        self.pieces.append((trio.current_time() + self.latency, data))
        self.size += len(data)
        self.changed.unpark_all()

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.put(b"")

    def break_off(self) -> None:
        self.broken = True
        self.changed.unpark_all()


@final
class End(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(
        self, outgoing: _Flow, incoming: _Flow, dice: random.Random, on_written: Callable[[bytes], object]
    ) -> None:
        self.closed: bool = False
        """Whether this end was closed."""
        self._outgoing = outgoing
        self._incoming = incoming
        self._dice = dice
        self._on_written = on_written
        self._was_reset = False
        self._sends = trio.Lock()
        self._receives = trio.Lock()
        self.other: End

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as far as there is room; and wait for more."""
        if self._sends.locked():
            raise trio.BusyResourceError("two tasks write at once")
        async with self._sends:
            self._check()
            left = bytes(data)
            while left:
                if self._was_reset or self._outgoing.broken:
                    raise trio.BrokenResourceError("broken pipe")
                room = self._outgoing.capacity - self._outgoing.size
                if room > 0:
                    self._outgoing.put(left[:room])
                    self._on_written(left[:room])
                    left = left[room:]
                else:
                    await self._outgoing.changed.park()
                    self._check()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing: whether a send waits is seen when it is tried."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive a piece of any size."""
        if self._receives.locked():
            raise trio.BusyResourceError("two tasks read at once")
        async with self._receives:
            while True:
                self._check()
                if self._was_reset:
                    raise trio.BrokenResourceError("connection reset by peer")
                pieces = self._incoming.pieces
                if not pieces:
                    await self._incoming.changed.park()
                elif pieces[0][0] > trio.current_time():
                    await trio.sleep_until(pieces[0][0])
                else:
                    return self._take(max_bytes)

    def _take(self, max_bytes: int | None) -> bytes:
        arrival, data = self._incoming.pieces.popleft()
        if not data:
            self._incoming.pieces.append((arrival, data))  # the end stays the end
            return b""
        size = min(len(data), max_bytes or len(data))
        if self._dice.random() < 0.2:
            size = self._dice.randint(1, size)
        if size < len(data):
            self._incoming.pieces.appendleft((arrival, data[size:]))
        self._incoming.size -= size
        self._incoming.changed.unpark_all()
        return data[:size]

    def _check(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("this end was closed")

    async def send_eof(self) -> None:
        """End the direction to the other end."""
        self._outgoing.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close both directions."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close both directions at once."""
        self.closed = True
        self._outgoing.end()
        self._incoming.break_off()
        self._outgoing.changed.unpark_all()

    def reset(self) -> None:
        """Let the other end see a reset, before or after what it has not read yet."""
        self.close()
        self.other._was_reset = True
        self._outgoing.break_off()


def connect(
    dice: random.Random, *, capacity: int, latency: float, on_written: Callable[[bytes], object] = len
) -> tuple[End, End]:
    """Return a client's end and the server's; `on_written` is told what the client has written."""
    to_server, to_client = _Flow(capacity, latency), _Flow(capacity, latency)
    client = End(to_server, to_client, dice, on_written)
    server = End(to_client, to_server, dice, len)
    client.other, server.other = server, client
    return client, server
