"""What exceptions of streams say: the cause behind Trio's own, as a sentence."""

from __future__ import annotations

import trio


def root_cause(error: BaseException) -> BaseException:
    """Return the OS or TLS error behind Trio's own."""
    if isinstance(error, trio.BrokenResourceError) and error.__cause__ is not None:
        return root_cause(error.__cause__)
    return error


def describe(error: BaseException) -> str:
    """Return what an exception says, with the failures of single addresses that Trio keeps in its cause."""
    said = str(error) or type(error).__name__
    if isinstance(error.__cause__, BaseExceptionGroup):
        said += f" ({'; '.join(describe(single) for single in error.__cause__.exceptions)})"
    return said
