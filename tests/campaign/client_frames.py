"""The frames of a client, read from bytes that come in pieces of any size (RFC 6455 section 5.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import final

from deflated import RSV1, Inflator
from peer import BINARY, TEXT

BITS = 12
"""The window of a client that compresses."""
_KEY = 4  # bytes of a masking key


@final
class FrameReader:
    """What a client has sent so far, frame by frame."""

    def __init__(self, inflator: Inflator | None = None) -> None:
        self._data = bytearray()
        self._inflator = inflator  # where compression was agreed on

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take bytes, and give each frame that has become whole: its opcode and its payload."""
        self._data += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        assert data[0] & 0x80, "the client fragments"
        compressed = self._inflator is not None and data[0] & 0x0F in (TEXT, BINARY) and data[0] & 0x70 == RSV1
        assert compressed or not data[0] & 0x70, "the client sets reserved bits"
        assert data[1] & 0x80, "the client does not mask"
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            form, start = (">H", 4) if size == 126 else (">Q", 10)
            if len(data) < start:
                return None
            (size,) = struct.unpack(form, data[2:start])
        end = start + _KEY + size
        if len(data) < end:
            return None
        key, payload = data[start : start + _KEY], bytes(data[start + _KEY : end])
        repeated = (bytes(key) * (size // _KEY + 1))[:size]
        opcode = data[0] & 0x0F
        del data[:end]
        plain = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        if compressed and self._inflator is not None:
            plain = self._inflator.inflate(plain)
        return opcode, plain


def message_of(opcode: int, payload: bytes) -> str | bytes | None:
    """Return the message that a frame is; None for a control frame."""
    if opcode == TEXT:
        return payload.decode()
    return payload if opcode == BINARY else None
