"""A coverage-guided fuzz target for the decoder: ``python decoder.py -atheris_runs=100000``.

Whatever the bytes are and wherever they are cut, decoding them raises nothing, gives the same items, refuses with a
code that may stand on the wire, and keeps no more than it was given.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["trio_socket_task._protocol"]):
    from trio_socket_task._protocol._decoder import Decoder
    from trio_socket_task._protocol._events import Control, Message, Violation

LIMIT = 4096


def decode(data: bytes, step: int) -> tuple[list[Message], list[Control], int | None]:
    """Decode in pieces."""
    decoder = Decoder(LIMIT)
    messages: list[Message] = []
    controls: list[Control] = []
    for start in range(0, len(data), step):
        complete, found = decoder.receive_data(data[start : start + step])
        messages += complete
        controls += found
    if controls and isinstance(controls[-1], Violation):
        return messages, controls[:-1], int(controls[-1].code)
    return messages, controls, None


def check(data: bytes) -> None:
    """Compare whole with pieces."""
    step = data[0] % 7 + 1 if data else 1
    whole, pieces = decode(data, max(len(data), 1)), decode(data, step)
    assert whole == pieces, (whole, pieces)
    assert whole[2] in (None, 1002, 1007, 1009)
    assert sum(len(item[0]) for item in whole[0]) <= len(data)


atheris.Setup(sys.argv, check)
atheris.Fuzz()
