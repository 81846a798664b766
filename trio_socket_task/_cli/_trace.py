"""The log of the package, printed: what `connect --trace` shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

from ._output import Output

_LOGGER: Final = "trio_socket_task"


@final
class _Printer(logging.Handler):
    """What prints a line of the log as an event."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.DEBUG)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        self._output.event("trace", record.getMessage())


@contextmanager
def traced(output: Output) -> Iterator[None]:
    """Print what the package logs during the block."""
    logger, printer = logging.getLogger(_LOGGER), _Printer(output)
    level = logger.level
    logger.addHandler(printer)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(printer)
