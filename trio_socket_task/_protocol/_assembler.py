"""A message in the making: the payloads of its fragments, or of one large frame that comes in piece by piece."""

from __future__ import annotations

import codecs
from typing import final

from ._constants import LARGE, Opcode
from ._events import Message

_SPARE = 2**20
_spares: list[bytearray] = []
"""A buffer that large messages take turns to be gathered in. To allocate one for each, beside the message itself, lets
the system take the memory back and give it anew each time, which costs more than all else."""
_COALESCED = 4096  # parts below it share one buffer, so a million of them do not cost a million objects
_NEW_UTF8 = codecs.getincrementaldecoder("utf-8")


@final
class Assembler:
    """The parts of the message that is coming in."""

    __slots__ = ("_buffer", "_filled", "_parts", "_text", "opcode", "size")

    def __init__(self) -> None:
        self._text: codecs.IncrementalDecoder | None = None
        self.discard()

    def discard(self) -> None:
        """Forget the parts: the message is complete, or will not be."""
        self.opcode: int = 0
        """TEXT or BINARY; 0 between messages."""
        self.size: int = 0
        """Bytes of the frames whose headers have come."""
        self._parts: list[bytes | bytearray] = []
        self._buffer: bytearray | None = None  # instead of parts, for a large message in one frame
        self._filled = 0

    def begin(self, opcode: int, size: int, *, fin: bool) -> None:
        """Begin a message with a frame of `size` bytes, which is all of it if it is `fin`."""
        self.opcode = opcode
        self._text = _NEW_UTF8() if opcode == Opcode.TEXT else None
        if fin and LARGE <= size <= _SPARE:
            self._buffer = _spares.pop() if _spares else bytearray(_SPARE)

    def add(self, part: bytes, *, ends: bool) -> None:
        """Keep a part.

        Raises:
            UnicodeDecodeError: It is text, and cannot become UTF-8 any more.
        """
        if self._text is not None:
            self._text.decode(part, ends)
        if self._buffer is not None:
            filled = self._filled
            self._filled += len(part)
            self._buffer[filled : self._filled] = part
            return
        parts = self._parts
        if len(part) >= _COALESCED:
            parts.append(part)
        elif parts and type(parts[-1]) is bytearray:
            parts[-1] += part
        elif part:
            parts.append(bytearray(part))

    def finish(self) -> Message:
        """Return the message, and be ready for the next."""
        parts, buffer = self._parts, self._buffer
        payload: bytes | bytearray | memoryview
        if buffer is not None:
            payload = memoryview(buffer)[: self.size]
        else:
            payload = parts[0] if len(parts) == 1 else b"".join(parts)
        message = str(payload, "utf-8") if self._text is not None else bytes(payload), self.size
        self.discard()
        if buffer is not None and not _spares:
            _spares.append(buffer)
        return message
