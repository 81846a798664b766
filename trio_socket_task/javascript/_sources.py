"""The text that the engine runs, by file: which line of it is which line of a file."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final, final

_FIRST: Final = 10_000  # below it are the lines of code that a script makes by itself, with eval or Function
_PLACE: Final = re.compile(r"<input>:(\d{1,9})(?!\d)(:\d+)?")  # a script may write what it likes
_NATIVE: Final = "(native)"
_LINE: Final = re.compile(r"^ *at (?:.* \()?([^()]+?):(\d{1,9})(?::\d+)?\)?$", re.MULTILINE)


@final
class Sources:
    """Gives each file lines of its own, because the engine calls every file by one name and tells only the line."""

    def __init__(self) -> None:
        self._next = _FIRST
        self._starts: list[int] = []
        self._names: list[str | None] = []

    def add(self, name: str | None, source: str) -> int:
        """Add a file, or of no name one that no stack shows; return the number of its first line."""
        start = self._next
        self._starts.append(start)
        self._names.append(name)
        self._next += len(source.split("\n")) + 3
        return start

    def stack(self, text: str) -> str:
        """Return a stack with files and their lines."""
        lines = [line for line in map(self._line, text.splitlines()) if line.strip()]
        while lines and lines[-1].endswith(_NATIVE):  # how the prelude has called the file
            lines.pop()
        return "\n".join(lines)

    def _line(self, line: str) -> str:
        found = _PLACE.search(line)
        number = int(found[1]) if found else 0
        if found is None or number < _FIRST:
            return line
        index = bisect_right(self._starts, number) - 1
        name = self._names[index]
        if name is None:
            return ""
        return f"{line[: found.start()]}{name}:{number - self._starts[index] + 1}{found[2] or ''}{line[found.end() :]}"


def place(stack: str) -> tuple[str | None, int | None]:
    """Return the file and the line where a stack begins."""
    found = _LINE.search(stack)
    return (found[1], int(found[2])) if found else (None, None)
