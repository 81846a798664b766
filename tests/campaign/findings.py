"""What one run found: what was wrong, figures, and a trace of what happened."""

from __future__ import annotations

from collections import Counter
from typing import final

import attrs
import trio

MOST_PROBLEMS = 10  # of one run: the first tell most


@final
@attrs.define
class Findings:
    """The findings of one run."""

    part: str
    seed: int
    problems: list[str] = attrs.field(factory=list)
    figures: Counter[str] = attrs.field(factory=Counter)
    trace: list[str] = attrs.field(factory=list)

    def wrong(self, what: str) -> None:
        """Note something that must not be."""
        self.note(f"WRONG: {what}")
        if what not in self.problems and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(what)

    def check(self, condition: object, what: str) -> None:
        """Note something that must not be, unless it is as it must be."""
        if not condition:
            self.wrong(what)

    def note(self, what: str) -> None:
        """Note what happened, and when."""
        try:
            self.trace.append(f"{trio.current_time():12.4f}  {what}")
        except RuntimeError:  # before or after the run
            self.trace.append(f"{'':12}  {what}")

    def count(self, what: str, number: int = 1) -> None:
        """Add to a figure."""
        self.figures[what] += number
