"""`_deflate`: little that inflates to much, and much that inflates to nothing, is taken in steps and within limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from deflated import RSV1, Compressor, bomb, fragments
from needs import import_or_skip
from peer import BINARY, TEXT, frame

from trio_socket_task import PerMessageDeflate
from trio_socket_task._protocol import _decoder
from trio_socket_task._protocol._decoder import Decoder
from trio_socket_task._protocol._deflate import CALL, STEP, TURN_BYTES, Inflater
from trio_socket_task._protocol._events import Control, Violation

MIB = 2**20


@cache
def bombs() -> dict[str, bytes]:
    """Give it as a message: in one frame, as text, for NUL is a character, and in many fragments."""
    payload = bomb()
    split = b"".join(fragments(BINARY, payload, [100] * (len(payload) // 100)))
    return {"whole": frame(BINARY, payload, reserved=RSV1), "text": frame(TEXT, payload, reserved=RSV1), "split": split}


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Measure how much memory a test takes at most."""
    bombs()
    tracemalloc = import_or_skip("tracemalloc")
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    yield lambda: tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()


@pytest.mark.long
@pytest.mark.parametrize("form", ["whole", "text", "split"])
@pytest.mark.parametrize("step", [1, 1000, 2**16])
@pytest.mark.parametrize("limit", [1, 1000, MIB, 4 * MIB])
def test_a_bomb_costs_the_limit_and_little_more(form: str, step: int, limit: int, peak: Callable[[], int]) -> None:
    """A gigabyte in a megabyte is refused as soon as the limit is passed, and before more is inflated."""
    data = bombs()[form]
    decoding = Decoder(limit, Inflater(PerMessageDeflate()))
    controls: list[Control] = []
    for start in range(0, len(data), step):
        messages, found = decoding.receive_data(data[start : start + step])
        assert not messages
        controls += found
        if found:
            break
        while decoding.is_behind:
            _, found = decoding.receive_data(b"")
            controls += found
    (violation,) = controls
    assert isinstance(violation, Violation)
    assert violation.code == 1009
    assert decoding.done
    assert peak() < limit + 640 * 1024


def test_many_small_bombs_come_one_after_another(peak: Callable[[], int]) -> None:
    """No more than a MiB and one message is inflated before whoever reads may stop: messages are not piled up."""
    message = Compressor(keeps_context=False).message(bytes(MIB - 1))
    decoding = Decoder(MIB, Inflater(PerMessageDeflate()))
    count, data = 0, message * 50
    assert len(data) < STEP
    while True:
        messages, _ = decoding.receive_data(data)
        assert len(messages) <= 2
        count += len(messages)
        data = b""
        if not decoding.is_behind:
            break
    assert count == 50
    assert peak() < 4.5 * MIB


def test_a_bomb_inside_of_a_bomb_is_inflated_once(peak: Callable[[], int]) -> None:
    """What is in a message is the program's, who knows whether to inflate it, too."""
    inner = bomb()
    decoding = Decoder(len(inner), Inflater(PerMessageDeflate()))
    messages, _ = decoding.receive_data(Compressor(level=9).message(inner))
    while decoding.is_behind:
        more, _ = decoding.receive_data(b"")
        messages += more
    assert messages == [(inner, len(inner))]
    assert peak() < 4 * len(inner)


@pytest.mark.needs("cpython")
@pytest.mark.parametrize(
    "data",
    [
        frame(BINARY, b"\x00", reserved=RSV1) * 20_000,  # empty messages
        frame(BINARY, b"\x03\x00" * 30_000, reserved=RSV1),  # empty streams that end
        frame(BINARY, b"\x02\x0c" * 30_000, reserved=RSV1)[:60_000],
    ],
)
def test_what_inflates_to_nothing_does_not_hold_the_loop(data: bytes) -> None:
    """Its own work counts as if it had given bytes."""
    decoding = Decoder(MIB, Inflater(PerMessageDeflate()))
    turns, longest, piece = 0, 0.0, data
    while turns == 0 or decoding.is_behind:
        started = time.thread_time()
        decoding.receive_data(piece)
        longest = max(longest, time.thread_time() - started)
        turns, piece = turns + 1, b""
    assert turns >= 1
    assert longest < 0.2


def test_what_comes_while_it_is_behind_is_ignored_after_a_violation() -> None:
    """There is one violation, not another one because the rest is not what it continues."""
    decoding = Decoder(TURN_BYTES, Inflater(PerMessageDeflate()))
    data = frame(BINARY, bomb()[: 2**15], reserved=RSV1)
    controls: list[Control] = []
    for start in range(0, len(data), 2**14):
        messages, found = decoding.receive_data(data[start : start + 2**14])
        assert not messages
        controls += found
    assert [control.code for control in controls if isinstance(control, Violation)] == [1009]


def test_what_comes_while_it_is_behind_is_kept() -> None:
    """In order, should anybody bring it."""
    decoding = Decoder(2 * TURN_BYTES, Inflater(PerMessageDeflate()))
    compressor = Compressor()
    large = compressor.message(bytes(TURN_BYTES + TURN_BYTES // 2))
    assert decoding.receive_data(large + frame(TEXT, b"a")[:1]) == ([], ())
    assert decoding.is_behind
    messages, controls = decoding.receive_data(frame(TEXT, b"a")[1:] + compressor.message("b"))
    while decoding.is_behind:
        more, _ = decoding.receive_data(b"")
        messages += more
    assert ([data for data, _ in messages], list(controls)) == ([bytes(TURN_BYTES + TURN_BYTES // 2), "a", "b"], [])
    assert not decoding.inside_message


def test_a_turn_that_ends_at_just_what_was_asked_for_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the message is not forgotten."""
    monkeypatch.setattr(_decoder, "TURN_BYTES", STEP + CALL)
    decoding = Decoder(MIB, Inflater(PerMessageDeflate()))
    assert decoding.receive_data(Compressor().message(bytes(STEP + 1))) == ([], ())
    assert decoding.is_behind
    assert decoding.receive_data(b"") == ([(bytes(STEP + 1), STEP + 1)], ())
    assert not decoding.is_behind
