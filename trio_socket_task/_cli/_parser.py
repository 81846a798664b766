"""The arguments of the command line, and what they start."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from trio_socket_task._errors import InvalidOptionsError, SocketTaskError
from trio_socket_task._options import ConnectOptions
from trio_socket_task._version import __version__

from ._connect import Talk, insecure_context, talk
from ._demo import run_demo
from ._paper import Paper
from ._probe import probe
from ._serve import serve

_CODES = """\
exit codes: 0 closed normally, 1 could not connect or was lost, 2 wrong arguments, 130 Ctrl-C (the server is told 1001)
"""
_LOST, _WRONG, _INTERRUPTED, _PIPE = 1, 2, 130, 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-socket-task", description="WebSockets on the command line.", epilog=_CODES
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    reached = argparse.ArgumentParser(add_help=False)
    reached.add_argument("url", metavar="URL", help="such as wss://example.org/chat")
    reached.add_argument(
        "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a field of the request"
    )
    reached.add_argument("--protocol", action="append", default=[], metavar="NAME", help="a subprotocol to offer")
    reached.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for the opening (default 60)")
    reached.add_argument("--insecure", action="store_true", help="trust any certificate")

    connect = commands.add_parser(
        "connect", parents=[reached], help="send lines, print messages; at a terminal, with a prompt", epilog=_CODES
    )
    connect.add_argument("--json", action="store_true", help="print messages and events as lines of JSON")
    connect.add_argument("--binary", action="store_true", help="lines are hexadecimal and go out as binary messages")
    connect.add_argument("--count", type=int, metavar="N", help="end after so many messages")
    connect.add_argument("--keep", action="store_true", help="connect again when the connection is lost")
    connect.add_argument("--stats", action="store_true", help="show rates, round trip and buffers every second")

    commands.add_parser("probe", parents=[reached], help="take one connection apart: timings, header, pings, close")

    serving = commands.add_parser("serve", help="echo on a port of this machine, to try things against")
    serving.add_argument("--port", type=int, default=8000, help="0 for any free one (default 8000)")
    serving.add_argument("--tls", action="store_true", help="with a throw-away certificate")
    serving.add_argument("--chaos", action="store_true", help="refuse, drop, stall and garble at random")

    commands.add_parser("demo", help="show the library at work, against a server of its own")
    return parser


def _options(parsed: argparse.Namespace) -> ConnectOptions:
    header = {}
    for field in parsed.header:
        name, colon, value = field.partition(":")
        if not colon:
            raise InvalidOptionsError("--header", field, "must be 'NAME: VALUE'")
        header[name.strip()] = value.strip()
    options = ConnectOptions(header=header, protocols=parsed.protocol, timeout=parsed.timeout)
    if parsed.insecure and parsed.url.lower().startswith("wss"):
        options["ssl_context"] = insecure_context()
    return options


def _job(parsed: argparse.Namespace) -> Callable[[], Awaitable[int]]:
    """Give what the arguments ask for."""
    if parsed.command == "demo":
        return run_demo
    if parsed.command == "serve":
        return partial(serve, parsed.port, tls=parsed.tls, chaos=parsed.chaos)
    options = _options(parsed)
    if parsed.command == "probe":
        return partial(probe, parsed.url, options)
    if parsed.count is not None and parsed.count < 1:
        raise InvalidOptionsError("--count", parsed.count, "must be a positive number")
    wanted = Talk(
        url=parsed.url,
        options=options,
        paper=Paper(as_json=parsed.json, live=sys.stdin.isatty() and sys.stdout.isatty() and not parsed.json),
        binary=parsed.binary,
        count=parsed.count,
        keep=parsed.keep,
        statistics=parsed.stats,
    )
    return partial(talk, wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        return trio.run(_job(parsed), strict_exception_groups=True)
    except SocketTaskError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _WRONG if isinstance(error, ValueError) else _LOST
    except (KeyboardInterrupt, BrokenPipeError, OSError, BaseExceptionGroup) as error:
        return _verdict(error, parser.prog)


def _verdict(error: BaseException, program: str) -> int:
    """Judge what came out of the run: an interrupt and a reader that has left are no news."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing is written at the exit
        return _PIPE
    if isinstance(error, OSError):
        print(f"{program}: {error}", file=sys.stderr)
        return _LOST
    raise error
