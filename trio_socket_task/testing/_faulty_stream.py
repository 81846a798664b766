"""The server's end of a connection, which can be made to misbehave."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import final

import trio

from ._memory import MemoryEnd

_CLOSE_FRAME = 0x88  # FIN and opcode 8 (RFC 6455 section 5.2)
_RESERVED_BITS = 0x70
_TLS_HANDSHAKE = b"\x16\x03"  # a record of handshake messages (RFC 8446 section 5.1)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for no time: close by RST


@final
class FaultyStream(trio.abc.Stream):
    """A stream between trio-websocket and the network, with the faults that a test asks for."""

    def __init__(self, stream: MemoryEnd | trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._transport: MemoryEnd | trio.SocketStream = (
            stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        )
        self._reads = trio.Event()
        self._reads.set()
        self._held: list[bytes] | None = None  # what is not sent while answering is stalled
        self._turn = trio.Lock()  # of those who send: trio-websocket, `send_raw`, `resume`
        self.delay: float = 0.0
        """Seconds before anything is sent."""
        self.keeps_open: bool = False
        """Whether Close frames, and the end of the connection, are kept back."""
        self.garbles: bool = False
        """Whether whatever is sent starts with a wrong byte."""
        self.meets_tls: bool = False
        """Whether the client speaks TLS to a server in memory, which does not."""
        self.ended: trio.Event = trio.Event()
        """Set when the client's end, or this one, is gone."""

    @property
    def reads(self) -> bool:
        """Whether it reads."""
        return self._reads.is_set()

    @property
    def answers(self) -> bool:
        """Whether what is sent goes out."""
        return self._held is None

    def stall(self, *, reading: bool, answering: bool) -> None:
        """Stop reading, or sending."""
        if reading and self.reads:
            self._reads = trio.Event()
        if answering and self.answers:
            self._held = []

    def resume_reading(self) -> None:
        """End a stall of reading."""
        self._reads.set()

    async def resume(self) -> None:
        """Read and send again; what was held back goes out."""
        self.resume_reading()
        while self._held:
            await self._write(self._held.pop(0))  # what is sent meanwhile is held back behind it
        self._held = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one frame, or the response of the handshake, for trio-websocket."""
        if self.keeps_open and data[:1] == bytes((_CLOSE_FRAME,)):
            return
        if self.garbles and data:
            data = bytes((data[0] | _RESERVED_BITS,)) + bytes(data[1:])
        await self.send_raw(data)

    async def send_raw(self, data: bytes | bytearray | memoryview) -> None:
        """Send these bytes, late or not at all where that was asked for."""
        if self.delay:
            await trio.sleep(self.delay)
        if self._held is None:
            await self._write(data)
        else:
            self._held.append(bytes(data))

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        async with self._turn:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: whether a send blocks is seen when it is tried."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive, unless reading is stalled."""
        await self._reads.wait()
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        await self._reads.wait()  # it may have been stalled meanwhile
        if isinstance(self._transport, MemoryEnd) and data[:2] == _TLS_HANDSHAKE:
            self.meets_tls = True
        if not data:
            self.ended.set()
        return data

    async def aclose(self) -> None:
        """Close, unless the client is to wait for that in vain."""
        if self.keeps_open:
            await trio.lowlevel.checkpoint()
        else:
            await self.end()

    async def end(self) -> None:
        """Close in every case, at once."""
        self.ended.set()
        with suppress(trio.BrokenResourceError), trio.CancelScope() as scope:
            scope.cancel()  # no close_notify of TLS
            await self._stream.aclose()

    async def drop(self) -> None:
        """Reset the connection."""
        if isinstance(self._transport, MemoryEnd):
            self._transport.break_other()
        else:
            self._transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.ended.set()
        await self._transport.aclose()

    async def half_close(self) -> None:
        """End the direction to the client, without a Close frame or TLS's close_notify."""
        if isinstance(self._transport, MemoryEnd):
            await self._transport.send_eof()
        else:  # also while something is being sent
            with suppress(OSError):  # a client that has reset the connection has ended both directions
                self._transport.socket.shutdown(trio.socket.SHUT_WR)
            await trio.lowlevel.checkpoint()
