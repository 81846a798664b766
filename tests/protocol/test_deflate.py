"""`_deflate`, and the decoder with it: compressed messages of both directions, against zlib, websockets and wsproto."""

from __future__ import annotations

import importlib
import struct
import sys
import zlib
from collections.abc import Callable, Iterator

import pytest
from deflated import RSV1, TAIL, Compressor, Inflator, client_frames, fragments, noise
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peer import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from websockets.extensions.permessage_deflate import PerMessageDeflate as TheirDeflate
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode as TheirOpcode
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate
from wsproto.frame_protocol import FrameDecoder

from trio_socket_task import PerMessageDeflate
from trio_socket_task._protocol import _compressor, _deflate
from trio_socket_task._protocol._connection import ClientConnection
from trio_socket_task._protocol._decoder import Decoder
from trio_socket_task._protocol._deflate import PIECE, CompressedMessage, Inflater, Outgoing
from trio_socket_task._protocol._events import Control, Ping, Violation
from trio_socket_task._protocol._extension import offer

P, U, B = 1002, 1007, 1009
LIMIT = 2**22
WIDE = PerMessageDeflate(client_max_window_bits=15, memory_level=8)
Backend = Callable[[PerMessageDeflate], _compressor.Compressor]
BACKENDS: list[Backend] = list(dict.fromkeys([_compressor.zlib_compressor, _compressor.new_compressor]))


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Compress by each backend at hand."""
    chosen: Backend = request.param
    monkeypatch.setattr(_deflate, "new_compressor", chosen)
    return chosen


def decoder(limit: int = LIMIT, agreed: PerMessageDeflate = WIDE) -> Decoder:
    """Give a decoder with the extension."""
    return Decoder(limit, Inflater(agreed))


def receive(decoding: Decoder, data: bytes, step: int = 0) -> tuple[list[str | bytes], list[Control]]:
    """Decode everything, in pieces of `step` bytes, and give the messages and the control frames."""
    messages: list[str | bytes] = []
    controls: list[Control] = []
    for start in range(0, len(data), step or len(data) or 1):
        piece = data[start : start + step] if step else data
        while True:
            complete, found = decoding.receive_data(piece)
            assert all(size == len(data.encode() if isinstance(data, str) else data) for data, size in complete)
            messages += [data for data, _ in complete]
            controls += found
            if not decoding.is_behind:
                break
            piece = b""
    return messages, controls


def violation(controls: list[Control]) -> tuple[int, str]:
    """Give the code and the words of what came last."""
    last = controls[-1]
    assert isinstance(last, Violation)
    return int(last.code), last.why


EXAMPLES = {
    "7.2.3.1": "c107f248cdc9c90700",
    "7.2.3.1 in two fragments": "4103f248cd8004c9c90700",
    "7.2.3.3, a block without compression": "c10b000500faff48656c6c6f00",
    "7.2.3.4, a final block": "c108f348cdc9c9070000",
    "7.2.3.5, two blocks": "c10df248050000 00ffffcac9c90700",
    "a final block, and not the byte that it wants": "c107f348cdc9c90700",
}


@pytest.mark.parametrize("step", [0, 1, 2, 3])
@pytest.mark.parametrize("hexadecimal", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_the_examples_of_the_rfc(hexadecimal: str, step: int) -> None:
    """All mean Hello, in whatever pieces; and so does what follows upon each, which refers back to it."""
    data = bytes.fromhex(hexadecimal)
    decoding = decoder()
    assert receive(decoding, data, step) == (["Hello"], [])
    again = bytes.fromhex("c105f200110000")  # section 7.2.3.2
    assert receive(decoding, again * 2, step) == (["Hello", "Hello"], [])


def test_without_context_takeover_nothing_refers_back() -> None:
    """Each message has a window of its own."""
    decoding = decoder(agreed=PerMessageDeflate(server_no_context_takeover=True))
    hello = bytes.fromhex("c107f248cdc9c90700")
    assert receive(decoding, hello * 2) == (["Hello", "Hello"], [])
    assert violation(receive(decoding, bytes.fromhex("c105f200110000"))[1])[0] == U


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (frame(CONTINUATION, b"", reserved=RSV1), P, "reserved bit"),
        (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"a", reserved=RSV1), P, "reserved bit"),
        (frame(TEXT, b"", fin=False, reserved=RSV1) + frame(CONTINUATION, b"", reserved=RSV1), P, "reserved bit"),
        (frame(PING, b"", reserved=RSV1), P, "reserved bit"),
        (frame(CLOSE, b"", reserved=RSV1), P, "reserved bit"),
        (frame(3, b"", reserved=RSV1), P, "reserved bit"),
        *((frame(TEXT, b"\x00", reserved=bits), P, "reserved bit") for bits in (0x10, 0x20, 0x30, 0x50, 0x60, 0x70)),
        (frame(TEXT, b"", fin=False, reserved=RSV1) + frame(TEXT, b"\x00", reserved=RSV1), P, "inside another"),
        (b"\xc1\x7e\x00\x01\x00", P, "not in its shortest form"),
        (frame(BINARY, b"\xff" * 20, reserved=RSV1), U, "does not inflate"),
        (frame(BINARY, b"\x06\x00", reserved=RSV1), U, "does not inflate"),
        (frame(BINARY, Compressor().payload(bytes(1000))[:-3] + b"\xff\xff\xff", reserved=RSV1), U, "does not inflate"),
        (frame(BINARY, b"\xf2\x00\x11\x00\x00", reserved=RSV1), U, "does not inflate"),  # back beyond the beginning
        (Compressor().message(b"\xff").replace(b"\xc2", b"\xc1", 1), U, "not UTF-8"),
        (frame(TEXT, Compressor().payload("€".encode()[:2]), reserved=RSV1), U, "not UTF-8"),
        (frame(TEXT, Compressor().payload(b"a" * 10**5 + b"\xff"), reserved=RSV1), U, "not UTF-8"),
        (Compressor().message(bytes(LIMIT + 1)), B, "more than 4194304 bytes"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_what_breaks_the_rules(data: bytes, code: int, words: str, step: int) -> None:
    """It is one violation; what came before is delivered, what comes after is ignored."""
    before = frame(TEXT, b"before")
    decoding = decoder()
    messages, controls = receive(decoding, before, step)
    after, more = receive(decoding, data + frame(TEXT, b"after"), step)
    assert (messages, controls, after, len(more)) == (["before"], [], [], 1)
    assert violation(more)[0] == code
    assert words in violation(more)[1]
    assert receive(decoding, frame(TEXT, b"after")) == ([], [])


def test_compression_that_was_not_agreed_on() -> None:
    """It is refused in the words for every reserved bit."""
    _, controls = receive(Decoder(LIMIT), frame(TEXT, b"\x00", reserved=RSV1))
    assert violation(controls) == (
        P,
        "the peer sent a reserved bit without an extension that defines it (section 5.2)",
    )


def test_a_message_may_have_the_largest_size() -> None:
    """Not a byte more; and one that does not shrink has more on the wire than it may have itself."""
    data = noise(1, 1000)
    assert receive(decoder(1000), Compressor().message(data)) == ([data], [])
    assert violation(receive(decoder(999), Compressor().message(data))[1])[0] == B
    assert receive(decoder(1), Compressor().message(b"1")) == ([b"1"], [])


def test_messages_that_are_not_compressed_leave_the_context_alone() -> None:
    """Between those that are, whole and in fragments."""
    compressor = Compressor()
    data = b"".join(
        [
            compressor.message("one and one"),
            frame(TEXT, b"plain"),
            *fragments(BINARY, b"x" * 300, [100, 0], reserved=0),
            compressor.message("one and one and two"),
            frame(BINARY, b""),
            compressor.message(""),
            frame(BINARY, bytes(2**16)),
            compressor.message("one and one and two"),
        ]
    )
    expected = ["one and one", "plain", b"x" * 300, "one and one and two", b"", "", bytes(2**16), "one and one and two"]
    for step in (0, 1, 1000):
        assert receive(decoder(), data, step) == (expected, [])


def test_a_stream_that_ends_goes_on_with_the_same_window() -> None:
    """Whatever was before it, and however often it ends (RFC 7692 section 7.2.3.4)."""
    compressor = Compressor()
    sent: list[str | bytes] = []
    data = b""
    for number in range(60):
        new = noise(number, 3000)
        sent.append(new + (b"" if number < 9 else b"".join(bytes(x)[:500] for x in sent[-9:] if isinstance(x, bytes))))
        data += compressor.message(sent[-1], final=number % 3 == 1)
    assert len(data) < 60 * 3500, "it does refer back"
    for step in (0, 1, 777):
        assert receive(decoder(), data, step) == (sent, [])


@pytest.mark.parametrize("at_once", [1, 2, 7, 70])
def test_the_window_holds_all_that_was_compressed_and_nothing_else(at_once: int) -> None:
    """Whole messages, one or many in a read, text and binary, with others between them that are not compressed."""
    compressor, decoding = Compressor(), decoder()
    sent: list[str | bytes] = []
    frames: list[bytes] = []
    for number in range(70):
        new = noise(number, 2000) + b"".join(noise(earlier, 2000) for earlier in range(max(0, number - 6), number, 2))
        sent.append(new if number % 3 else new.hex())
        frames.append(compressor.message(sent[-1], final=number % 4 == 2))
        if number % 5 == 1:
            sent.append(noise(-number, 300))
            frames.append(frame(BINARY, noise(-number, 300)))
    got: list[str | bytes] = []
    for start in range(0, len(frames), at_once):
        messages, controls = receive(decoding, b"".join(frames[start : start + at_once]))
        assert controls == []
        got += messages
    assert got == sent


def test_messages_of_a_read_that_are_more_than_the_window() -> None:
    """Only what fits into it is kept, for those that refer to it."""
    compressor, decoding = Compressor(), decoder()
    first = [noise(number, 2000) for number in range(30)]
    then = [first[-1] + first[-2], b"".join(first[-10:])]
    for sent in (first, then):
        assert receive(decoding, b"".join(compressor.message(data) for data in sent)) == (sent, [])


def test_streams_inside_of_a_message() -> None:
    """A message may have several, one after another, and so may a fragment."""
    one, two = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15)
    payload = one.compress(b"one ") + one.flush() + two.compress(b"two") + two.flush() + b"\x00"
    for step in (0, 1):
        assert receive(decoder(), frame(TEXT, payload, reserved=RSV1) * 2, step) == (["one two"] * 2, [])


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[str | bytes], int]:
    """Draw the bytes of a server that compresses, the messages in them, and its window."""
    bits = draw(st.integers(9, 15))
    keeps = draw(st.booleans())
    compressor = Compressor(
        level=draw(st.integers(0, 9)), bits=bits, memory=draw(st.integers(1, 9)), keeps_context=keeps
    )
    payloads = st.one_of(
        st.text(max_size=200),
        st.binary(max_size=200),
        st.builds(noise, st.integers(0, 3), st.integers(0, 70_000)),
        st.builds(lambda text, times: text * times, st.text(max_size=5), st.integers(0, 20_000)),
    )
    data, sent = b"", []
    for message in draw(st.lists(payloads, max_size=6)):
        opcode = TEXT if isinstance(message, str) else BINARY
        sizes = draw(st.lists(st.integers(0, 300), max_size=4))
        if draw(st.booleans()):
            payload = compressor.payload(message, final=draw(st.booleans()), flushes=draw(st.integers(0, 2)))
            frames = fragments(opcode, payload, sizes)
        else:
            plain = message.encode() if isinstance(message, str) else message
            frames = fragments(opcode, plain, sizes, reserved=0)
        for one in frames:
            data += one + draw(st.sampled_from([b"", b"", frame(PING, b"p")]))
        sent.append(message)
    return data, sent, bits


@pytest.mark.long
@settings(deadline=None)
@given(conversations(), st.integers(1, 5000))
@example((Compressor().message(b"a" * 2**16), [b"a" * 2**16], 15), 1)
def test_what_zlib_deflates_is_inflated(conversation: tuple[bytes, list[str | bytes], int], step: int) -> None:
    """In whatever pieces it comes, with control frames between fragments; byte by byte where it is short."""
    data, sent, bits = conversation
    agreed = PerMessageDeflate(server_max_window_bits=bits)
    for size in (0, max(step, len(data) // 500), *([1] if len(data) < 3000 else [])):
        messages, controls = receive(decoder(agreed=agreed), data, size)
        assert messages == sent
        assert set(controls) <= {Ping(b"p")}


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 20), st.booleans())
@example(b"\x01\xff\xff\x00\x00", 1, True)  # noqa: FBT003 (an example)
def test_whatever_comes_is_judged_as_by_websockets(payload: bytes, step: int, final: bool) -> None:  # noqa: FBT001
    """Nothing raises, and what they inflate, we do; only a stream that ended is not known to them."""
    rest, more = receive(
        (whole := decoder()), frame(BINARY, payload, reserved=RSV1) + (frame(PING, b"") if final else b""), step
    )
    assert whole.done == any(isinstance(control, Violation) for control in more)
    oracle = zlib.decompressobj(-15)
    try:
        expected = oracle.decompress(payload + TAIL)
    except zlib.error:
        assert violation(more)[0] == U
        return
    if not oracle.eof:
        assert rest == [expected]
        theirs = TheirDeflate(False, False, 15, 15)  # noqa: FBT003 (websockets')
        assert theirs.decode(TheirFrame(TheirOpcode.BINARY, payload, rsv1=True)).data == expected


def sent_by(connection: ClientConnection, messages: list[str | bytes]) -> Iterator[bytes]:
    """Give the frames of messages that are written one after another."""
    for data in messages:
        message = connection.send_message(data, data.encode() if isinstance(data, str) else data)
        if isinstance(message, CompressedMessage):
            while message:
                yield message.next_frame()
        else:
            yield from [message] if isinstance(message, bytes) else [b"".join(message)]


agreements = st.builds(
    PerMessageDeflate,
    client_max_window_bits=st.integers(9, 15),
    client_no_context_takeover=st.booleans(),
    level=st.integers(1, 9),
    memory_level=st.integers(1, 9),
    threshold=st.sampled_from([0, 0, 50]),
)
sizes = st.one_of(st.integers(0, 300), st.integers(PIECE - 2, PIECE + 2), st.integers(0, 400_000))
kinds = st.sampled_from([noise, lambda seed, size: bytes([seed]) * size])
lists = st.lists(st.builds(lambda kind, size, seed: kind(seed, size), kinds, sizes, st.integers(0, 2)), max_size=5)


@pytest.mark.long
@pytest.mark.parametrize("chosen", BACKENDS, ids=lambda backend: backend.__name__)
@settings(deadline=None, max_examples=60)
@given(agreements, lists, st.lists(st.text(max_size=300), max_size=3))
def test_what_this_side_deflates_is_inflated(
    chosen: Backend, agreed: PerMessageDeflate, blobs: list[bytes], texts: list[str]
) -> None:
    """By zlib with a window no larger than was agreed on, by websockets, and by wsproto."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_deflate, "new_compressor", chosen)
        connection = ClientConnection("ws://x/", LIMIT)
        connection.compress(agreed)
        sent: list[str | bytes] = [*blobs, *texts, *blobs[:1]]
        data = b"".join(sent_by(connection, sent))
    takeover, bits = agreed.client_no_context_takeover, agreed.client_max_window_bits
    websockets, inflator = TheirDeflate(takeover, False, bits, 15), Inflator(bits)  # noqa: FBT003 (websockets')
    taken: list[bytes] = []
    parts: list[bytes] = []
    theirs: list[bytes] = []
    compressed = False
    for first, payload in client_frames(data):
        opcode, fin = TheirOpcode(first & 0x0F), bool(first & 0x80)
        assert not first & 0x30
        if opcode:
            compressed = bool(first & RSV1)
        else:
            assert not first & RSV1
        decoded = websockets.decode(TheirFrame(opcode, payload, fin=fin, rsv1=bool(first & RSV1)))
        theirs.append(bytes(memoryview(decoded.data)))
        parts.append(payload)
        if fin:
            whole, plain = b"".join(parts), b"".join(theirs)
            if takeover:
                inflator = Inflator(bits)
            taken.append(inflator.inflate(whole) if compressed else whole)
            assert plain == taken[-1]
            parts, theirs = [], []
    assert taken == [data.encode() if isinstance(data, str) else data for data in sent]
    assert by_wsproto(data, agreed) == taken


def by_wsproto(data: bytes, agreed: PerMessageDeflate) -> list[bytes]:
    """Read a client's frames by wsproto as a server."""
    extension = WsprotoDeflate()
    extension.accept(offer(agreed))
    reader = FrameDecoder(client=False, extensions=[extension])
    reader.receive_bytes(data)
    messages: list[bytes] = []
    parts: list[bytes] = []
    while (found := reader.process_buffer()) is not None:
        parts.append(found.payload if isinstance(found.payload, bytes | bytearray) else str(found.payload).encode())
        if found.message_finished:
            messages.append(b"".join(parts))
            parts = []
    return messages


def test_a_large_message_is_a_few_frames_and_none_is_short(backend: Backend) -> None:
    """A short frame at the end would wait for an acknowledgement of those before, where TCP collects small writes."""
    text = b" ".join(b"%d" % number for number in range(200_000))
    connection = ClientConnection("ws://x/", LIMIT)
    connection.compress(PerMessageDeflate())
    for data, most in ((noise(1, PIECE + 100), 1), (text[: PIECE * 2], 1), (text, 15), (noise(2, PIECE * 5 + 100), 5)):
        frames = list(sent_by(connection, [data]))
        assert len(frames) <= most
        assert len(frames) == 1 or min(map(len, frames)) > PIECE // 2 - 100


def test_a_message_that_is_alone_is_compressed_at_once() -> None:
    """After something was received; those of a burst, large ones and what follows these are when they are written."""
    connection = ClientConnection("ws://x/", LIMIT)
    connection.compress(PerMessageDeflate(threshold=0))
    inflator = Inflator(12)
    payloads: list[bytes] = []

    def send(data: bytes) -> bool:
        message = connection.send_message(data, data)
        waiting.append(message)
        return isinstance(message, bytes)

    def write() -> None:
        for message in waiting:
            while isinstance(message, CompressedMessage) and message:
                payloads.append(message.next_frame())
            if isinstance(message, bytes):
                payloads.append(message)
        waiting.clear()

    waiting: list[Outgoing] = []
    one = noise(1, 500)
    assert send(one)
    assert not send(one)
    connection.receive_data(frame(TEXT, b"an answer"))
    assert not send(one), "the second waits, and refers to less"
    write()
    assert send(one)
    write()
    connection.receive_data(b"")
    assert not send(b"")
    write()
    assert send(bytes(PIECE))
    connection.receive_data(b"")
    assert not send(bytes(PIECE + 1))
    assert not send(one)
    write()
    frames = client_frames(b"".join(payloads))
    assert [first for first, _ in frames] == [0xC2] * 8
    sent = [one] * 4 + [b"", bytes(PIECE), bytes(PIECE + 1), one]
    assert [inflator.inflate(payload) for _, payload in frames] == sent


@pytest.mark.needs("isal")
def test_without_isal_zlib_deflates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `speedups` brings it; without it nothing is missing."""
    assert _compressor.new_compressor is _compressor.isal_compressor
    monkeypatch.setitem(sys.modules, "isal", None)
    try:
        assert importlib.reload(_compressor).new_compressor is _compressor.zlib_compressor
    finally:
        monkeypatch.undo()
        importlib.reload(_compressor)


@pytest.mark.parametrize("size", [2**48 - 1, 2**55, 2**62])
def test_a_length_in_64_bits_is_read_as_such(size: int) -> None:
    """However large: what follows is the beginning of a message."""
    payload = Compressor().payload(noise(1, 300))
    decoding = decoder()
    head = struct.pack(">BBQ", 0x80 | RSV1 | BINARY, 127, size)
    assert receive(decoding, head + payload) == ([], [])
    assert decoding.inside_message


@pytest.mark.needs("isal")
@pytest.mark.parametrize("level", range(1, 10))
def test_isal_has_a_third_of_the_levels(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """Its 1 is for 1 to 3, its 2 for 4 to 6, its 3 for 7 to 9."""
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr("isal.isal_zlib.compressobj", lambda *given: asked.append(given))
    _compressor.isal_compressor(PerMessageDeflate(level=level, memory_level=5, client_max_window_bits=12))
    assert asked == [([1, 1, 1, 2, 2, 2, 3, 3, 3][level - 1], zlib.DEFLATED, -12, 5)]
