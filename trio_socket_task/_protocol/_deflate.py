"""The streams of permessage-deflate (RFC 7692 section 7.2): messages are inflated in steps, and deflated in pieces."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import final

from trio_socket_task._compression import PerMessageDeflate

from ._compressor import Compressor, new_compressor
from ._constants import RSV1, Opcode
from ._encoder import Frame, encode, encode_message
from ._events import Message

TAIL = b"\x00\x00\xff\xff"
"""What a sync flush ends with, and a message leaves out (section 7.2.1)."""
_EMPTY = b"\x00"
"""A message of nothing (section 7.2.3.6)."""
STEP = 2**16
"""Bytes inflated at once."""
PIECE = 120 * 1024
"""Bytes of a large message deflated at once, and of a fragment about."""
TURN_BYTES = 2**20
"""Bytes inflated, or deflated, before other tasks run."""
CALL, _STREAM = 512, 4096
"""Bytes that might be inflated in the time of a call, and in that of a new stream."""
_HEADER = 14
"""Bytes of a frame's header at most."""


@final
class Inflater:
    """What the peer compresses, inflated in steps: never more at once than is asked for.

    `Decoder` asks for a byte more than the message may have, and refuses it if that comes.
    """

    __slots__ = (
        *("_bits", "_history", "_most_history", "_stream", "_window"),
        *("allowance", "ends_message", "keeps_context", "pending"),
    )

    def __init__(self, agreed: PerMessageDeflate) -> None:
        self._bits = agreed.server_max_window_bits
        self._window = 1 << self._bits
        self._stream: zlib._Decompress | None = None  # made late: many a peer agrees, and never compresses
        self._most_history = self._window + self._window // 2
        self._history = bytearray()  # the window, for the stream that follows upon one that the peer has ended
        self.keeps_context: bool = not agreed.server_no_context_takeover
        """Whether a message refers to those before it."""
        self.pending: bytes | None = None
        """What is not inflated yet, which may be no bytes where the stream has more to give; None when all is."""
        self.allowance: int = TURN_BYTES
        """Bytes that may be inflated before other tasks run; it is counted down."""
        self.ends_message: bool = False
        """Whether what is pending is the last of its message."""

    def feed(self, data: bytes, *, ends: bool) -> None:
        """Take the next bytes of a message; `inflate` returns what is in them."""
        self.pending = data + TAIL if ends else data
        self.ends_message = ends

    def inflate(self, most: int) -> bytes:
        """Return the next `most` bytes, or all that are left.

        Raises:
            zlib.error: It is no deflate stream.
        """
        inflated = self.stream().decompress(self.pending or b"", most)
        self.note(inflated, most)
        if not self.keeps_context and self.ends_message and self.pending is None:
            self._stream = None
            self._history.clear()
        return inflated

    def stream(self) -> zlib._Decompress:
        """Return what inflates; what it does is told by `note`, or by `note_messages`."""
        if self._stream is None:
            self._stream = zlib.decompressobj(-self._bits)
        return self._stream

    def note(self, inflated: bytes, most: int) -> None:
        """Note what was inflated, of `most` bytes that were asked for, and find out what is pending."""
        self.allowance -= len(inflated) + CALL
        self._remember(inflated)
        self.pending = None
        stream = self.stream()
        if stream.eof:
            self._go_on(stream.unused_data)
        elif len(inflated) == most:
            self.pending = stream.unconsumed_tail

    def note_messages(self, messages: Sequence[Message], allowance: int) -> None:
        """Note whole messages that were inflated, with nothing pending, and the allowance that is left."""
        self.allowance = allowance
        latest: list[bytes] = []
        left = self._window
        for data, size in reversed(messages):
            latest.append(data.encode() if isinstance(data, str) else data)
            left -= size
            if left <= 0:
                break
        self._remember(b"".join(reversed(latest)))

    def _remember(self, inflated: bytes) -> None:
        history = self._history
        history += inflated[-self._window :]
        if len(history) > self._most_history:
            del history[: -self._window]

    def _go_on(self, rest: bytes) -> None:
        """Begin a new stream with the same window: the peer has ended the last one (section 7.2.3.4)."""
        self.allowance -= _STREAM
        self._stream = zlib.decompressobj(-self._bits, bytes(self._history[-self._window :]))
        if rest and not (rest == TAIL and self.ends_message):  # where the peer has left the byte 00 out, too
            self.pending = rest

    def discard(self) -> None:
        """Forget everything: nothing that comes matters any more."""
        self.pending = self._stream = None
        self._history.clear()


@final
class Deflater:
    """What this side compresses, in the order in which it is written."""

    __slots__ = ("_agreed", "_stream", "_threshold", "is_eager", "waiting")

    def __init__(self, agreed: PerMessageDeflate) -> None:
        self._agreed = agreed
        self._stream: Compressor | None = None  # made late: many a connection sends nothing that is worth it
        self._threshold = agreed.threshold
        self.is_eager: bool = True
        """Whether the next message is likely to be alone, and written at once: something has been received."""
        self.waiting: int = 0
        """How many messages are yet to be compressed: what follows must not be before they are."""

    def outgoing(self, opcode: Opcode, payload: bytes) -> Outgoing:
        """Return what is written for a message, behind those that were returned before."""
        size = len(payload)
        if size < self._threshold:
            return encode_message(opcode, payload)
        if self.is_eager and not self.waiting and 0 < size <= PIECE:
            self.is_eager = False
            return encode(opcode | RSV1, self.deflate(payload, ends=True))
        self.waiting += 1
        return CompressedMessage(self, opcode, payload)

    def deflate(self, data: bytes | memoryview, *, ends: bool) -> bytes:
        """Return the next bytes of a message, which may be none before it ends."""
        stream = self._stream
        if stream is None:
            stream = self._stream = new_compressor(self._agreed)
        deflated = stream.compress(data)
        if ends:
            deflated = (deflated + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]
            if self._agreed.client_no_context_takeover:
                self._stream = None
        return deflated


@final
class CompressedMessage:
    """A message of a burst, or a large one, that is compressed as it is written: a context must see what the peer gets.

    A large one goes out in fragments (RFC 7692 section 7.2.1), so that it needs no memory for a second message, and
    control frames and other tasks come in between.
    """

    __slots__ = ("_deflater", "_ended", "_opcode", "_rest")

    def __init__(self, deflater: Deflater, opcode: Opcode, payload: bytes) -> None:
        self._deflater = deflater
        self._opcode: int = opcode | RSV1  # of the next frame
        self._rest = memoryview(payload)
        self._ended = False

    def __len__(self) -> int:
        """Return about how many bytes are still to be written, never less than one; 0 when there are none."""
        return 0 if self._ended else len(self._rest) + _HEADER

    def next_frame(self) -> bytes:
        """Compress the next piece and return its frame, until no bytes are left.

        A frame is as long as is worth a write of its own: a short one at the end would wait for the peer's
        acknowledgement of those before, where TCP collects small writes.
        """
        rest, deflated, left = self._rest, b"", TURN_BYTES
        while len(rest) > PIECE + PIECE // 2:
            deflated += self._deflater.deflate(rest[:PIECE], ends=False)
            rest = self._rest = rest[PIECE:]
            left -= PIECE
            if len(deflated) >= PIECE // 2 or left < PIECE:
                opcode, self._opcode = self._opcode, Opcode.CONTINUATION
                return encode(opcode, deflated, 0)
        self._ended, self._rest = True, rest[:0]
        self._deflater.waiting -= 1
        return encode(self._opcode, deflated + self._deflater.deflate(rest, ends=True) if rest else _EMPTY)


Outgoing = Frame | CompressedMessage
"""What is written for a message."""
