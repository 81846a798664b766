"""The three standard streams, made fit for whatever is read and written."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Literal, TextIO

from ._input import Lines
from ._output import discard


def prepare_streams() -> None:
    """Open closed streams on the null device, and escape what a stream cannot encode or decode.

    The numbers of closed ones are taken, so that no connection gets them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free: this one
    # Not on the numbers from 0 to 2: a library that was loaded since, such as libffi, may have got one of them.
    if sys.stdin is None:
        sys.stdin = _open_null("r")
    if sys.stdout is None:
        sys.stdout = _open_null("w")
    if sys.stderr is None:
        sys.stderr = _open_null("w")
    streams = ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace"))
    for stream, errors in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _open_null(mode: Literal["r", "w"]) -> TextIO:
    return open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False)


def input_lines() -> Lines:
    """Return the lines of standard input.

    The console of Windows is read by Python's own means, which return UTF-8, whatever its code page.
    """
    descriptor = 0
    with suppress(OSError):  # a notebook's has none
        descriptor = sys.stdin.fileno()
    raw = getattr(getattr(sys.stdin, "buffer", None), "raw", None)
    if os.name == "nt" and sys.stdin.isatty() and isinstance(raw, io.RawIOBase):
        return Lines(descriptor, lambda size: raw.read(size) or b"")
    return Lines(descriptor)


def flush_streams() -> None:
    """Write what is left, or drop it: an error would only be told at the interpreter's exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                discard(stream)
