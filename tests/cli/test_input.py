"""Standard input, line by line."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from cli.command import wait_for_threads

from trio_socket_task import InvalidOptionsError
from trio_socket_task._cli import _input
from trio_socket_task._cli._input import Line, Lines, message_of

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Yield the two ends of a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test may have closed it
            os.close(end)


async def read(lines: Lines) -> list[Line]:
    """Read all lines."""
    found = []
    while (line := await lines.next()) is not None:
        found.append(line)
    return found


async def test_lines(pipe: Pipe) -> None:
    """Whatever bytes they are of, and however they end; the last need not end."""
    os.write(pipe[1], b"one\n\ntwo\r\n\xff\x00\nlast")
    os.close(pipe[1])
    assert [line.data for line in await read(Lines(pipe[0]))] == [b"one", b"", b"two", b"\xff\x00", b"last"]


async def test_a_line_that_is_too_long(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is thrown away as it comes, and counted."""
    monkeypatch.setattr(_input, "LONGEST", 10)
    monkeypatch.setattr(_input, "_READ", 7)
    os.write(pipe[1], b"x" * 100 + b"\nok\n" + b"y" * 14)
    os.close(pipe[1])
    assert await read(Lines(pipe[0])) == [Line(b"", 100), Line(b"ok", 2), Line(b"", 14)]
    sentence = r"length of a line must be at most 10 bytes \(split the message, or .*\), not 100$"
    with pytest.raises(InvalidOptionsError, match=sentence):
        message_of(Line(b"", 100), binary=False)


@pytest.mark.needs("pipes that can be asked")
async def test_what_was_not_taken(pipe: Pipe) -> None:
    """Is counted: what was read ahead and what waits in the pipe, but nothing is waited for."""
    lines = Lines(pipe[0])
    os.write(pipe[1], b"one\ntwo\nthree\nfo")
    assert await lines.next() == Line(b"one", 3)
    os.write(pipe[1], b"ur\nfive")
    assert lines.rest() == (4, 19)
    os.close(pipe[1])
    assert lines.rest() == (4, 19)


async def test_what_a_thread_waits_for_is_not_counted(pipe: Pipe) -> None:
    """Because it would be taken from that thread."""
    lines = Lines(pipe[0])
    with trio.move_on_after(0.01):
        await lines.next()
    os.write(pipe[1], b"late\n")
    assert lines.rest() == (0, 0)
    await wait_for_threads()  # or it would read from the pipe of the next test, which has the same number


@pytest.mark.needs("pipes that can be asked")
async def test_a_descriptor_that_does_not_block(pipe: Pipe) -> None:
    """Because another program has set it so."""
    os.set_blocking(pipe[0], False)
    lines = Lines(pipe[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, os.write, pipe[1], b"hello\n")
        assert await lines.next() == Line(b"hello", 5)


@pytest.mark.needs("folders as files")
async def test_a_folder(tmp_path: os.PathLike[str]) -> None:
    """Ends the input, with the reason."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        lines = Lines(folder)
        assert await lines.next() is None
        assert lines.error is not None
        assert lines.error.errno == errno.EISDIR
    finally:
        os.close(folder)


@pytest.mark.parametrize(
    ("encoding", "data", "text"),
    [
        ("utf-8", "漢é\x00".encode(), "漢é\x00"),
        ("ascii", "漢é".encode(), "漢é"),
        ("cp1252", "é".encode("cp1252"), "é"),
        ("cp1252", "é\u0101".encode(), "é\u0101"),  # of which a byte is none of that encoding
    ],
)
def test_text(monkeypatch: pytest.MonkeyPatch, encoding: str, data: bytes, text: str) -> None:
    """In the encoding of the locale, or in UTF-8 where it is none."""

    class Input:
        pass

    fake = Input()
    fake.encoding = encoding  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdin", fake)
    assert message_of(Line(data, len(data)), binary=False) == text


def test_what_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither text nor hexadecimal."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    with pytest.raises(InvalidOptionsError, match=r"line must be text in .*, or use --binary, not bytes of length 2"):
        message_of(Line(b"\xff\xfe", 2), binary=False)
    with pytest.raises(InvalidOptionsError, match="line must be hexadecimal with --binary"):
        message_of(Line(b"\xc3\xa9", 2), binary=True)
    assert message_of(Line(b"00 fF", 5), binary=True) == b"\x00\xff"
