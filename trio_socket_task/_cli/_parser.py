"""The command line from its arguments to its exit code."""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from trio_socket_task._errors import InvalidOptionsError, SocketTaskError

from ._arguments import PROGRAM, answer_seconds, check, delivery_seconds, options_of, parse
from ._connect import Settings, run_connect
from ._error_text import ServeError, error_text
from ._input import Source
from ._output import Output, WriteError
from ._probe import probe
from ._prompt import Prompt
from ._screen import Screen, can_redraw
from ._signals import run_until_signal
from ._streams import flush_streams, input_lines, prepare_streams

_LOST: Final = 1
_WRONG: Final = 2
_INTERRUPTED: Final = 130
_PIPE: Final = 141


def prepare(arguments: Sequence[str] | None, output: Output) -> Callable[[], Awaitable[int]]:
    """Return the command that the arguments ask for, which returns the exit code.

    Raises:
        SystemExit: An argument is none, or help was asked for.
        InvalidOptionsError: A value breaks the rule of its option.
    """
    parsed = parse(arguments)
    output.as_json = "json" in parsed and parsed.json
    output.shows_body = "show_body" in parsed and parsed.show_body
    check(parsed)
    # The test kit takes as long to import as all else, so the commands that use it, or more, import it.
    if parsed.command == "demo":
        from ._demo import run_demo  # noqa: PLC0415 (as said)

        return partial(run_until_signal, partial(run_demo, output.line))
    if parsed.command == "serve":
        from ._serve import serve  # noqa: PLC0415 (as said)

        serving = trio.CancelScope()
        job = partial(serve, parsed.port, output, serving, tls=parsed.tls, chaos=parsed.chaos)
        return partial(run_until_signal, job, serving)
    if parsed.command == "run":
        from ._run import run_script  # noqa: PLC0415 (as said)

        running = trio.CancelScope()
        return partial(run_until_signal, partial(run_script, parsed, output, running), running)
    if parsed.command == "probe":
        job = partial(probe, parsed.url, options_of(parsed), output, answer_seconds(parsed))
        return partial(run_until_signal, job)
    return partial(run_until_signal, partial(run_connect, _settings(parsed, output)))


def _settings(parsed: argparse.Namespace, output: Output) -> Settings:
    output.raw = parsed.raw
    if output.raw and sys.stdout.isatty():
        raise InvalidOptionsError("--raw", parsed.raw, "needs standard output to be a file or a pipe")
    options = options_of(parsed)
    output.stamped = sys.stdin.isatty() and sys.stdout.isatty() and not parsed.json
    source: Source | None = None if parsed.listen else input_lines()
    if output.stamped and source is not None and can_redraw(sys.stdout):
        with suppress(ImportError):  # then lines are typed without a prompt
            source = prompt = Prompt()
            output.screen = prompt.screen
    if parsed.stats and output.screen is None and can_redraw(sys.stderr):
        output.screen = Screen(sys.stderr)
    return Settings(
        url=parsed.url,
        options=options,
        output=output,
        source=source,
        binary=parsed.binary,
        count=parsed.count,
        keep=parsed.keep,
        statistics=parsed.stats,
        pong=answer_seconds(parsed),
        delivery=delivery_seconds(parsed),
        trace=parsed.trace,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    prepare_streams()
    logging.basicConfig(handlers=[logging.NullHandler()])  # the commands report all that matters themselves
    output = Output()
    try:
        return trio.run(prepare(arguments, output), strict_exception_groups=True)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 (what has no exit code is raised)
        return exit_code(error, output)
    finally:
        flush_streams()


def exit_code(error: BaseException, output: Output) -> int:
    """Report what ended the run, where that is news, and return the exit code; raise a bug."""
    causes = list(_leaves(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return _INTERRUPTED
    if not all(isinstance(cause, SocketTaskError | WriteError | ServeError) for cause in causes):
        raise error
    first = causes[0]
    if isinstance(first, WriteError):
        if _reader_has_left(first.__cause__):
            return _PIPE  # as the shell's tools end when their reader has left
        output.as_json = False
        output.event(PROGRAM, f"cannot write to standard output: {error_text(first.__cause__ or first)}")
        return _LOST
    output.error(first, PROGRAM)
    return _WRONG if isinstance(first, ValueError) else _LOST


def _reader_has_left(error: BaseException | None) -> bool:
    is_invalid = isinstance(error, OSError) and error.errno == errno.EINVAL  # which Windows says of such a pipe
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and is_invalid)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
