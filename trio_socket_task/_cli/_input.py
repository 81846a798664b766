"""Standard input, line by line, and the message that a line is."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol, final

import attrs
import trio

from trio_socket_task._errors import InvalidOptionsError

LONGEST: Final = 2**24
"""Bytes that a line may have: as many as a message that a peer with the usual limits takes."""
_READ: Final = 2**16


@final
@attrs.frozen
class Line:
    """A line that was typed or piped."""

    data: bytes
    """Without its end."""
    size: int
    """Its bytes, which are more than those of `data` when it was too long to keep."""


class Source(Protocol):
    """Where lines come from."""

    async def next(self) -> Line | None:
        """Wait for the next line; None at the end of the input."""

    def rest(self) -> tuple[int, int]:
        """Return how many lines, and how many bytes, were given to the program and not taken by it."""


@final
class Lines:
    """The lines of a descriptor, which another thread waits for.

    Args:
        descriptor: What is read.
        read: How so many bytes of it are read, at most; by default as they are.
    """

    def __init__(self, descriptor: int, read: Callable[[int], bytes] | None = None) -> None:
        self.error: OSError | None = None
        """Why the input ended, where it could not be read."""
        self._descriptor = descriptor
        self._read_some = read or partial(os.read, descriptor)
        self._buffer = bytearray()
        self._searched = 0  # how much of the buffer is known to hold no end of a line
        self._reading = False  # whether a thread waits for input

    async def next(self) -> Line | None:
        """Wait for the next line; None at the end of the input."""
        dropped = 0
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            if len(self._buffer) > LONGEST:
                dropped += len(self._buffer)
                self._buffer.clear()
            self._searched = len(self._buffer)
            self._reading = True
            data = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            self._reading = False
            if not data:
                if not self._buffer and not dropped:
                    return None
                end = len(self._buffer)
                break
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return Line(b"" if dropped else line.removesuffix(b"\r"), len(line) + dropped)

    def _read(self) -> bytes:
        try:
            while True:
                with suppress(BlockingIOError):  # whoever shares the descriptor has set it so
                    return self._read_some(_READ)
                select.select([self._descriptor], [], [])
        except OSError as error:
            self.error = error
            return b""

    def rest(self) -> tuple[int, int]:
        """Return how many lines, and how many bytes, can be read at once and were not taken."""
        with suppress(OSError):  # where only sockets can be asked
            while not self._reading and len(self._buffer) < LONGEST and self._is_ready():
                data = self._read()
                if not data:
                    break
                self._buffer += data
        is_open = bool(self._buffer) and not self._buffer.endswith(b"\n")
        return self._buffer.count(b"\n") + is_open, len(self._buffer)

    def _is_ready(self) -> bool:
        return bool(select.select([self._descriptor], [], [], 0)[0])


def message_of(line: Line, *, binary: bool) -> str | bytes:
    """Return the message that a line is: bytes of its hexadecimal digits, or text in the locale's encoding or UTF-8.

    Raises:
        InvalidOptionsError: It is neither, or too long.
    """
    if line.size > LONGEST:
        rule = f"must be at most {LONGEST} bytes (split the message, or send it from a program)"
        raise InvalidOptionsError("length of a line", line.size, rule)  # of its data nothing was kept
    if not binary:
        for encoding in (sys.stdin.encoding, "utf-8"):
            with suppress(UnicodeDecodeError):
                return line.data.decode(encoding)
        raise InvalidOptionsError("line", line.data, f"must be text in {sys.stdin.encoding}, or use --binary")
    try:
        return bytes.fromhex(line.data.decode("ascii"))
    except ValueError:
        raise InvalidOptionsError("line", line.data, "must be hexadecimal with --binary") from None
