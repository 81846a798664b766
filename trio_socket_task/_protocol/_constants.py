"""What RFC 6455 fixes: opcodes, bits, lengths, close codes."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import final


@final
class Opcode(IntEnum):
    """What a frame carries (section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


FIN, RESERVED = 0x80, 0x70
"""Bits of a frame's first byte (section 5.2)."""
RSV1 = 0x40
"""The reserved bit that says that a message is compressed (RFC 7692 section 6)."""
MASKED = 0x80
"""The highest bit of its second byte."""
MIN_HEADER = 2
LENGTH_16, LENGTH_64 = 126, 127
"""Payload lengths that say that the real one follows, in 16 or in 64 bits (section 5.2)."""
UINT16, UINT64 = Struct(">H"), Struct(">Q")
LARGE = 2**16
"""Bytes from which on a message's length takes 64 bits (section 5.2)."""
MAX_LENGTH_64 = 2**63 - 1
MAX_CONTROL = 125
"""Bytes of a control frame's payload at most (section 5.5)."""
RECEIVED_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""What a peer's Close frame may hold (section 7.4.1, and the registry of IANA); what a program may send: `_checks`."""
MAX_PONGS = 32
"""Pings of one read that are answered, the latest ones (section 5.5.3)."""
