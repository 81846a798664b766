"""RFC 6455 frames as they go: opcodes and payloads in, masked bytes out."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import final

from trio_socket_task._events import CloseCode

from ._constants import FIN, LARGE, LENGTH_16, LENGTH_64, MASKED, UINT16, Opcode
from ._mask import mask, next_key

PIECE = 120 * 1024
"""Bytes of a large message that are masked at once: as many as an allocator gives from memory that it has."""

_HEADER, _HEADER_16, _HEADER_64 = Struct(">BB4s"), Struct(">BBH4s"), Struct(">BBQ4s")
"""A client's frame before its payload, by the form of the length (section 5.2)."""


def encode(opcode: int, payload: bytes, bits: int = FIN) -> bytes:
    """Return a whole client frame, masked with a new key (sections 5.2 and 5.3); final unless `bits` says else."""
    size = len(payload)
    key = next_key()
    if size < LENGTH_16:
        header = _HEADER.pack(bits | opcode, MASKED | size, key)
    elif size < LARGE:
        header = _HEADER_16.pack(bits | opcode, MASKED | LENGTH_16, size, key)
    else:
        header = _HEADER_64.pack(bits | opcode, MASKED | LENGTH_64, size, key)
    return header + mask(payload, key)


@final
class LargeFrame:
    """A client frame of 64 KiB or more, masked piece by piece as it is iterated: each time in the same way.

    A whole copy of a large message costs more time, for memory that the system has to give anew, than its masking.
    """

    __slots__ = ("_header", "_key", "_payload")

    def __init__(self, opcode: Opcode, payload: bytes) -> None:
        self._key = next_key()
        self._header = _HEADER_64.pack(FIN | opcode, MASKED | LENGTH_64, len(payload), self._key)
        self._payload = payload

    def __len__(self) -> int:
        return len(self._header) + len(self._payload)

    def __iter__(self) -> Iterator[bytes]:
        view, key = memoryview(self._payload), self._key
        yield self._header + mask(view[:PIECE], key)
        for start in range(PIECE, len(view), PIECE):
            yield mask(view[start : start + PIECE], key)


Frame = bytes | LargeFrame


def encode_message(opcode: Opcode, payload: bytes) -> Frame:
    """Return the frame of a message."""
    return encode(opcode, payload) if len(payload) < LARGE else LargeFrame(opcode, payload)


def encode_close(code: int | None, reason: bytes = b"") -> bytes:
    """Return a Close frame (section 5.5.1); a code of None or 1005 leaves it empty."""
    if code is None or code == CloseCode.NO_STATUS_RCVD:
        return encode(Opcode.CLOSE, b"")
    return encode(Opcode.CLOSE, UINT16.pack(code) + reason)
