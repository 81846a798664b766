"""The loggers of the package: a filter or a handler of the program's that raises must not stop a socket's task."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, final


@final
class SafeLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls never raise an `Exception`, whatever the program has put into it."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 (as logging has it)
        """Log a line, as from the function that asks for it."""
        with suppress(Exception):
            super().log(level, msg, *args, stacklevel=2, **kwargs)
