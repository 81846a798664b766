"""What exceptions of streams say: the cause behind Trio's own, as a sentence."""

from __future__ import annotations

import ctypes
import sys
from traceback import walk_tb

import trio

from trio_socket_task._errors import SocketTaskError
from trio_socket_task._text import text_of


def root_cause(error: BaseException) -> BaseException:
    """Return the OS or TLS error behind Trio's own."""
    if isinstance(error, trio.BrokenResourceError) and error.__cause__ is not None:
        return root_cause(error.__cause__)
    return error


def describe(error: BaseException) -> str:
    """Return what an exception says, with the failures of single addresses that Trio keeps in its cause."""
    said = text_of(error)
    if sys.platform == "win32" and isinstance(error, OSError) and error.errno is not None:
        # Trio asks os.strerror, which knows no codes of sockets there.
        said = said.replace("Unknown error", ctypes.FormatError(error.errno))
    if isinstance(error.__cause__, BaseExceptionGroup):
        said += f" ({'; '.join(describe(single) for single in error.__cause__.exceptions)})"
    return said


def forget_tracebacks(error: BaseException | None) -> None:
    """Let go of the frames that an error and its causes came through: their callers refer to what keeps the error.

    A note says where an error was raised, unless it is the system's or this library's own.
    """
    while error is not None and error.__traceback__ is not None:
        *_, (frame, line) = walk_tb(error.__traceback__)
        error.__traceback__ = None
        if not isinstance(error, OSError | SocketTaskError):
            error.add_note(f"raised in {frame.f_code.co_name}, {frame.f_code.co_filename}, line {line}")
        error = error.__cause__ or error.__context__
