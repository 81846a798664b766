"""Standard streams that are not there."""

from __future__ import annotations

import io
import os
import sys

import pytest

from trio_socket_task._cli._input import Line
from trio_socket_task._cli._streams import input_lines, prepare_streams


async def test_closed_streams_whose_numbers_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """They become the null device, by numbers of their own: what a library has got is neither read nor written."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    prepare_streams()
    streams = (sys.stdin, sys.stdout, sys.stderr)
    try:
        assert await input_lines().next() is None
        assert sys.stdout.write("é") == 1
        sys.stdout.flush()
        assert min(stream.fileno() for stream in streams) > 2
        assert {stream.errors for stream in streams} == {"surrogateescape", "backslashreplace"}
    finally:
        for stream in streams:
            os.close(stream.fileno())


async def test_the_console_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is read as Python does, not as its code page has it; a pipe is read as everywhere."""

    class Console(io.RawIOBase):
        """Returns a line at a time, in UTF-8."""

        typed = ("é\r\n".encode(), "漢\r\n".encode(), None)

        def __init__(self) -> None:
            self.rest = list(self.typed)

        def read(self, size: int = -1) -> bytes | None:
            assert size > 0
            return self.rest.pop(0)

        def readable(self) -> bool:
            return True

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Console()), encoding="utf-8"))  # type: ignore[type-var]
    monkeypatch.setattr(os, "name", "nt")
    lines = input_lines()
    monkeypatch.undo()
    assert await lines.next() == Line("é".encode(), 3)
    assert await lines.next() == Line("漢".encode(), 4)
    assert await lines.next() is None


async def test_standard_input_without_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: what is read is what every other program reads."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello"))
    assert input_lines()._descriptor == 0
