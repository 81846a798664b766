"""`_decoder` and `_encoder`: every rule of RFC 6455 section 5, whole and in pieces."""

from __future__ import annotations

import struct

import pytest
from peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame

from trio_socket_task import CloseCode
from trio_socket_task._protocol import _assembler
from trio_socket_task._protocol._assembler import Assembler
from trio_socket_task._protocol._constants import Opcode
from trio_socket_task._protocol._decoder import Decoder
from trio_socket_task._protocol._encoder import PIECE, encode, encode_close, encode_message
from trio_socket_task._protocol._events import Close, Control, Message, Ping, Pong, Violation

LIMIT = 2**20
SIZES = [0, 1, 2, 124, 125, 126, 127, 4095, 4096, 65535, 65536, 65537, PIECE, PIECE + 1, 2 * PIECE + 3]


Item = Message | Control


def receive(decoder: Decoder, data: bytes) -> list[Item]:
    """Return what is complete: messages first."""
    messages, controls = decoder.receive_data(data)
    return [*messages, *controls]


def decode(data: bytes, step: int = 0, limit: int = LIMIT) -> tuple[list[Item], CloseCode | None]:
    """Decode bytes, `step` at a time; 0 means at once. Messages come first."""
    decoder = Decoder(limit)
    items: list[Item] = []
    for start in range(0, len(data), step or max(len(data), 1)):
        items += receive(decoder, data[start : start + (step or len(data))])
    items.sort(key=lambda item: not isinstance(item, tuple))
    if items and isinstance(items[-1], Violation):
        return items[:-1], items[-1].code
    return items, None


def unmask(data: bytes) -> tuple[int, bytes]:
    """Take a client's frame apart, by the letter of section 5.2."""
    size = data[1] & 0x7F
    start = 2
    if size == 126:
        (size,) = struct.unpack(">H", data[2:4])
        start = 4
    elif size == 127:
        (size,) = struct.unpack(">Q", data[2:10])
        start = 10
    key, payload = data[start : start + 4], data[start + 4 :]
    assert data[1] & 0x80
    assert len(payload) == size
    return data[0], bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_encode(opcode: Opcode, size: int) -> None:
    """A client's frame is final and masked, its length in the shortest form."""
    payload = bytes(97 + index % 26 for index in range(size))
    frame = encode_message(opcode, payload)
    whole = frame if isinstance(frame, bytes) else b"".join(frame)
    assert len(frame) == len(whole)
    assert unmask(whole) == (0x80 | opcode, payload)
    assert isinstance(frame, bytes) or b"".join(frame) == whole, "it is masked in the same way each time"


def test_keys_change() -> None:
    """The same message is masked anew each time (section 5.3)."""
    assert encode(Opcode.TEXT, b"x" * 64) != encode(Opcode.TEXT, b"x" * 64)


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [(None, b"", b""), (1005, b"", b""), (1000, b"", b"\x03\xe8"), (4001, b"x", b"\x0f\xa1x")],
)
def test_encode_close(code: int | None, reason: bytes, payload: bytes) -> None:
    """No code, and 1005 which must not stand on the wire, make an empty Close frame (section 7.4.1)."""
    assert unmask(encode_close(code, reason)) == (0x88, payload)


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_messages(size: int, step: int) -> None:
    """Text and binary of every length form, whole and in pieces."""
    payload = bytes(97 + index % 26 for index in range(size))
    if size > 65536:
        step *= 1 + PIECE // 100  # the header is met byte by byte before
    items, violation = decode(frame(BINARY, payload) + frame(TEXT, payload) + frame(BINARY, b"end"), step)
    assert items == [(payload, size), (payload.decode(), size), (b"end", 3)]
    assert violation is None


@pytest.mark.parametrize("sizes", [(5, 5, 1), (8, 3), (10, 1), (6, 6)])
def test_fragments_are_refused_as_soon_as_they_are_too_large_together(sizes: tuple[int, ...]) -> None:
    """Though none of them is the last, which may never come."""
    fragments = [frame(CONTINUATION, bytes(size), fin=False) for size in sizes[1:]]
    data = frame(BINARY, bytes(sizes[0]), fin=False) + b"".join(fragments)
    assert decode(data, limit=10) == ([], CloseCode.MESSAGE_TOO_BIG)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_fragments_with_control_frames_between(step: int) -> None:
    """Section 5.4: control frames may stand inside a fragmented message; empty fragments are fragments."""
    data = b"".join(
        [
            frame(TEXT, "é".encode()[:1], fin=False),
            frame(PING, b"a"),
            frame(CONTINUATION, b"", fin=False),
            frame(PONG, b"b"),
            frame(CONTINUATION, "é".encode()[1:] + b"!"),
            frame(BINARY, b"", fin=False),
            frame(CONTINUATION),
        ]
    )
    assert decode(data, step) == ([("é!", 3), (b"", 0), Ping(b"a"), Pong(b"b")], None)


def test_large_and_small_fragments_are_joined() -> None:
    """Parts of every size come out in order."""
    parts = [bytes([65 + index]) * size for index, size in enumerate((1, 5000, 10, 20, 70000, 4096, 1))]
    frames = [frame(BINARY if not index else CONTINUATION, part, fin=False) for index, part in enumerate(parts)]
    joined = b"".join(parts)
    for step in (0, 1000):
        assert decode(b"".join([*frames, frame(CONTINUATION)]), step) == ([(joined, len(joined))], None)


@pytest.mark.parametrize("step", [0, 1])
def test_close(step: int) -> None:
    """A Close frame ends the stream: what follows is ignored (section 5.5.1)."""
    assert decode(close_frame(1000, "bye") + frame(TEXT, b"late"), step) == ([Close(1000, "bye")], None)
    assert decode(frame(CLOSE) + frame(PING), step) == ([Close(None, "")], None)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_codes_on_the_wire(code: int) -> None:
    """Section 7.4 and the IANA registry."""
    assert decode(close_frame(code)) == ([Close(code, "")], None)


P, U, B = CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_FRAME_PAYLOAD_DATA, CloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        *[(frame(TEXT, b"a", reserved=bit), P) for bit in (0x10, 0x20, 0x40)],
        *[(frame(opcode), P) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
        (b"\x81\x81abcdx", P),  # masked
        (frame(PING, b"a", fin=False), P),
        (frame(CLOSE, b"", fin=False), P),
        (frame(PING, b"a" * 126), P),
        (frame(CONTINUATION, b"a"), P),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), P),
        (frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), P),
        (b"\x82\x7e\x00\x7d", P),  # 125 in 16 bits
        (b"\x82\x7e\x00\x7d" + bytes(125), P),
        (b"\x82\xfe\x00\x7e" + bytes(130), P),  # masked
        (b"\x82\x7f" + struct.pack(">Q", 65535), P),
        (b"\x82\x7f" + struct.pack(">Q", 2**63), P),
        (frame(CLOSE, b"\x03"), P),
        *[(close_frame(code), P) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)],
        (frame(CLOSE, b"\x03\xe8\xff"), U),
        (frame(TEXT, b"\xff"), U),
        (frame(TEXT, b"\xed\xa0\x80"), U),  # a surrogate
        (frame(TEXT, b"\xc3"), U),  # cut off
        (frame(TEXT, b"\xce\xba\xe1\xbd", fin=False) + frame(CONTINUATION, b"\xf4\x90\x80\x80", fin=False), U),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION), U),
        (frame(BINARY, b"x" * (LIMIT + 1))[:10], B),
        (frame(BINARY, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x")[:2], B),
    ],
)
def test_violations(bad: bytes, code: CloseCode, step: int) -> None:
    """What came whole before it is delivered; what comes after it is ignored."""
    if step and len(bad) > 1000:
        step = 1000
    assert decode(frame(TEXT, b"before") + bad + frame(TEXT, b"after"), step) == ([("before", 6)], code)


def test_invalid_text_is_refused_at_its_first_bad_byte() -> None:
    """Fail-fast: the rest of the frame need not come (section 8.1)."""
    decoder = Decoder(LIMIT)
    (violation,) = receive(decoder, frame(TEXT, b"ok\xff" + b"x" * 1000)[:7])
    assert isinstance(violation, Violation)
    assert violation.code == U
    assert decoder.done


def test_a_large_message_is_refused_by_its_header() -> None:
    """Its bytes are neither awaited nor kept, and the words name the option."""
    decoder = Decoder(10)
    (violation,) = receive(decoder, b"\x82\x7f" + struct.pack(">Q", 2**30))
    assert isinstance(violation, Violation)
    assert "more than 10 bytes; raise max_message_size" in violation.why
    for limit in (0, 10, 124, 125, 126, 127, 500, 65535, 65536):
        assert decode(frame(BINARY, b"x" * limit), limit=limit)[1] is None
        assert decode(frame(BINARY, b"x" * (limit + 1)), limit=limit) == ([], B)
    assert decode(frame(BINARY, b"x" * 5, fin=False) + frame(CONTINUATION, b"x" * 6), limit=10)[1] == B


@pytest.mark.parametrize("count", [1, 32, 33, 1000])
def test_of_pings_in_a_row_the_latest_count(count: int) -> None:
    """The last 32, in their order; one that is not whole yet comes with its rest (section 5.5.3)."""
    burst = b"".join(frame(PING, b"%d" % number) for number in range(count))
    decoder = Decoder(LIMIT)
    items = receive(decoder, burst + frame(PING, b"last")[:3])
    assert items == [Ping(b"%d" % number) for number in range(max(0, count - 32), count)]
    assert receive(decoder, frame(PING, b"last")[3:] + frame(TEXT, b"x")) == [("x", 1), Ping(b"last")]


def test_of_pongs_in_a_row_each_counts() -> None:
    """A ping that went behind messages is answered by no other pong than its own."""
    burst = b"".join(frame(PONG, b"%d" % number) for number in range(1000))
    assert receive(Decoder(LIMIT), burst) == [Pong(b"%d" % number) for number in range(1000)]


def test_the_first_violation_stands() -> None:
    """A masked frame is none of an odd length, whatever follows."""
    (violation,) = receive(Decoder(100), b"\x81\x85" + bytes(20))
    assert isinstance(violation, Violation)
    assert "a masked frame" in violation.why


@pytest.mark.parametrize("first", [b"", b"x" * 4096, b"x"])
def test_small_parts_share_a_buffer_whatever_came_before(first: bytes) -> None:
    """A million of them are not a million objects."""
    assembler = Assembler()
    assembler.begin(Opcode.BINARY, 0, fin=False)
    for part in [first, *[b"y"] * 1000, b"z" * 4096, *[b"y"] * 1000]:
        assembler.add(part, ends=False)
    assert len(assembler._parts) <= 4
    assert assembler.finish()[0] == first + b"y" * 1000 + b"z" * 4096 + b"y" * 1000


def test_each_first_byte_means_what_section_5_2_says() -> None:
    """Final or not, reserved bits, opcodes: what is not a message or a control frame breaks the protocol."""
    payload = b"\x10\x20"  # of a Close frame the code 4128
    for first in range(256):
        messages, controls = Decoder(100).receive_data(bytes((first, 2)) + payload)
        found: list[object] = [*messages, *(type(control) for control in controls)]
        match first:
            case 0x81:
                assert found == [(payload.decode(), 2)]
            case 0x82:
                assert found == [(payload, 2)]
            case 0x01 | 0x02:
                assert found == [], "its rest is to come"
            case 0x88 | 0x89 | 0x8A:
                assert found == [{0x88: Close, 0x89: Ping, 0x8A: Pong}[first]]
            case _:
                assert found == [Violation]


@pytest.mark.parametrize(("size", "is_spared"), [(65535, False), (65536, True), (2**20, True), (2**20 + 1, False)])
def test_large_messages_are_gathered_in_one_buffer(
    monkeypatch: pytest.MonkeyPatch, size: int, *, is_spared: bool
) -> None:
    """From 64 KiB up to a mebibyte, one after another."""
    spares: list[bytearray] = []
    monkeypatch.setattr(_assembler, "_spares", spares)
    data = frame(BINARY, b"x" * size)
    kept = set()
    for _ in range(2):
        assert decode(data, 2**16, 2 * LIMIT) == ([(b"x" * size, size)], None)
        kept.add(tuple(id(spare) for spare in spares))
        assert [len(spare) for spare in spares] == [2**20] * is_spared
    assert len(kept) == 1
