"""A coverage-guided fuzz target for the decoder: ``python decoder.py -atheris_runs=100000``.

Whatever the bytes are and wherever they are cut, decoding them raises nothing, gives the same items, refuses with a
code that may stand on the wire, and keeps no more than it was given; of what is compressed, no message larger than it
may be. The first byte says whether compression was agreed on, the second how the rest is cut. Half of the inputs is
compressed here, because nobody guesses what inflates.
"""

from __future__ import annotations

import sys
import zlib

import atheris

with atheris.instrument_imports(include=["trio_socket_task._protocol"]):
    from trio_socket_task._compression import PerMessageDeflate
    from trio_socket_task._protocol._decoder import Decoder
    from trio_socket_task._protocol._deflate import Inflater
    from trio_socket_task._protocol._events import Control, Message, Violation

LIMIT = 4096


AGREED = (None, PerMessageDeflate(), PerMessageDeflate(server_no_context_takeover=True, server_max_window_bits=9))
RSV1, FIN = 0x40, 0x80


def compressed(data: bytes) -> bytes:
    """Make compressed messages of the input: a byte that says how long each is and how it ends, and the message."""
    stream, frames, history = zlib.compressobj(6, zlib.DEFLATED, -9), [], b""
    while len(data) > 1:
        kind, data = data[0], data[1:]
        message, data = data[: kind >> 2] * (kind & 3), data[kind >> 2 :]
        history = (history + message)[-512:]
        if kind & 0x83 == 0x83:  # a stream that ends, and one that goes on with its window (RFC 7692 section 7.2.3.4)
            payload = stream.compress(message) + stream.flush() + b"\x00"
            stream = zlib.compressobj(6, zlib.DEFLATED, -9, zdict=history)
        else:
            payload = stream.compress(message) + stream.flush(zlib.Z_FULL_FLUSH if kind & 1 else zlib.Z_SYNC_FLUSH)
            payload = payload[:-4] or b"\x00"
        middle = len(payload) // 2
        for first, part in ((RSV1 | 2, payload[:middle]), (FIN, payload[middle:])):
            frames += [
                bytes((first, 126)) + len(part).to_bytes(2, "big") if len(part) > 125 else bytes((first, len(part))),
                part,
            ]
    return b"".join(frames)


def decode(data: bytes, step: int, agreed: PerMessageDeflate | None) -> tuple[list[Message], list[Control], int | None]:
    """Decode in pieces."""
    decoder = Decoder(LIMIT, None if agreed is None else Inflater(agreed))
    messages: list[Message] = []
    controls: list[Control] = []
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        while True:
            complete, found = decoder.receive_data(piece)
            messages += complete
            controls += found
            piece = b""
            if not decoder.is_behind:
                break
    if controls and isinstance(controls[-1], Violation):
        return messages, controls[:-1], int(controls[-1].code)
    return messages, controls, None


def check(data: bytes) -> None:
    """Compare whole with pieces."""
    (kind, cut), data = data[:2].ljust(2, b"\x00"), data[2:]
    agreed, step = AGREED[kind % 3], cut % 7 + 1
    if agreed is not None and data[:1] < b"\x80":
        data = compressed(data)
    whole, pieces = decode(data, max(len(data), 1), agreed), decode(data, step, agreed)
    assert whole == pieces, (whole, pieces)
    assert whole[2] in (None, 1002, 1007, 1009)
    assert all(len(item[0]) <= LIMIT for item in whole[0])
    if agreed is None:
        assert sum(len(item[0]) for item in whole[0]) <= len(data)


atheris.Setup(sys.argv, check)
atheris.Fuzz()
