"""RFC 6455 frames as they come: bytes in, messages and control frames out."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from typing import final

from trio_socket_task._events import CloseCode

from ._assembler import Assembler
from ._constants import (
    FIN,
    LARGE,
    LENGTH_16,
    MASKED,
    MAX_CONTROL,
    MAX_LENGTH_64,
    MAX_PONGS,
    MIN_HEADER,
    RECEIVED_CLOSE_CODES,
    RESERVED,
    RSV1,
    UINT16,
    UINT64,
    Opcode,
)
from ._deflate import CALL, STEP, TAIL, TURN_BYTES, Inflater
from ._events import Close, Control, Message, Ping, Pong, Violation

_BINARY_BYTE, _TEXT_BYTE, _PING_BYTE = FIN | Opcode.BINARY, FIN | Opcode.TEXT, FIN | Opcode.PING
_COMPRESSED_TEXT_BYTE = _TEXT_BYTE | RSV1
_COMPRESSED = frozenset({_COMPRESSED_TEXT_BYTE, _BINARY_BYTE | RSV1})
_HEADER_16 = 4
"""Bytes of a header with a length in 16 bits."""
_CONTROL = 0x8  # the bit that the opcodes of control frames have (section 5.2)


@final
class Decoder:
    """Bytes from a server, turned into messages and control frames.

    After a Close frame or a violation the rest is ignored.
    """

    __slots__ = (
        *("_controls", "_fin", "_inflater", "_inflates", "_left", "_max_size", "_message", "_rest"),
        *("done", "in_large_frame", "is_behind"),
    )

    def __init__(self, max_message_size: int, inflater: Inflater | None = None) -> None:
        self._max_size = max_message_size
        self._inflater = inflater  # where compression was agreed on
        self._inflates = False  # whether the present message is compressed
        self._rest = b""  # the beginning of a header, a control frame or a small frame; or what `is_behind`
        self._message = Assembler()
        self._left = 0  # bytes of the present data frame that have not come yet
        self._fin = False  # whether the present data frame ends its message
        self._controls: list[Control] = []
        self.done: bool = False
        """Whether the rest is ignored."""
        self.in_large_frame: bool = False
        """Whether the latest bytes completed nothing, in the middle of a data frame."""
        self.is_behind: bool = False
        """Whether bytes that came wait to be inflated: other tasks are to run, and `receive_data` is called again."""

    @property
    def inside_message(self) -> bool:
        """Whether a part of a message has come, and its rest has not."""
        return self._message.opcode != 0

    def receive_data(self, data: bytes) -> tuple[list[Message], Sequence[Control]]:
        """Take the next bytes and return the messages, and whatever else, that are complete with them."""
        messages: list[Message] = []
        if self.done:
            return messages, ()
        try:
            self._receive(data, messages)
        except UnicodeDecodeError as error:
            self._violate(CloseCode.INVALID_FRAME_PAYLOAD_DATA, f"text that is not UTF-8 ({error.reason})")
        except zlib.error as error:
            self._violate(CloseCode.INVALID_FRAME_PAYLOAD_DATA, f"compressed data that does not inflate ({error})")
        controls = self._controls
        if not controls:
            self.in_large_frame = self._left > 0 and not messages
            return messages, ()
        self.in_large_frame = False
        self._controls = []
        return messages, controls

    def _receive(self, data: bytes, messages: list[Message]) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        inflater = self._inflater
        if inflater is not None:
            inflater.allowance = TURN_BYTES
            if self.is_behind:
                self._inflate(inflater, messages)
        position = self._continue_frame(data, 0, messages) if self._left and not self.is_behind else 0
        end = len(data)
        while end - position >= MIN_HEADER and not self.done and not self.is_behind:
            if self._message.opcode:
                stop = self._read_fragments(data, position)
            elif inflater is not None and inflater.keeps_context and data[position] in _COMPRESSED:
                stop = self._read_compressed_messages(inflater, data, position, messages)
            else:
                stop = self._read_small_messages(data, position, messages)
            if stop == position and not self.is_behind:
                stop = self._read_frame(data, position, messages)
                if stop == position:
                    break
            position = stop
        if position < end and not self.done:
            self._rest = data[position:]

    def _read_small_messages(self, data: bytes, position: int, messages: list[Message]) -> int:
        """Read the messages that have one frame of less than 64 KiB each; return where they end."""
        end, too_large = len(data), min(LENGTH_16, self._max_size + 1)
        while end - position >= MIN_HEADER:
            first, size = data[position], data[position + 1]
            start = position + MIN_HEADER
            if size >= too_large:
                start = position + _HEADER_16
                if size != LENGTH_16 or start > end:
                    break
                size = data[start - 2] << 8 | data[start - 1]
                if not LENGTH_16 <= size <= self._max_size:
                    break
            stop = start + size
            if stop > end:
                break
            if first == _BINARY_BYTE:
                messages.append((data[start:stop], size))
            elif first == _TEXT_BYTE:
                messages.append((data[start:stop].decode(), size))
            else:
                break
            position = stop
        return position

    def _read_fragments(self, data: bytes, position: int) -> int:
        """Read the small frames in the middle of a message; return where they end."""
        end, message = len(data), self._message
        if self._inflates:
            return position
        while end - position >= MIN_HEADER:
            first, size = data[position], data[position + 1]
            start = position + MIN_HEADER
            stop = start + size
            if first != Opcode.CONTINUATION or stop > end or size >= LENGTH_16 or message.size + size > self._max_size:
                break
            message.size += size
            message.add(data[start:stop], ends=False)
            position = stop
        return position

    def _read_frame(self, data: bytes, position: int, messages: list[Message]) -> int:
        """Read a frame's header, and its payload as far as it is there; return where it ends, or `position`."""
        first, second = data[position], data[position + 1]
        opcode, fin = first & 0x0F, bool(first & FIN)
        if not self._header_is_valid(first, second, opcode, fin):
            return position
        start, size = self._read_length(data, position + MIN_HEADER, second)
        if self.done or start > len(data):
            return position
        stop = start + size
        if opcode & _CONTROL:
            return position if stop > len(data) else self._read_controls(data, position, stop)
        message = self._message
        if opcode:
            self._inflates = first & RSV1 != 0
        known = 0 if self._inflates else size  # only inflating tells the size of a compressed message
        if message.size + known > self._max_size:
            self._refuse_size()
            return position
        if opcode and fin and known and stop <= len(data):
            payload = data[start:stop]
            messages.append((payload.decode() if opcode == Opcode.TEXT else payload, size))
            return stop
        if opcode:
            message.begin(opcode, known, fin=fin)
        message.size += known
        self._left, self._fin = size, fin
        return self._continue_frame(data, start, messages)

    def _read_length(self, data: bytes, start: int, size: int) -> tuple[int, int]:
        """Return where the payload starts, and its size if that is within `data`."""
        if size < LENGTH_16:
            return start, size
        form = UINT16 if size == LENGTH_16 else UINT64
        if start + form.size > len(data):
            return start + form.size, 0
        (size,) = form.unpack_from(data, start)
        if size < LENGTH_16 or (form is UINT64 and not LARGE <= size <= MAX_LENGTH_64):
            self._violate(CloseCode.PROTOCOL_ERROR, "a length not in its shortest form (section 5.2)")
        return start + form.size, size

    def _header_is_valid(self, first: int, second: int, opcode: int, fin: bool) -> bool:  # noqa: FBT001 (a bit)
        if first & RESERVED and not self._marks_compression(first, opcode):
            why = "a reserved bit without an extension that defines it (section 5.2)"
        elif second & MASKED:
            why = "a masked frame (section 5.1)"
        elif opcode & _CONTROL:
            if opcode > Opcode.PONG:
                why = f"the unknown opcode {opcode:#x} (section 5.2)"
            elif not fin:
                why = "a fragmented control frame (section 5.5)"
            elif second > MAX_CONTROL:
                why = "a control frame of more than 125 bytes (section 5.5)"
            else:
                return True
        elif opcode > Opcode.BINARY:
            why = f"the unknown opcode {opcode:#x} (section 5.2)"
        elif opcode and self._message.opcode:
            why = "a new message inside another (section 5.4)"
        elif not opcode and not self._message.opcode:
            why = "a continuation of nothing (section 5.4)"
        else:
            return True
        self._violate(CloseCode.PROTOCOL_ERROR, why)
        return False

    def _marks_compression(self, first: int, opcode: int) -> bool:
        """Whether a reserved bit says that this frame begins a compressed message (RFC 7692 section 6)."""
        return self._inflater is not None and first & RESERVED == RSV1 and opcode in {Opcode.TEXT, Opcode.BINARY}

    def _continue_frame(self, data: bytes, start: int, messages: list[Message]) -> int:
        """Take what there is of the present data frame's payload; return where it ends in `data`."""
        stop = min(start + self._left, len(data))
        part = data[start:stop]
        ends = self._fin and stop - start == self._left
        self._left -= len(part)
        if self._inflates and self._inflater is not None:
            self._inflater.feed(part, ends=ends)
            self._inflate(self._inflater, messages)
            return stop
        self._message.add(part, ends=ends)
        if ends:
            messages.append(self._message.finish())
        return stop

    def _inflate(self, inflater: Inflater, messages: list[Message]) -> None:
        """Inflate what has come, until other tasks are to run, or the message is larger than it may be."""
        message = self._message
        while inflater.pending is not None and inflater.allowance > 0:
            most = min(STEP, self._max_size - message.size + 1)
            self._add_inflated(inflater, inflater.inflate(most), messages)
        self.is_behind = inflater.allowance <= 0 and not self.done

    def _add_inflated(self, inflater: Inflater, inflated: bytes, messages: list[Message]) -> None:
        message = self._message
        message.size += len(inflated)
        if message.size > self._max_size:
            self._refuse_size()
            return
        ends = inflater.ends_message and inflater.pending is None
        message.add(inflated, ends=ends)
        if ends:
            messages.append(message.finish())

    def _read_compressed_messages(self, inflater: Inflater, data: bytes, position: int, messages: list[Message]) -> int:
        """Read the compressed messages of one kind that have one frame of less than 64 KiB each; return their end."""
        end, most, before = len(data), min(STEP, self._max_size + 1), len(messages)
        stream, allowance, kind = inflater.stream(), inflater.allowance, data[position]
        is_text = kind == _COMPRESSED_TEXT_BYTE
        while end - position >= MIN_HEADER and allowance > 0:
            first, size = data[position], data[position + 1]
            start = position + MIN_HEADER
            if size >= LENGTH_16:
                start = position + _HEADER_16
                if size != LENGTH_16 or start > end:
                    break
                size = data[start - 2] << 8 | data[start - 1]
                if size < LENGTH_16:
                    break
            stop = start + size
            if stop > end or first != kind:
                break
            inflated = stream.decompress(data[start:stop] + TAIL, most)
            position = stop
            size = len(inflated)
            if size == most or stream.eof:
                inflater.note_messages(messages[before:], allowance)
                inflater.ends_message = True
                inflater.note(inflated, most)
                self._message.begin(kind & 0x0F, 0, fin=False)
                self._add_inflated(inflater, inflated, messages)
                self._inflate(inflater, messages)
                return position
            allowance -= size + CALL
            messages.append((inflated.decode() if is_text else inflated, size))
        inflater.note_messages(messages[before:], allowance)
        self.is_behind = allowance <= 0
        return position

    def _read_controls(self, data: bytes, position: int, stop: int) -> int:
        """Read a control frame, with the pings, or pongs, that follow upon one; return where they end.

        Of very many pings only the latest are to be answered (section 5.5.3); each pong may be an answer.
        """
        end, first = len(data), data[position]
        if first == FIN | Opcode.CLOSE:
            self._read_close(data[position + MIN_HEADER : stop])
            return stop
        latest: deque[bytes] = deque(maxlen=MAX_PONGS if first == _PING_BYTE else None)
        while end - position >= MIN_HEADER and data[position] == first and data[position + 1] <= MAX_CONTROL:
            start = position + MIN_HEADER
            stop = start + data[position + 1]
            if stop > end:
                break
            latest.append(data[start:stop])
            position = stop
        self._controls.extend(map(Ping if first == _PING_BYTE else Pong, latest))
        return position

    def _read_close(self, payload: bytes) -> None:
        if len(payload) == 1:
            self._violate(CloseCode.PROTOCOL_ERROR, "a Close frame with half a code (section 5.5.1)")
        elif not payload:
            self._controls.append(Close(None, ""))
            self.done = True
        else:
            (code,) = UINT16.unpack_from(payload)
            if code not in RECEIVED_CLOSE_CODES:
                self._violate(CloseCode.PROTOCOL_ERROR, f"a Close frame with the code {code} (section 7.4)")
                return
            self._controls.append(Close(code, payload[2:].decode()))
            self.done = True

    def _refuse_size(self) -> None:
        """Refuse a message of more than `max_message_size` bytes, however it came."""
        why = f"a message of more than {self._max_size} bytes; raise max_message_size to receive it"
        self._violate(CloseCode.MESSAGE_TOO_BIG, why)

    def _violate(self, code: CloseCode, why: str) -> None:
        self._controls.append(Violation(code, f"the peer sent {why}"))
        self.done = True
        self._message.discard()
        self._rest = b""
        self._left = 0
        if self._inflater is not None:
            self._inflater.discard()
            self.is_behind = False
