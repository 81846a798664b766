"""`_frame_parser`: what the log says of frames, valid or not, however they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_frame, frame

from trio_socket_task._protocol._constants import Opcode
from trio_socket_task._protocol._encoder import encode, encode_close
from trio_socket_task._protocol._frame_parser import FrameParser


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (frame(TEXT, b"hello"), "TEXT 5 bytes, FIN: hello"),
        (frame(TEXT), "TEXT 0 bytes, FIN"),
        (frame(TEXT, b"\x1b[2J\n\x00"), "TEXT 6 bytes, FIN: \\x1b[2J\\x0a\\x00"),
        (frame(TEXT, b"\xff!"), "TEXT 2 bytes, FIN: \\xff!"),
        (frame(TEXT, "中".encode() * 100), f"TEXT 300 bytes, FIN: {'中' * 80}"),
        (frame(TEXT, "\U0001f600".encode() * 100), f"TEXT 400 bytes, FIN: {chr(0x1F600) * 80}"),
        (frame(TEXT, b"\n" * 100), "TEXT 100 bytes, FIN: " + "\\x0a" * 20),
        (frame(BINARY, b"\x00\xff"), "BINARY 2 bytes, FIN: 00ff"),
        (frame(BINARY, bytes(70000)), f"BINARY 70000 bytes, FIN: {'0' * 80}"),
        (frame(PING, b"ab"), "PING 2 bytes, FIN: 6162"),
        (frame(TEXT, b"x", reserved=0x70), "TEXT 1 bytes, FIN RSV1 RSV2 RSV3: 78"),
        (frame(0x3, b"x", fin=False), "opcode 0x3 1 bytes, no flags: 78"),
        (frame(CLOSE), "CLOSE 0 bytes, FIN"),
        (frame(CLOSE, b"x"), "CLOSE 1 bytes, FIN: 78"),
        (close_frame(4000, "a\nb"), "CLOSE 5 bytes, FIN: 4000 a\\x0ab"),
        (encode(Opcode.TEXT, b"hello"), "TEXT 5 bytes, FIN MASK: hello"),
        (encode(Opcode.BINARY, bytes(300)), f"BINARY 300 bytes, FIN MASK: {'0' * 80}"),
        (encode_close(1000), "CLOSE 2 bytes, FIN MASK: 1000"),
        (frame(CONTINUATION, b"of nothing"), "CONTINUATION 10 bytes, FIN: 6f66206e6f7468696e67"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_frame_is_shown(data: bytes, shown: str) -> None:
    """In one line of printable characters, of whatever size it is."""
    frames = FrameParser().receive_data(data)
    assert [str(parsed) for parsed in frames] == [shown]
    assert shown.isprintable()


def test_fragments_are_shown_as_what_their_message_is() -> None:
    """Each by itself, and what stands between them, too."""
    parser = FrameParser()
    data = frame(TEXT, b"one", fin=False) + frame(PING) + frame(CONTINUATION, b"two")
    data += frame(BINARY, b"1", fin=False) + frame(CONTINUATION, b"2")
    data += frame(TEXT, b"\x00", fin=False, reserved=0x40) + frame(CONTINUATION, b"\x01")
    assert [str(parsed) for parsed in parser.receive_data(data)] == [
        "TEXT 3 bytes, no flags: one",
        "PING 0 bytes, FIN",
        "CONTINUATION 3 bytes, FIN: two",
        "BINARY 1 bytes, no flags: 31",
        "CONTINUATION 1 bytes, FIN: 32",
        "TEXT 1 bytes, RSV1: 00",
        "CONTINUATION 1 bytes, FIN: 01",
    ]


def test_a_large_frame_is_shown_when_it_begins() -> None:
    """Its rest is awaited by nobody, and kept by nobody."""
    parser, data = FrameParser(), frame(BINARY, bytes(2**20)) + frame(PING)
    assert len(parser.receive_data(data[:400])) == 1
    assert parser.receive_data(data[400:-3]) == []
    assert [str(parsed) for parsed in parser.receive_data(data[-3:])] == ["PING 0 bytes, FIN"]


@given(st.binary(max_size=600), st.lists(st.integers(1, 40), max_size=20))
def test_any_bytes_are_shown_in_the_same_way_however_they_come(data: bytes, cuts: list[int]) -> None:
    """And nothing is raised, because what a peer sends may be no frame at all."""
    whole = [str(parsed) for parsed in FrameParser().receive_data(data)]
    parser, position, shown = FrameParser(), 0, []
    for size in [*cuts, len(data)]:
        shown += [str(parsed) for parsed in parser.receive_data(data[position : position + size])]
        position += size
    assert shown == whole
    assert all(line.isprintable() for line in shown)
