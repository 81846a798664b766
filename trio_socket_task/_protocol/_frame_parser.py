"""Frames as they are on the wire, in either direction, valid or not: the beginning of each, for the log."""

from __future__ import annotations

from typing import final

import attrs

from trio_socket_task._text import printable

from ._constants import FIN, LENGTH_16, MASKED, MIN_HEADER, UINT16, UINT64, Opcode
from ._mask import mask

PREVIEW = 80
"""Characters shown of a payload."""
_MAX_UTF8 = 4  # bytes of a character
_KEY = 4  # bytes of a masking key
_RESERVED_BITS = {0x40: "RSV1", 0x20: "RSV2", 0x10: "RSV3"}
_NAMES = {opcode.value: opcode.name for opcode in Opcode}
_CODE = 2  # bytes of a Close frame's code


@final
@attrs.frozen
class ParsedFrame:
    """A frame's header, and the beginning of its payload."""

    first: int
    second: int
    size: int
    beginning: bytes = attrs.field(repr=False)
    is_text: bool
    """Whether the payload is text, or a part of text, that no extension has changed."""

    def __str__(self) -> str:
        opcode, flags = self.first & 0x0F, ["FIN"] if self.first & FIN else []
        flags += [name for bit, name in _RESERVED_BITS.items() if self.first & bit]
        flags += ["MASK"] if self.second & MASKED else []
        name = _NAMES.get(opcode, f"opcode {opcode:#x}")
        return f"{name} {self.size} bytes, {' '.join(flags) or 'no flags'}: {self._preview(opcode)}".removesuffix(": ")

    def _preview(self, opcode: int) -> str:
        payload = self.beginning
        if self.is_text:
            return printable(payload.decode(errors="backslashreplace"))[:PREVIEW]
        if opcode == Opcode.CLOSE and len(payload) >= _CODE:
            reason = payload[_CODE:].decode(errors="backslashreplace")
            return f"{UINT16.unpack_from(payload)[0]} {printable(reason)}".rstrip()[:PREVIEW]
        return payload.hex()[:PREVIEW]


@final
class FrameParser:
    """The bytes of one direction, turned into the frames that begin in them."""

    __slots__ = ("_compressed", "_data", "_skip", "_text")

    def __init__(self) -> None:
        self._data = b""  # the beginning of a frame, of which there is not enough to show it
        self._skip = 0  # bytes of a payload that was shown
        self._text = self._compressed = False  # what the message is that continuation frames belong to

    def receive_data(self, data: bytes | memoryview) -> list[ParsedFrame]:
        """Take the next bytes, and return the frames of which enough is there to show them."""
        frames: list[ParsedFrame] = []
        data = self._data + bytes(data)
        position, end = 0, len(data)
        while True:
            skipped = min(self._skip, end - position)
            self._skip -= skipped
            position += skipped
            frame, start = self._parse(data, position)
            if frame is None:
                break
            frames.append(frame)
            position, self._skip = start, frame.size
        self._data = data[position:]
        return frames

    def _parse(self, data: bytes, position: int) -> tuple[ParsedFrame | None, int]:
        """Return the frame that begins at `position`, and where its payload starts."""
        if len(data) - position < MIN_HEADER:
            return None, position
        first, second = data[position], data[position + 1]
        size, start = second & ~MASKED, position + MIN_HEADER
        if size >= LENGTH_16:
            form = UINT16 if size == LENGTH_16 else UINT64
            if len(data) - start < form.size:
                return None, position
            (size,) = form.unpack_from(data, start)
            start += form.size
        key = data[start : start + _KEY] if second & MASKED else b""
        start += _KEY if second & MASKED else 0
        shown = min(size, PREVIEW * _MAX_UTF8)
        if len(data) - start < shown:
            return None, position
        beginning = data[start : start + shown]
        opcode = first & 0x0F
        if opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._text, self._compressed = opcode == Opcode.TEXT, bool(first & 0x70)
        is_text = opcode <= Opcode.TEXT and self._text and not self._compressed
        return ParsedFrame(first, second, size, mask(beginning, key) if key else beginning, is_text), start
