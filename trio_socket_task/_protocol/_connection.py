"""The client's end of a connection: bytes in give messages and control frames, intents give bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from trio_socket_task._checks import encode_payload
from trio_socket_task._compression import PerMessageDeflate

from ._constants import MAX_PONGS, Opcode
from ._decoder import Decoder
from ._deflate import Deflater, Inflater, Outgoing
from ._encoder import encode, encode_close, encode_message
from ._events import Close, Control, Message, Violation
from ._state import Life


@final
class ClientConnection:
    """RFC 6455 without I/O, from CONNECTING to CLOSED.

    It is the only place where frames are made and taken apart. What it returns is to be written as it is, whole and in
    order; control frames may go before the messages that wait (section 5.4).
    """

    __slots__ = ("_decoder", "_deflater", "_max_message_size", "life")

    def __init__(self, url: str, max_message_size: int) -> None:
        self.life: Life = Life(url)
        """Where the connection is in its life."""
        self._max_message_size = max_message_size
        self._decoder = Decoder(max_message_size)
        self._deflater: Deflater | None = None

    def compress(self, agreed: PerMessageDeflate | None) -> None:
        """Compress messages from the first on, where that was agreed on (RFC 7692)."""
        if agreed is not None:
            self._decoder = Decoder(self._max_message_size, Inflater(agreed))
            self._deflater = Deflater(agreed)

    def receive_data(self, data: bytes) -> tuple[list[Message], Sequence[Control]]:
        """Take the next bytes and return what is complete with them; nothing after a Close frame or a violation."""
        if self._deflater is not None:
            self._deflater.is_eager = True
        return self._decoder.receive_data(data)

    def expects_more(self, *, read_was_full: bool) -> bool:
        """Whether it is worth to read again at once, after a read that was as large as it could be, or was not.

        It is in the middle of a large message, unless the latest bytes completed something: then the program is to
        have that first, and to let go of it before the next message needs memory. And it is when nothing but the end
        can come. Where it `is_behind`, that comes first.
        """
        decoder = self._decoder
        return decoder.done or decoder.is_behind or (read_was_full and decoder.in_large_frame)

    @property
    def is_behind(self) -> bool:
        """Whether bytes that came wait to be inflated, until other tasks have run: `receive_data` is called again."""
        return self._decoder.is_behind

    @property
    def is_inside_message(self) -> bool:
        """Whether a part of a message has come, and its rest has not."""
        return self._decoder.inside_message

    def send_message(self, data: object, payload: bytes) -> Outgoing:
        """Return what is written for a message: text if `data` is a str, else binary (section 5.6)."""
        opcode = Opcode.TEXT if isinstance(data, str) else Opcode.BINARY
        deflater = self._deflater
        return encode_message(opcode, payload) if deflater is None else deflater.outgoing(opcode, payload)

    def send_small_message(self, data: object, payload: bytes) -> bytes:
        """Return the frame of a message of less than 64 KiB, which may go before those that wait: never compressed."""
        return encode(Opcode.TEXT if isinstance(data, str) else Opcode.BINARY, payload)

    def send_ping(self, payload: bytes) -> bytes:
        """Return a Ping frame (section 5.5.2)."""
        return encode(Opcode.PING, payload)

    def send_pongs(self, payloads: Sequence[bytes]) -> bytes:
        """Return the answers to pings that came together: to the latest of very many (section 5.5.3)."""
        return b"".join(encode(Opcode.PONG, payload) for payload in payloads[-MAX_PONGS:])

    def send_answers(self, answers: Sequence[str | bytes]) -> bytes:
        """Return the frames of answers to the peer's own keepalive, which are as many and as small as Pongs may be."""
        return b"".join(self.send_small_message(answer, encode_payload(answer)) for answer in answers)

    def close(self, code: int, reason: str, encoded_reason: bytes) -> bytes | None:
        """Begin the close handshake and return the Close frame, empty before the connection is open.

        None where it is too late: this side has closed, the peer has, or it failed.
        """
        was_open = self.life.opened
        if not self.life.request_close(code, reason):
            return None
        return encode_close(code, encoded_reason) if was_open else b""

    def answer_close(self, close: Close) -> bytes:
        """Note the peer's Close frame and return the one that answers it (section 5.5.1)."""
        self.life.peer_closed(close.code, close.reason)
        return encode_close(close.code)

    def fail(self, violation: Violation) -> bytes:
        """Return the Close frame that tells the peer how it broke the protocol (section 7.1.7)."""
        return encode_close(violation.code)
