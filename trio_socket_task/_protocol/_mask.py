"""Masking (RFC 6455 section 5.3): in C where the extra ``speedups`` is installed, else in Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from struct import iter_unpack
from typing import final

_SMALL = 128  # below it one big-integer xor is the faster way in Python
_BYTE_VALUES = 256


def _table(key_byte: int) -> bytes:
    return bytes(byte ^ key_byte for byte in range(_BYTE_VALUES))


_TABLES = tuple(_table(key_byte) for key_byte in range(_BYTE_VALUES))


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

    __slots__ = ("_keys",)

    _BLOCK = 4096
    _keys: Iterator[tuple[bytes]]

    def __init__(self) -> None:
        self.drop()

    def __call__(self) -> bytes:
        """Return the next four random bytes; no drawn byte is handed out twice, to whatever thread."""
        for (key,) in self._keys:
            return key
        self._keys = iter_unpack("4s", os.urandom(self._BLOCK))
        (key,) = next(self._keys)
        return key

    def drop(self) -> None:
        """Draw a new block for the next key: a forked process must not use the keys that its parent is to use."""
        self._keys = iter_unpack("4s", b"")


next_key = KeySource()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=next_key.drop)
