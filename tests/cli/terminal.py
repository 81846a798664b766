"""The command line at a terminal of 80 columns: a pseudo-terminal, and what a person sees there."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

COMMAND = (sys.executable, "-P", "-m", "trio_socket_task")
ENVIRONMENT = {**os.environ, "PYTHONUTF8": "1", "TERM": "xterm"}
COLUMNS = 80
_SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


class Terminal:
    """A command that runs at a terminal."""

    def __init__(self, process: trio.Process, master: int) -> None:
        self.process = process
        self.written = ""
        self._master = master

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self._master)
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the other end open any more
            return False
        self.written += data.decode("utf-8", "replace")
        return bool(data)

    async def until(self, pattern: str) -> None:
        """Wait until something is written."""
        while not re.search(pattern, self.written):
            assert await self._read(), (pattern, self.written)

    async def end(self) -> int:
        """Wait for the end, and return the exit code."""
        while await self._read():
            pass
        return await self.process.wait()

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def rows(self) -> list[str]:
        """Return what is on the screen, which is as high as needed."""
        return render(self.written)


def render(written: str) -> list[str]:
    """Return the rows that a terminal shows; nothing but what readline and this program use is understood."""
    rows, row, column, at = [""], 0, 0, 0
    while at < len(written):
        character = written[at]
        found = _SEQUENCE.match(written, at)
        at = found.end() if found else at + 1
        if found:
            if found[2] == "A":
                row = max(0, row - int(found[1] or 1))
            elif found[2] in "JK":
                rows[row] = rows[row][:column]
                if found[2] == "J":
                    del rows[row + 1 :]
        elif character == "\r":
            column = 0
        elif character == "\b":
            column -= 1
        elif character == "\n" or (character >= " " and column == COLUMNS):
            row, column = row + 1, 0
        if not found and character >= " ":
            rows += [""] * (row + 1 - len(rows))
            rows[row] = rows[row][:column].ljust(column) + character + rows[row][column + 1 :]
            column += 1
        rows += [""] * (row + 1 - len(rows))
    return rows


@asynccontextmanager
async def at_terminal(*arguments: str, environment: dict[str, str] | None = None) -> AsyncIterator[Terminal]:
    """Run the command line at a terminal for the length of a block."""
    import pty  # noqa: PLC0415 (not everywhere: tests at a terminal are marked)
    import termios  # noqa: PLC0415 (as above)

    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, COLUMNS))
    command: Sequence[str] = [*COMMAND, *arguments]
    try:
        process = await trio.lowlevel.open_process(
            command, stdin=slave, stdout=slave, stderr=slave, env=ENVIRONMENT | (environment or {})
        )
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
    finally:
        os.close(master)
