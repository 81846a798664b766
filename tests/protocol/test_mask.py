"""`_mask`: exclusive-or with four bytes, two ways."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from trio_socket_task._protocol import _mask
from trio_socket_task._protocol._mask import KeySource, mask, mask_in_python


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 124, 127, 128, 129, 130, 131, 65535, 65536, 65537])
def test_the_two_ways_agree(size: int) -> None:
    """Python and C give what the definition gives (RFC 6455 section 5.3)."""
    data, key = bytes(index % 251 for index in range(size)), b"\x01\x82\xff\x00"
    expected = bytes(byte ^ key[index % 4] for index, byte in enumerate(data))
    assert mask_in_python(data, key) == expected
    assert mask_in_python(memoryview(data), key) == expected
    assert mask(data, key) == expected


@pytest.mark.needs("speedups")
def test_c_is_used_where_it_is_installed() -> None:
    """The extra `speedups` brings it."""
    assert mask is importlib.import_module("websockets.speedups").apply_mask


def test_python_is_used_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, nothing is missing."""
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    try:
        assert importlib.reload(_mask).mask is _mask.mask_in_python
    finally:
        monkeypatch.undo()
        importlib.reload(_mask)


def test_keys_are_new_and_unguessable() -> None:
    """No key comes twice in a row of thousands, across blocks."""
    source = KeySource()
    keys = [source() for _ in range(5000)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) > 4900


def test_keys_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of the system is enough for a thousand."""
    drawn: list[int] = []

    def draw(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    monkeypatch.setattr(os, "urandom", draw)
    source = KeySource()
    for _ in range(1000):
        source()
    assert len(drawn) == 1


def test_without_fork_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no fork, and no hooks for it."""
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    try:
        assert importlib.reload(_mask).next_key() != _mask.next_key()
    finally:
        monkeypatch.undo()
        importlib.reload(_mask)


def test_a_forked_process_draws_keys_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets those that its parent is to use."""
    hooks: list[dict[str, object]] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook), raising=False)
    try:
        importlib.reload(_mask)
        assert hooks == [{"after_in_child": _mask.next_key.drop}]
    finally:
        monkeypatch.undo()
        importlib.reload(_mask)
