"""The prompt of a person's terminal: lines are edited, while messages come in above them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import final

import trio

from ._input import Line
from ._screen import PROMPT, Screen


@final
class Prompt:
    """Lines that a person types.

    Raises:
        ImportError: This Python has no readline that tells when it shows its prompt.
    """

    def __init__(self) -> None:
        import readline  # noqa: PLC0415 (not everywhere, and not without need: it touches the terminal)
        import termios  # noqa: PLC0415 (as above)

        if not hasattr(readline, "set_pre_input_hook"):
            raise ImportError("this readline does not tell when it shows its prompt")

        def typed() -> str | None:
            with suppress(termios.error):  # it is no terminal any more
                if termios.tcgetattr(sys.stdin)[3] & termios.ICANON:
                    return None  # as readline leaves it when it has got a line, or the end of the input
            return readline.get_line_buffer()

        self.screen: Screen = Screen(sys.stdout, typed)
        """Where they are typed."""
        readline.parse_and_bind("set enable-bracketed-paste off")  # which would outlast this program
        for setting in ("input-meta on", "output-meta on", "convert-meta off"):  # all bytes, in every locale
            readline.parse_and_bind(f"set {setting}")
        readline.set_startup_hook(self.screen.begin_prompt)
        readline.set_pre_input_hook(self.screen.begin_line)

    async def next(self) -> Line | None:
        """Wait for a line; None at the end of the input."""
        return await trio.to_thread.run_sync(self._ask, abandon_on_cancel=True)

    def _ask(self) -> Line | None:
        if not self.screen.ask():
            return None
        try:
            text = input(PROMPT)
        except EOFError:
            self.screen.end_input()
            return None
        self.screen.end_line(text)
        data = text.encode(sys.stdin.encoding, "surrogateescape")
        return Line(data, len(data))

    def rest(self) -> tuple[int, int]:
        """Return what was typed of a line that is not ended: how many lines, and how many bytes."""
        size = len(self.screen.half_line.encode("utf-8", "surrogateescape"))
        return int(size > 0), size

    @contextmanager
    def terminal(self) -> Iterator[None]:
        """Leave the terminal as it was: the thread that waits for a line is not waited for."""
        import termios  # noqa: PLC0415 (as above)

        before = termios.tcgetattr(sys.stdin)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
