"""What is shown below what is printed, at a terminal: a line of statistics, and the prompt with what is being typed."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO, final

import trio

from trio_socket_task._text import printable

PROMPT: Final = "> "
_WIDTH: Final = 80
_PATIENCE: Final = 1.0
"""Seconds that the other thread may take to show the prompt it was asked for, or to report the line it has got."""
_ERASE: Final = "\r\x1b[J"  # ECMA-48 section 8.3.39: from the cursor to the end of the screen


def can_redraw(stream: TextIO) -> bool:
    """Whether a stream is a terminal that knows how to erase; of the consoles of Windows the new one says so."""
    return stream.isatty() and (os.name == "posix" or "WT_SESSION" in os.environ) and os.environ.get("TERM") != "dumb"


@final
class Screen:
    """The last rows of a terminal; the thread that waits for a typed line uses it, too."""

    def __init__(self, stream: TextIO, typed: Callable[[], str | None] | None = None) -> None:
        self._stream = stream
        # Tells what is being typed, or None once readline has let go of the terminal; None where there is no prompt.
        self._typed = typed
        self._status = ""
        self._lock = threading.Lock()
        self._prompting = False  # whether a line is being typed
        self._asked = False  # whether the prompt may appear at any moment
        self._over = False  # whether no prompt is to appear any more
        self._answered = threading.Event()  # set when the prompt was shown, or will not be
        self._ended = threading.Event()  # set when the line that was typed has ended
        self._rows: int | None = None  # how many are ours above that of the cursor; None when nothing is ours

    # Ctrl-C waits in these until what is on the screen is what this object takes it to be, and the lock is free.
    @trio.lowlevel.enable_ki_protection
    def print_above(self, write: Callable[[], object]) -> None:
        """Print something: what is shown below is erased first and drawn again afterwards."""
        self._wait_for_end_of_line()
        with self._lock:
            self._erase()
            try:
                write()
            finally:
                self._draw()

    @trio.lowlevel.enable_ki_protection
    def set_status(self, line: str) -> None:
        """Show a line below what is printed, in place of the one before."""
        self._wait_for_end_of_line()
        with self._lock:
            self._erase()
            self._status = line
            self._draw()

    def ask(self) -> bool:
        """Expect the prompt: from now on the terminal may show it; return False when it is not to appear any more."""
        with self._lock:
            self._asked = not self._over
            if self._asked:
                self._answered.clear()
            return self._asked

    def begin_prompt(self) -> None:
        """Hold back whatever would be printed, until `begin_line`: the prompt is being shown."""
        self._lock.acquire()

    def begin_line(self) -> None:
        """Note that the prompt is shown and that typing begins."""
        self._ended.clear()
        try:
            self._asked, self._prompting, self._rows = False, True, 0
            if self._status:
                self._erase()
                self._draw()
        finally:
            self._lock.release()
        self._answered.set()

    def end_line(self, line: str) -> None:
        """Note that a line was taken, and that the cursor is in a row of its own: what stood above the line goes."""
        with self._lock:
            if self._prompting and self._rows:
                up = self._rows + _width(PROMPT + line) // self._columns() + 1
                self._write(f"\x1b[{up}A{_ERASE}{PROMPT}{printable(line)}\n")
            self._asked = self._prompting = False
            self._rows = None
        self._answered.set()
        self._ended.set()

    def end_input(self) -> None:
        """Note that no line comes any more, and that the cursor is behind the prompt: erase what is shown below."""
        self._ended.set()
        self.end()

    @trio.lowlevel.enable_ki_protection
    def end(self) -> None:
        """Erase what is shown below for good; a prompt that is about to appear is waited for, and none comes later."""
        with self._lock:
            self._over = True
            asked = self._asked
        if asked:
            self._answered.wait(_PATIENCE)
        self._wait_for_end_of_line()
        with self._lock:
            self._erase()
            self._asked = self._prompting = False
            self._status = ""
            self._typed = None

    @property
    def half_line(self) -> str:
        """What was typed of a line that is not ended."""
        return (self._prompting and self._typed is not None and self._typed()) or ""

    def _wait_for_end_of_line(self) -> None:
        # Between readline's end of a line and `end_line` the cursor is not where this object takes it to be.
        typed = self._typed
        if self._prompting and typed is not None and typed() is None:
            self._ended.wait(_PATIENCE)
            self._ended.set()  # else somebody else has changed the terminal, which is not waited for again

    def _erase(self) -> None:
        if self._asked:
            self._write(_ERASE)
        if self._rows is not None:
            up = self._rows + (_width(PROMPT + self.half_line) // self._columns() if self._prompting else 0)
            self._write((f"\x1b[{up}A" if up else "") + _ERASE)
            self._rows = None

    def _draw(self) -> None:
        status = self._status[: self._columns() - 1]
        if self._prompting:
            self._write((f"{status}\n" if status else "") + PROMPT + printable(self.half_line))
            self._rows = bool(status)
        elif status and self._typed is None:
            self._write(status)
            self._rows = 0

    def _columns(self) -> int:
        with suppress(OSError, ValueError):  # it is no terminal any more
            return os.get_terminal_size(self._stream.fileno()).columns or _WIDTH
        return _WIDTH

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that is gone needs no drawing
            self._stream.write(text)
            self._stream.flush()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
