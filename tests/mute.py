"""An error for tests of what is said of errors."""

from __future__ import annotations


class MuteError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__
