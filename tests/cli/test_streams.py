"""Standard streams that are not there."""

from __future__ import annotations

import io
import os
import sys

import pytest

from trio_socket_task._cli._streams import input_descriptor, prepare_streams


def test_closed_streams_whose_numbers_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """They become the null device, by numbers of their own: what a library has got is neither read nor written."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    prepare_streams()
    streams = (sys.stdin, sys.stdout, sys.stderr)
    try:
        assert sys.stdin.read() == ""
        assert sys.stdout.write("é") == 1
        sys.stdout.flush()
        assert min(stream.fileno() for stream in streams) > 2
        assert input_descriptor() == sys.stdin.fileno()
        assert {stream.errors for stream in streams} == {"surrogateescape", "backslashreplace"}
    finally:
        for stream in streams:
            os.close(stream.fileno())


def test_standard_input_without_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: it is read where it is in every other program."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello"))
    assert input_descriptor() == 0
