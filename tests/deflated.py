"""A peer's side of permessage-deflate by zlib alone: compressed messages, and what is in a client's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from random import Random

from peer import BINARY, CONTINUATION, TEXT, frame

RSV1 = 0x40
TAIL = b"\x00\x00\xff\xff"


def noise(seed: int, size: int) -> bytes:
    """Give bytes that do not shrink, each time the same."""
    return Random(seed).randbytes(size)  # noqa: S311 (not for secrets)


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
