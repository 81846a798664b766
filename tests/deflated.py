"""A peer's side of permessage-deflate by zlib alone: compressed messages, and what is in a client's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from random import Random

from peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, frame

RSV1 = 0x40
TAIL = b"\x00\x00\xff\xff"


def noise(seed: int, size: int) -> bytes:
    """Give bytes that do not shrink, each time the same."""
    return Random(seed).randbytes(size)  # noqa: S311 (not for secrets)


@cache
def bomb() -> bytes:
    """Give a gigabyte of nothing, deflated."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    mib = stream.compress(bytes(2**20)) + stream.flush(zlib.Z_FULL_FLUSH)  # which refers to nothing before it
    return (mib * 1024)[: -len(TAIL)]


class Compressor:
    """What a peer compresses with."""

    def __init__(self, *, level: int = 6, bits: int = 15, memory: int = 8, keeps_context: bool = True) -> None:
        self._settings = (level, zlib.DEFLATED, -bits, memory)
        self._window = 1 << bits
        self._keeps_context = keeps_context
        self._history = b""
        self._stream = zlib.compressobj(*self._settings)

    def payload(self, data: str | bytes, *, final: bool = False, flushes: int = 0) -> bytes:
        """Compress a message: `flushes` is how many blocks end inside it, `final` whether its last one is final."""
        data = data.encode() if isinstance(data, str) else data
        parts = []
        step = len(data) // (flushes + 1) + 1
        for start in range(0, len(data), step):
            parts.append(self._stream.compress(data[start : start + step]))
            if start + step < len(data):
                parts.append(self._stream.flush(zlib.Z_SYNC_FLUSH))
        self._history = (self._history + data)[-self._window :]
        if final:  # section 7.2.3.4; the stream that follows has the same window
            ended = b"".join(parts) + self._stream.flush() + b"\x00"
            self._stream = zlib.compressobj(*self._settings, zdict=self._history)
        else:
            rest = self._stream.flush(zlib.Z_SYNC_FLUSH)
            ended = (b"".join(parts) + rest)[:-4] if data else b"\x00"
        if not self._keeps_context:
            self._stream = zlib.compressobj(*self._settings)
        return ended

    def message(self, data: str | bytes, *, final: bool = False, flushes: int = 0) -> bytes:
        """Give a compressed message in one frame."""
        payload = self.payload(data, final=final, flushes=flushes)
        return frame(TEXT if isinstance(data, str) else BINARY, payload, reserved=RSV1)


def fragments(opcode: int, payload: bytes, sizes: Sequence[int], *, reserved: int = RSV1) -> list[bytes]:
    """Give a message's frames: of these sizes, and one for the rest."""
    frames = []
    for size in sizes:
        part, payload = payload[:size], payload[size:]
        frames.append(frame(opcode, part, fin=False, reserved=reserved))
        opcode, reserved = CONTINUATION, 0
    return [*frames, frame(opcode, payload, reserved=reserved)]


class Inflator:
    """What a peer inflates a client's messages with."""

    def __init__(self, bits: int = 15) -> None:
        self._stream = zlib.decompressobj(-bits)

    def inflate(self, payload: bytes) -> bytes:
        """Inflate a whole message."""
        return self._stream.decompress(payload + TAIL)


class CompressingPeer:
    """A server's end with compression, whose contexts are as the client's must be for ever."""

    def __init__(self, peer: Peer, parameters: str = "") -> None:
        self._peer = peer
        self._parameters = parameters
        self._compressor = Compressor()
        self._inflator = Inflator(12)
        self.received: list[bytes] = []
        """Payloads of the messages, inflated."""
        self.firsts: list[int] = []
        """First bytes of all frames."""

    async def accept(self, *messages: str | bytes) -> None:
        """Accept the handshake, and agree to what was offered; messages follow in the same segment."""
        then = b"".join(map(self._compressor.message, messages))
        await self._peer.accept("Sec-WebSocket-Extensions: permessage-deflate" + self._parameters, then=then)
        assert self._peer.field("Sec-WebSocket-Extensions").startswith("permessage-deflate")

    async def read(self) -> tuple[int, bytes]:
        """Read a message, or a control frame, and give its opcode."""
        opcode, parts, compressed = 0, b"", False
        while True:
            first, payload = await self._peer.read_any_frame()
            self.firsts.append(first)
            if first & 0x08:
                assert not parts, "no test of this helper sends so much"
                return first & 0x0F, payload
            if first & 0x0F:
                opcode, compressed = first & 0x0F, bool(first & RSV1)
            parts += payload
            if first & 0x80:
                self.received.append(self._inflator.inflate(parts) if compressed else parts)
                return opcode, self.received[-1]

    async def send(self, *messages: str | bytes) -> None:
        """Send compressed messages in one write."""
        await self._peer.send(*map(self._compressor.message, messages))

    async def echo(self) -> None:
        """Send messages back and answer pings until the client closes, or the connection ends between two frames."""
        try:
            while True:
                opcode, payload = await self.read()
                if opcode == CLOSE:
                    await self._peer.send(frame(CLOSE, payload))
                    await self._peer.stream.aclose()
                    return
                if opcode == PING:
                    await self._peer.send(frame(PONG, payload))
                elif opcode != PONG:
                    await self.send(payload.decode() if opcode == TEXT else payload)
        except EOFError:
            assert not self._peer.leftover, "the client left half a frame"

    async def serve(self) -> None:
        """Accept, and echo."""
        await self.accept()
        await self.echo()


def client_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Take a client's frames apart: first bytes and payloads."""
    found = []
    while data:
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        key, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        repeated = (key * (size // 4 + 1))[:size]
        plain = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        found.append((data[0], plain))
        data = data[start + 4 + size :]
    return found
