"""A server's end of a connection that speaks raw bytes: no library on the other side hides a fault."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Awaitable, Callable

import trio

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
URL = "ws://server.test/chat"

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""A client's good handshake, for tests that are the client."""

Script = Callable[["Peer"], Awaitable[object]]


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> bytes:
    """Give a server's frame, valid or not."""
    first = (0x80 if fin else 0) | reserved | opcode
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 2**16:
        return struct.pack(">BBH", first, 126, len(payload)) + payload
    return struct.pack(">BBQ", first, 127, len(payload)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Give a server's Close frame."""
    return frame(CLOSE, struct.pack(">H", code) + reason.encode())


async def reset(stream: trio.abc.Stream) -> None:
    """End a connection as a crashed peer does; a memory stream can only end."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


class Peer:
    """What a script plays the server with."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.request = b""
        self.pings: list[bytes] = []
        self.leftover = b""
        """What came of a frame that is not whole yet."""

    async def read_request(self) -> bytes:
        """Read the opening handshake's request and give the right Sec-WebSocket-Accept."""
        while b"\r\n\r\n" not in self.request:
            data = await self.stream.receive_some()
            assert data, "the client closed the connection in its request"
            self.request += data
        key = self.field("sec-websocket-key").encode()
        return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324

    def field(self, name: str) -> str:
        """Give a field of the request."""
        for line in self.request.decode("latin-1").split("\r\n")[1:]:
            if line.lower().startswith(name.lower() + ":"):
                return line.split(":", 1)[1].strip()
        raise AssertionError(f"no {name} in {self.request!r}")

    async def accept(self, *fields: str, then: bytes = b"") -> None:
        """Accept the handshake; `then` follows in the same segment."""
        accept = (await self.read_request()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {accept}", *fields, "", ""]
        await self.stream.send_all("\r\n".join(lines).encode() + then)

    async def send(self, *frames: bytes) -> None:
        """Send raw bytes."""
        await self.stream.send_all(b"".join(frames))

    async def _read(self, size: int) -> bytes:
        while len(self.leftover) < size:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self.leftover += data
        taken, self.leftover = self.leftover[:size], self.leftover[size:]
        return taken

    async def read_frame(self) -> tuple[int, bytes]:
        """Read one frame of the client, which must be whole and masked."""
        first, payload = await self.read_any_frame()
        assert first & 0x80, "the client fragments"
        assert not first & 0x70, "the client sets reserved bits"
        return first & 0x0F, payload

    async def read_any_frame(self) -> tuple[int, bytes]:
        """Read one frame of the client, which must be masked; give its first byte and its payload."""
        first, second = await self._read(2)
        assert second & 0x80, "the client does not mask"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self._read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self._read(8))
        key = await self._read(4)
        payload = await self._read(size)
        repeated = (key * (size // 4 + 1))[:size]
        return first, (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")

    async def read_close(self) -> tuple[int, str]:
        """Read frames up to the client's Close and give its code and reason."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                return (struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")

    async def read_end(self) -> bool:
        """Read until the client ends the connection; True when that was clean."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return False
        return True

    async def finish(self) -> tuple[int, str]:
        """Answer the client's close handshake as a good server does."""
        code, reason = await self.read_close()
        await self.send(frame(CLOSE) if code == 1005 else close_frame(code, reason))
        await self.stream.aclose()
        return code, reason

    async def echo(self) -> None:
        """Send messages back and answer pings until the client closes."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                await self.send(frame(CLOSE, payload))
                await self.stream.aclose()
                return
            if opcode == PING:
                self.pings.append(payload)
                await self.send(frame(PONG, payload))
            elif opcode != PONG:
                await self.send(frame(opcode, payload))


async def echo(peer: Peer) -> None:
    """Accept, and echo."""
    await peer.accept()
    await peer.echo()


async def silent(peer: Peer) -> None:
    """Never answer the handshake."""
    await peer.read_request()
    await peer.read_end()
