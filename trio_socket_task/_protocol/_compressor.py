"""Deflating: by ISA-L where the extra ``speedups`` is installed, else by zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from trio_socket_task._compression import PerMessageDeflate


class Compressor(Protocol):
    """What deflates: zlib's, or one with its interface."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take bytes, and return what is complete of the stream."""

    def flush(self, mode: int, /) -> bytes:
        """Return the rest of the stream so far."""


def zlib_compressor(agreed: PerMessageDeflate) -> Compressor:
    """Return a new stream of zlib's."""
    return zlib.compressobj(agreed.level, zlib.DEFLATED, -agreed.client_max_window_bits, agreed.memory_level)


new_compressor: Callable[[PerMessageDeflate], Compressor]
"""The fastest way of deflating at hand; `Inflater` has zlib, as nothing inflates small messages faster."""
try:
    from isal import isal_zlib
except ImportError:
    new_compressor = zlib_compressor
else:

    def isal_compressor(agreed: PerMessageDeflate) -> Compressor:
        """Return a new stream of ISA-L's, which has levels up to 3."""
        level = (agreed.level + 2) // 3
        return isal_zlib.compressobj(level, zlib.DEFLATED, -agreed.client_max_window_bits, agreed.memory_level)

    new_compressor = isal_compressor
