"""`_decoder` against two other implementations: wsproto and websockets."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import OPEN, Protocol, Side
from wsproto.frame_protocol import FrameProtocol, ParseFailed
from wsproto.frame_protocol import Opcode as WsprotoOpcode

from trio_socket_task._protocol._constants import Opcode
from trio_socket_task._protocol._decoder import Decoder
from trio_socket_task._protocol._encoder import encode, encode_close, encode_message
from trio_socket_task._protocol._events import Close, Control, Message, Violation

pytestmark = pytest.mark.long

LIMIT = 2**20
Seen = tuple[str, object]
Outcome = tuple[list[Seen], int | None]


def ours(data: bytes, cuts: list[int]) -> Outcome:
    """Decode with this package, cut at some places."""
    decoder = Decoder(LIMIT)
    found_messages: list[Message] = []
    found_controls: list[Control] = []
    places = sorted({min(cut, len(data)) for cut in cuts})
    for start, stop in zip([0, *places], [*places, len(data)], strict=True):
        complete, controls = decoder.receive_data(data[start:stop])
        found_messages += complete
        found_controls += controls
    seen: list[Seen] = [("message", data) for data, _ in found_messages]
    for control in found_controls:
        if isinstance(control, Violation):
            return seen, int(control.code)
        if isinstance(control, Close):
            seen.append(("close", (control.code, control.reason)))
        else:
            seen.append((type(control).__name__.lower(), control.payload))
    return seen, None


def by_wsproto(data: bytes) -> Outcome:
    """Decode with wsproto, as a client; messages come first, then control frames."""
    seen, code = one_by_one_by_wsproto(data)
    return sorted(seen, key=lambda item: item[0] != "message"), code


def one_by_one_by_wsproto(data: bytes) -> Outcome:
    """Decode with wsproto, as a client."""
    protocol = FrameProtocol(client=True, extensions=[])
    seen: list[Seen] = []
    parts: list[str | bytes] = []
    try:
        protocol.receive_bytes(data)
        for received in protocol.received_frames():
            payload = received.payload
            if isinstance(payload, tuple):
                seen.append(("close", (None if payload[0] == 1005 else int(payload[0]), payload[1] or "")))
                return seen, None
            plain = payload if isinstance(payload, str) else bytes(payload)
            if received.opcode in (WsprotoOpcode.PING, WsprotoOpcode.PONG):
                seen.append((received.opcode.name.lower(), plain))
                continue
            parts.append(plain)
            if received.message_finished:
                text = [part for part in parts if isinstance(part, str)]
                binary = [part for part in parts if isinstance(part, bytes)]
                seen.append(("message", "".join(text) if text else b"".join(binary)))
                parts = []
    except ParseFailed as failure:
        return seen, int(failure.code)
    return seen, None


def by_websockets(data: bytes) -> list[Frame]:
    """Read a client's frames with websockets, as a server."""
    protocol = Protocol(Side.SERVER, state=OPEN, max_size=None)
    protocol.receive_data(data)
    return [event for event in protocol.events_received() if isinstance(event, Frame)]


def fragments(opcode: int, payload: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Give a message in fragments."""
    places = sorted({min(cut, len(payload)) for cut in cuts})
    pieces = [payload[a:b] for a, b in zip([0, *places], [*places, len(payload)], strict=True)]
    for number, piece in enumerate(pieces):
        yield frame(CONTINUATION if number else opcode, piece, fin=number == len(pieces) - 1)


cut_places = st.lists(st.integers(0, 400), max_size=4)
messages = st.one_of(
    st.builds(lambda text, cuts: [*fragments(TEXT, text.encode(), cuts)], st.text(max_size=100), cut_places),
    st.builds(lambda data, cuts: [*fragments(BINARY, data, cuts)], st.binary(max_size=300), cut_places),
)
controls = st.builds(lambda opcode, data: [frame(opcode, data)], st.sampled_from([PING, PONG]), st.binary(max_size=125))
closes = st.one_of(
    st.just(frame(CLOSE)),
    st.builds(
        lambda code, reason: frame(CLOSE, struct.pack(">H", code) + reason.encode()),
        st.sampled_from([1000, 1001, 1011, 3000, 4999]),
        st.text(max_size=30),
    ),
)
streams = st.builds(
    lambda parts, close: b"".join(one for part in parts for one in part) + close,
    st.lists(st.one_of(messages, controls), max_size=6),
    st.one_of(st.just(b""), closes),
)


@given(data=streams, cuts=st.lists(st.integers(0, 2000), max_size=20))
def test_a_valid_stream_is_decoded_as_by_wsproto(data: bytes, cuts: list[int]) -> None:
    """Whole, and cut at random places."""
    expected = by_wsproto(data)
    assert expected[1] is None
    assert ours(data, []) == expected
    assert ours(data, cuts) == expected


@given(data=streams)
def test_a_valid_stream_is_decoded_byte_by_byte(data: bytes) -> None:
    """As it is at once."""
    assert ours(data, list(range(len(data)))) == ours(data, [])


@given(
    data=streams, place=st.integers(0, 2000), byte=st.integers(0, 255), cuts=st.lists(st.integers(0, 2000), max_size=9)
)
@example(data=frame(TEXT, "é".encode()), place=2, byte=0xC3, cuts=[3])
@example(data=frame(TEXT), place=1, byte=0xFE, cuts=[])
def test_a_mutation_is_decoded_as_by_wsproto_or_refused_with_its_code(
    data: bytes, place: int, byte: int, cuts: list[int]
) -> None:
    """One byte of a valid stream is changed."""
    place = min(place, max(len(data) - 1, 0))
    mutated = data[:place] + bytes([byte]) + data[place + 1 :]
    expected_items, expected_code = by_wsproto(mutated)
    items, code = ours(mutated, cuts)
    if code is not None and expected_code is None:
        # wsproto judges a header when it is whole; pings that follow complete it, and are no error after a whole frame
        expected_code = by_wsproto(mutated + frame(PING) * 7)[1]
    if code == 1009 or (expected_code is None and code == 1002 and close_code_is_beyond(expected_items)):
        return  # wsproto has no limit of size, and takes codes from 5000 on
    if expected_code == 1002 and items and items[-1][0] == "close":
        return  # wsproto does not know 1012 to 1014
    assert code == expected_code or (code is None and len(items) == len(expected_items))
    assert items == expected_items


def close_code_is_beyond(items: list[Seen]) -> bool:
    """Whether the last item is a Close with a code of 5000 or more."""
    if not items or items[-1][0] != "close":
        return False
    closed = items[-1][1]
    assert isinstance(closed, tuple)
    return closed[0] is not None and closed[0] >= 5000


@given(data=st.one_of(st.text(max_size=300), st.binary(max_size=70_000)))
def test_what_is_encoded_is_read_by_both(data: str | bytes) -> None:
    """Wsproto and websockets, as servers, find the message whole, final and masked."""
    opcode, payload = (Opcode.TEXT, data.encode()) if isinstance(data, str) else (Opcode.BINARY, data)
    frame = encode_message(opcode, payload)
    encoded = frame if isinstance(frame, bytes) else b"".join(frame)
    assert by_websockets(encoded) == [Frame(TheirOpcode(opcode), payload)]
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(encoded)
    (received,) = protocol.received_frames()
    assert received.message_finished
    assert received.payload == data


@given(payload=st.binary(max_size=125), code=st.sampled_from([1000, 1002, 3000, 4999]), reason=st.text(max_size=30))
def test_control_frames_are_read_by_websockets(payload: bytes, code: int, reason: str) -> None:
    """Ping, Pong and Close."""
    sent = [encode(Opcode.PING, payload), encode(Opcode.PONG, payload), encode_close(code, reason.encode())]
    read = by_websockets(b"".join(sent))
    assert [one.opcode.name for one in read] == ["PING", "PONG", "CLOSE"]
    assert read[2].data == struct.pack(">H", code) + reason.encode()
