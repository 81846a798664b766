"""The command line in this process, where a process of its own is not the point."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import attrs
import trio

from trio_socket_task._cli._output import Output
from trio_socket_task._cli._parser import exit_code, prepare
from trio_socket_task._cli._streams import flush_streams, prepare_streams


@attrs.frozen
class Completed:
    """What a command has returned and printed."""

    returncode: int
    stdout: bytes
    stderr: bytes


@contextmanager
def _standard_input(lines: bytes) -> Iterator[None]:
    """Read these lines from standard input."""
    before, descriptor = sys.stdin, os.dup(0)
    with tempfile.TemporaryFile() as file:
        file.write(lines)
        file.seek(0)
        os.dup2(file.fileno(), 0)
        try:
            with io.TextIOWrapper(file, encoding="utf-8") as sys.stdin:
                yield
        finally:
            sys.stdin = before
            os.dup2(descriptor, 0)
            os.close(descriptor)


async def wait_for_threads() -> None:
    """Wait until no thread is busy, also none that was abandoned: a late one would read the input of the next run."""
    limiter = trio.to_thread.current_default_thread_limiter()
    borrowers = [object() for _ in range(int(limiter.total_tokens))]
    for borrower in borrowers:
        await limiter.acquire_on_behalf_of(borrower)
    for borrower in borrowers:
        limiter.release_on_behalf_of(borrower)


async def run(*arguments: str, lines: bytes = b"") -> Completed:
    """Run the command line to its end, as `main` does, with lines on its standard input."""
    out, err, output = io.BytesIO(), io.BytesIO(), Output()
    stdout, stderr = (io.TextIOWrapper(stream, encoding="utf-8", newline="\n") for stream in (out, err))
    with trio.fail_after(60), _standard_input(lines), redirect_stdout(stdout), redirect_stderr(stderr):
        prepare_streams()
        try:
            code = await prepare(arguments, output)()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 (what has no exit code is raised)
            code = exit_code(error, output)
        await wait_for_threads()
        flush_streams()
    return Completed(code, out.getvalue(), err.getvalue())
