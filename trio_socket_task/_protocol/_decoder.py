"""RFC 6455 frames as they come: bytes in, messages out; knows nothing of Trio."""

from __future__ import annotations

import codecs
from collections import deque
from enum import IntEnum
from struct import Struct
from typing import final

import attrs

from trio_socket_task._events import CloseCode


@final
class Opcode(IntEnum):
    """What a frame carries (section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@final
@attrs.frozen
class Ping:
    """A Ping frame came."""

    payload: bytes


@final
@attrs.frozen
class Pong:
    """A Pong frame came."""

    payload: bytes


@final
@attrs.frozen
class Close:
    """A Close frame came; a code of None means that it had none."""

    code: int | None
    reason: str


@final
@attrs.frozen
class Violation:
    """The peer broke the protocol."""

    code: CloseCode
    """What to close the connection with (section 7.4.1)."""
    why: str
    """What it did."""


Message = tuple[str | bytes, int]
"""A message and the bytes it had on the wire."""
Item = Message | Ping | Pong | Close

LARGE = 2**16
"""Bytes from which on a message's length takes 64 bits (section 5.2)."""
_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_MAX_CONTROL = 125  # section 5.5
_MIN_HEADER = 2
_LENGTH_16, _LENGTH_64 = 126, 127  # section 5.2, "Payload length"
_MAX_LENGTH_64 = 2**63 - 1
_UINT16, _UINT64 = Struct(">H"), Struct(">Q")
_TEXT_BYTE, _BINARY_BYTE, _PING_BYTE = _FIN | Opcode.TEXT, _FIN | Opcode.BINARY, _FIN | Opcode.PING
CONTROLS_KEPT = 32
"""Pings that are kept of those that follow one another in one read."""
_SPARE = 2**20
_spares: list[bytearray] = []
"""A buffer that large messages take turns to be gathered in. To allocate one for each, beside the message itself, lets
the system take the memory back and give it anew each time, which costs more than all else."""
_COALESCED = 4096  # parts below it share one buffer, so a million of them do not cost a million objects
_NEW_UTF8 = codecs.getincrementaldecoder("utf-8")

# Section 7.4.1 and the IANA registry: what may stand in a Close frame.
_CODES_ON_WIRE = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


@final
class Decoder:
    """Bytes from a server, turned into messages and control frames.

    After a Close frame or a violation the rest is ignored.
    """

    __slots__ = (
        "_buffer",
        "_fin",
        "_hungry",
        "_left",
        "_max_size",
        "_opcode",
        "_parts",
        "_rest",
        "_size",
        "_text",
        "done",
        "violation",
    )

    def __init__(self, max_message_size: int) -> None:
        self._max_size = max_message_size
        self._rest = b""  # the beginning of a header, a control frame or a small frame
        self._opcode = 0  # of the message that is coming in; 0 between messages
        self._parts: list[bytes | bytearray] = []
        self._buffer: bytearray | None = None  # instead of parts, for a large message in one frame
        self._size = 0
        self._left = 0  # bytes of the present data frame that have not come yet
        self._fin = False  # whether the present data frame ends its message
        self._hungry = False  # in the middle of a large frame, after a piece that completed nothing
        self._text: codecs.IncrementalDecoder | None = None
        self.done = False
        """Whether the rest is ignored."""
        self.violation: Violation | None = None
        """How the peer broke the protocol, once it did."""

    @property
    def inside_message(self) -> bool:
        """Whether a part of a message has come, and its rest has not."""
        return self._opcode != 0

    def goes_on(self, whole: bool) -> bool:  # noqa: FBT001 (it is handed on)
        """Whether it is worth to look for more at once, after a piece that was as large as it could be, or was not.

        It is in the middle of a large message, unless the piece completed something: then the program is to have that
        first, and to let go of it before the next message needs memory. And it is when nothing but the end can come.
        """
        return self.done or (whole and self._hungry)

    def receive(self, data: bytes) -> list[Item]:
        """Take the next bytes and give what is complete."""
        items: list[Item] = []
        if self.done:
            return items
        try:
            self._receive(data, items)
        except UnicodeDecodeError as error:
            self._violate(CloseCode.INVALID_FRAME_PAYLOAD_DATA, f"text that is not UTF-8 ({error.reason})")
        self._hungry = self._left > 0 and not items
        return items

    def _receive(self, data: bytes, items: list[Item]) -> None:
        position = 0
        if self._left:
            position = self._continue_frame(data, 0, items)
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        end = len(data)
        while end - position >= _MIN_HEADER and not self.done:
            stop = self._fragments(data, position) if self._opcode else self._small_messages(data, position, items)
            if stop == position:
                stop = self._frame(data, position, items)
                if stop == position:
                    break
            position = stop
        if position < end and not self.done:
            self._rest = data[position:]

    def _small_messages(self, data: bytes, position: int, items: list[Item]) -> int:
        """Read the messages that have one small frame each, of which a flood is made; give where they end."""
        end, too_large = len(data), min(_LENGTH_16, self._max_size + 1)
        while end - position >= _MIN_HEADER:
            first, size = data[position], data[position + 1]
            start = position + _MIN_HEADER
            stop = start + size
            if stop > end or size >= too_large:
                break
            if first == _BINARY_BYTE:
                items.append((data[start:stop], size))
            elif first == _TEXT_BYTE:
                items.append((data[start:stop].decode(), size))
            else:
                break
            position = stop
        return position

    def _fragments(self, data: bytes, position: int) -> int:
        """Read the small frames in the middle of a message; give where they end."""
        end = len(data)
        while end - position >= _MIN_HEADER:
            first, size = data[position], data[position + 1]
            start = position + _MIN_HEADER
            stop = start + size
            if first != Opcode.CONTINUATION or stop > end or size >= _LENGTH_16 or self._size + size > self._max_size:
                break
            self._size += size
            self._gather(data[start:stop], ends=False)
            position = stop
        return position

    def _frame(self, data: bytes, position: int, items: list[Item]) -> int:
        """Read a frame's header, and its payload as far as it is there; give where it ends, or `position`."""
        first, second = data[position], data[position + 1]
        opcode, fin = first & 0x0F, bool(first & _FIN)
        if not self._header_is_valid(first, second, opcode, fin):
            return position
        start, size = self._length(data, position + _MIN_HEADER, second)
        if self.done or start > len(data):
            return position
        if opcode & 0x8:
            stop = start + size
            if len(data) < stop:
                return position
            return self._control(data, position, stop, items)
        if self._size + size > self._max_size:
            why = f"a message of more than {self._max_size} bytes; raise max_message_size to receive it"
            self._violate(CloseCode.MESSAGE_TOO_BIG, why)
            return position
        if opcode:
            self._opcode = opcode
            self._text = _NEW_UTF8() if opcode == Opcode.TEXT else None
            if fin and LARGE <= size <= _SPARE:
                self._buffer = _spares.pop() if _spares else bytearray(_SPARE)
        self._size += size
        self._left, self._fin = size, fin
        return self._continue_frame(data, start, items)

    def _length(self, data: bytes, start: int, size: int) -> tuple[int, int]:
        """Give where the payload starts, and its size if that is within `data`."""
        if size < _LENGTH_16:
            return start, size
        form = _UINT16 if size == _LENGTH_16 else _UINT64
        if start + form.size > len(data):
            return start + form.size, 0
        (size,) = form.unpack_from(data, start)
        if size < _LENGTH_16 or (form is _UINT64 and not 2**16 <= size <= _MAX_LENGTH_64):
            self._violate(CloseCode.PROTOCOL_ERROR, "a length not in its shortest form (section 5.2)")
        return start + form.size, size

    def _header_is_valid(self, first: int, second: int, opcode: int, fin: bool) -> bool:  # noqa: FBT001
        if first & _RESERVED:
            why = "a reserved bit without an extension that defines it (section 5.2)"
        elif second & _MASKED:
            why = "a masked frame (section 5.1)"
        elif opcode & 0x8:
            if opcode > Opcode.PONG:
                why = f"the unknown opcode {opcode:#x} (section 5.2)"
            elif not fin:
                why = "a fragmented control frame (section 5.5)"
            elif second > _MAX_CONTROL:
                why = "a control frame of more than 125 bytes (section 5.5)"
            else:
                return True
        elif opcode > Opcode.BINARY:
            why = f"the unknown opcode {opcode:#x} (section 5.2)"
        elif opcode and self._opcode:
            why = "a new message inside another (section 5.4)"
        elif not opcode and not self._opcode:
            why = "a continuation of nothing (section 5.4)"
        else:
            return True
        self._violate(CloseCode.PROTOCOL_ERROR, why)
        return False

    def _continue_frame(self, data: bytes, start: int, items: list[Item]) -> int:
        """Take what there is of the present data frame's payload; give where it ends in `data`."""
        stop = min(start + self._left, len(data))
        part = data[start:stop]
        ends = self._fin and stop - start == self._left
        self._gather(part, ends=ends)
        self._left -= len(part)
        if ends:
            parts, buffer = self._parts, self._buffer
            payload: bytes | bytearray | memoryview
            if buffer is not None:
                payload = memoryview(buffer)[: self._size]
            else:
                payload = parts[0] if len(parts) == 1 else b"".join(parts)
            items.append((str(payload, "utf-8") if self._text is not None else bytes(payload), self._size))
            self._opcode = self._size = 0
            self._parts, self._buffer = [], None
            if buffer is not None and not _spares:
                _spares.append(buffer)
        return stop

    def _gather(self, part: bytes, *, ends: bool) -> None:
        """Keep a part of a message; text fails here as soon as it cannot be UTF-8 any more."""
        if self._text is not None:
            self._text.decode(part, ends)
        if self._buffer is not None:
            start = self._size - self._left
            self._buffer[start : start + len(part)] = part
            return
        parts = self._parts
        if len(part) >= _COALESCED:
            parts.append(part)
        elif parts and type(parts[-1]) is bytearray:
            parts[-1] += part
        elif part:
            parts.append(bytearray(part))

    def _control(self, data: bytes, position: int, stop: int, items: list[Item]) -> int:
        """Read a control frame, with the pings, or pongs, that follow upon one; return where they end.

        Of very many pings only the latest are to be answered (section 5.5.3); each pong may be an answer.
        """
        end, kind = len(data), data[position]
        if kind == _FIN | Opcode.CLOSE:
            self._close(data[position + _MIN_HEADER : stop], items)
            return stop
        latest: deque[bytes] = deque(maxlen=CONTROLS_KEPT if kind == _PING_BYTE else None)
        while end - position >= _MIN_HEADER and data[position] == kind and data[position + 1] <= _MAX_CONTROL:
            start = position + _MIN_HEADER
            stop = start + data[position + 1]
            if stop > end:
                break
            latest.append(data[start:stop])
            position = stop
        items.extend(map(Ping if kind == _PING_BYTE else Pong, latest))
        return position

    def _close(self, payload: bytes, items: list[Item]) -> None:
        if len(payload) == 1:
            self._violate(CloseCode.PROTOCOL_ERROR, "a Close frame with half a code (section 5.5.1)")
        elif not payload:
            items.append(Close(None, ""))
            self.done = True
        else:
            (code,) = _UINT16.unpack_from(payload)
            if code not in _CODES_ON_WIRE:
                self._violate(CloseCode.PROTOCOL_ERROR, f"a Close frame with the code {code} (section 7.4)")
                return
            items.append(Close(code, payload[2:].decode()))
            self.done = True

    def _violate(self, code: CloseCode, why: str) -> None:
        self.violation = Violation(code, f"the peer sent {why}")
        self.done = True
        self._parts = []
        self._rest = b""
