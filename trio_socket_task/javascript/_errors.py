"""What goes wrong in a script."""

from __future__ import annotations

from typing import Final, final

REPLACED: Final = (
    "what the script gives cannot be read: it nests too deep, or the script has replaced what this needs, such as "
    "Array.prototype.toJSON or Array.isArray"
)


@final
class JavaScriptError(Exception):
    """A script is wrong: it cannot be read, or threw what nobody caught."""

    def __init__(self, message: str, file: str | None = None, line: int | None = None, stack: str = "") -> None:
        super().__init__(message, file, line, stack)
        self.message = message
        """What is wrong, such as ``TypeError: not a function``."""
        self.file = file
        """The file, from the program's folder on; None where the engine does not tell it."""
        self.line = line
        """The line in that file, counted from 1."""
        self.stack = stack
        """The calls that led there, the innermost first, one in a line."""

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        return f"{self.message}\n{self.stack}" if self.stack else f"{self.message}\n    at {self.file}:{self.line}"
