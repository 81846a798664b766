"""Masking (RFC 6455 section 5.3): in C where the extra ``speedups`` is installed, else in Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import final

_SMALL = 128  # below it one big-integer xor is the faster way in Python
_ROTATIONS = 256


def _table(key_byte: int) -> bytes:
    return bytes(byte ^ key_byte for byte in range(_ROTATIONS))


_TABLES = tuple(_table(key_byte) for key_byte in range(_ROTATIONS))


def mask_in_python(data: bytes | memoryview, key: bytes) -> bytes:
    """Exclusive-or `data` with `key`, four bytes repeated."""
    size = len(data)
    if size <= _SMALL:
        repeated = (key * (size // 4 + 1))[:size]
        number = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)
        return number.to_bytes(size, sys.byteorder)
    masked = bytearray(data)
    for offset in range(4):
        masked[offset::4] = masked[offset::4].translate(_TABLES[key[offset]])
    return bytes(masked)


Mask = Callable[[bytes | memoryview, bytes], bytes]
mask: Mask
"""The fastest way of masking at hand."""
try:
    from websockets.speedups import apply_mask as mask
except ImportError:
    mask = mask_in_python


@final
class KeySource:
    """Masking keys nobody can foretell, drawn from the system in blocks: one system call for a thousand keys."""

    __slots__ = ("_block", "_next")

    _BLOCK = 4096

    def __init__(self) -> None:
        self._block = b""
        self._next = 0

    def __call__(self) -> bytes:
        """Give four bytes that were never given before."""
        start = self._next
        if start == len(self._block):
            self._block = os.urandom(self._BLOCK)
            start = 0
        self._next = start + 4
        return self._block[start : start + 4]


next_key = KeySource()
