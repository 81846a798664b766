"""What exceptions of streams say: the cause behind Trio's own, as a sentence."""

from __future__ import annotations

from traceback import clear_frames

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


def forget_frames(error: BaseException | None) -> None:
    """Clear the frames that an error's traceback leads through: they refer to what refers to the error, in a cycle."""
    if error is not None:
        clear_frames(error.__traceback__)
