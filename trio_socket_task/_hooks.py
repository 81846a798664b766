"""A hook that nobody has set, or nobody needs any more."""

from __future__ import annotations


def nothing(*_about: object) -> None:
    """Stand in for it."""
