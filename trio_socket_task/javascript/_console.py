"""What a script has printed."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, NamedTuple, final, overload

import trio

_KEPT: Final = 10_000


class ConsoleLine(NamedTuple):
    """One call of the script's console."""

    level: str
    """``debug``, ``log``, ``info``, ``warn`` or ``error``."""
    text: str
    """What it printed."""


@final
class Console(Sequence[ConsoleLine]):
    """What a script has printed, in order; what it threw that nobody caught is there, too, as an error.

    A sequence of the last 10 000 lines. ``async for`` gives those and waits for more, until the program's block ends.
    """

    def __init__(self) -> None:
        self._lines: deque[ConsoleLine] = deque(maxlen=_KEPT)
        self.written: int = 0
        """How many lines there have been."""
        self._ended = False
        self._readers = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Console of {len(self._lines)} lines>"

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> ConsoleLine: ...

    @overload
    def __getitem__(self, index: slice) -> list[ConsoleLine]: ...

    def __getitem__(self, index: int | slice) -> ConsoleLine | list[ConsoleLine]:
        return list(self._lines)[index] if isinstance(index, slice) else self._lines[index]

    def __iter__(self) -> Iterator[ConsoleLine]:
        return iter(list(self._lines))

    def __aiter__(self) -> AsyncIterator[ConsoleLine]:
        return _Reader(self)

    async def wait_line(self, number: int) -> ConsoleLine | None:
        """Wait for a line, counted from 0, or for the first one that is still kept; return None after the end."""
        await trio.lowlevel.checkpoint()
        while self.written <= number:
            if self._ended:
                return None
            await self._readers.park()
        return self._lines[max(number - self.written, -len(self._lines))]

    def write(self, level: str, text: str) -> None:
        """Write a line."""
        self._lines.append(ConsoleLine(level, text))
        self.written += 1
        self._readers.unpark_all()

    def end(self) -> None:
        """End the iterators: nothing more is printed."""
        self._ended = True
        self._readers.unpark_all()


@final
class _Reader(AsyncIterator[ConsoleLine]):
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = console.written - len(console)

    async def __anext__(self) -> ConsoleLine:
        line = await self._console.wait_line(self._next)
        if line is None:
            raise StopAsyncIteration
        self._next = max(self._next, self._console.written - len(self._console)) + 1
        return line
