"""What is told of a script: what it prints, and what it throws that nobody catches."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from ._console import Console
from ._errors import JavaScriptError

_KEPT: Final = 1_000


@final
class Reports:
    """Its console and its errors."""

    def __init__(self) -> None:
        self.console: Console = Console()
        self.errors: deque[JavaScriptError] = deque(maxlen=_KEPT)

    def print(self, level: str, text: str) -> None:
        """Put a line to the console; JavaScript's text may have half characters."""
        self.console.write(level, text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    def tell(self, error: JavaScriptError) -> None:
        """Tell an error, on the console as well."""
        self.errors.append(error)
        self.print("error", f"Uncaught {error}")
