"""The arguments of the command line: what there are, and their rules."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn, final

from trio_socket_task._checks import check_positive
from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._options import ConnectOptions, Heartbeat
from trio_socket_task._version import __version__

from ._contexts import make_context

PROGRAM: Final = "trio-socket-task"
_OPENING: Final = 60.0
_ANSWER: Final = 5.0
_DELIVERY: Final = 10.0
_CODES: Final = (
    "exit codes: 0 closed normally; 1 not connected, lost, not sent, not answered; 2 wrong arguments; "
    "130 Ctrl-C, 143 SIGTERM, 129 SIGHUP (the server is told 1001)"
)
_SHORT_CODES: Final = "exit codes: 0 closed normally; 1 failed; 2 wrong arguments; 128+N by signal N"
_MAX_PORT: Final = 65535
_NAME: Final = re.compile(r"--[a-z-]+")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_QUOTE: Final = re.compile(r":? ['\"]")
_NEEDS_QUOTES: Final = 'with a blank needs quotes, as in --header "NAME: VALUE"'


@final
class _Parser(argparse.ArgumentParser):
    """Says what is wrong, and quotes nothing that was typed: a header in the wrong place is a secret, too."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 (as argparse's)
        super().__init__(allow_abbrev=False, **options)  # what may abbreviate two is quoted, with its value
        self.advice: str = f"see {self.prog} --help"
        """What is said beside what is wrong with a value."""

    def error(self, message: str) -> NoReturn:
        said, *typed = _QUOTE.split(message, maxsplit=1)
        self.refuse(f"{said}; {self.advice}" if typed else message)

    def refuse(self, sentence: str) -> NoReturn:
        """Exit with a sentence that quotes nothing."""
        super().error(sentence)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments.

    Raises:
        SystemExit: There is an option or a command that is none, or help was asked for.
    """
    parser = _parser()
    parsed, others = parser.parse_known_args(arguments)
    places: list[str] = [parsed.url] if "url" in parsed else getattr(parsed, "file", [])
    others += [word for word in places if word.startswith("--") and " " in word]  # an option, but for its blank
    if others:
        names = [name for name in (other.partition("=")[0] for other in others) if _NAME.fullmatch(name)]
        unknown = f"unknown: {' '.join(names)}" if names else f"{len(others)} too many"
        parser.refuse(f"arguments are {unknown}; one {_NEEDS_QUOTES}")
    if "url" in parsed and not _URL.match(parsed.url):  # so it may be a part of a header
        parser.refuse(f"URL must be absolute, starting with ws:// or wss://; another argument {_NEEDS_QUOTES}")
    return parsed


def check(parsed: argparse.Namespace) -> None:
    """Check the values that have a rule of their own here.

    Raises:
        InvalidOptionsError: A value breaks the rule of its option.
    """
    if parsed.command == "serve":
        if not 0 <= parsed.port <= _MAX_PORT:
            raise InvalidOptionsError("--port", parsed.port, f"must be from 0 to {_MAX_PORT}")
    elif parsed.command != "demo" and parsed.timeout is not None:
        check_positive("--timeout", parsed.timeout, "seconds")
    if parsed.command == "run":
        for name in parsed.file:
            if not os.path.isfile(name):  # noqa: PTH113 (Path's raises where the name is too long, or its folder locked)
                raise InvalidOptionsError("FILE", name, "must be a file that exists and can be reached")
    if parsed.command == "connect":
        for name, value in (("--count", parsed.count), ("--max-size", parsed.max_size)):
            if value is not None and value < 1:
                raise InvalidOptionsError(name, value, "must be a positive number")


def options_of(parsed: argparse.Namespace) -> ConnectOptions:
    """Return the options of `connect_socket` that the arguments ask for."""
    options = ConnectOptions(
        header=_header(parsed.header),
        protocols=parsed.protocol,
        timeout=parsed.timeout or _OPENING,
        close_timeout=parsed.timeout or _ANSWER,
        per_message_deflate=parsed.compress,
    )
    insecure, cafile, proxy = parsed.insecure, parsed.cafile, parsed.proxy or ""
    secure, proxy_secure = parsed.url.lower().startswith("wss"), proxy.lower().startswith("https:")
    trusted = cafile if secure or not proxy_secure else None
    context = make_context(secure=secure, insecure=insecure, cafile=trusted, cert=parsed.cert, key=parsed.key)
    if context is not None:
        options["ssl_context"] = context
    if parsed.command == "connect":
        if parsed.max_size is not None:
            options["max_message_size"] = parsed.max_size
        if parsed.heartbeat is not None:
            options["heartbeat"] = Heartbeat(interval=check_positive("--heartbeat", parsed.heartbeat, "seconds"))
    if parsed.proxy is not None:
        options["proxy"] = None if parsed.proxy == "none" else parsed.proxy
    if (insecure or cafile) and (proxy_secure or not proxy):
        options["proxy_ssl_context"] = make_context(secure=True, insecure=insecure, cafile=cafile, cert=None, key=None)
    return options


def answer_seconds(parsed: argparse.Namespace) -> float:
    """Return the seconds that a pong may take."""
    return parsed.timeout or _ANSWER


def delivery_seconds(parsed: argparse.Namespace) -> float:
    """Return the seconds that the delivery of the last messages may take."""
    return parsed.timeout or _DELIVERY


def _header(fields: Sequence[str]) -> dict[str, str]:
    """Return the fields by name; of one name several become one (RFC 7230 section 3.2.2, RFC 6265 section 5.4)."""
    values: dict[str, list[str]] = {}
    spelling: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise InvalidOptionsError("--header", field, 'must be "NAME: VALUE"')
        values.setdefault(spelling.setdefault(name.strip().lower(), name.strip()), []).append(value.strip())
    return {name: ("; " if name.lower() == "cookie" else ", ").join(several) for name, several in values.items()}


def _file(name: str) -> str:
    """Return the name of a file, which an empty variable is not, nor a key itself."""
    if not name or "\n" in name or name.startswith("-----"):
        raise argparse.ArgumentTypeError("must be the name of a file, neither empty nor what is in one")
    return name


def _parser() -> _Parser:
    parser = _Parser(prog=PROGRAM, description="WebSockets on the command line.", epilog=_CODES)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    reached = _Parser(add_help=False)
    reached.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    reached.add_argument("url", metavar="URL", help=argparse.SUPPRESS)
    reached.add_argument("--header", action="append", default=[], metavar='"N: V"', help="a field of the request")
    reached.add_argument("--protocol", action="append", default=[], metavar="NAME", help="a subprotocol to offer")
    reached.add_argument(
        "--timeout", type=float, metavar="S", help="seconds: opening (60), pong, close (5), delivery (10)"
    )
    reached.add_argument("--proxy", metavar="URL", help="go through it; none for none (the environment's)")
    reached.add_argument("--insecure", action="store_true", help="trust any certificate")
    reached.add_argument("--compress", action="store_true", help="offer to compress messages (permessage-deflate)")
    reached.add_argument("--cafile", type=_file, metavar="FILE", help="trust these authorities only, in PEM")
    reached.add_argument(
        "--cert", type=_file, metavar="FILE", help="a certificate for the server, in PEM; its key in --key FILE"
    )
    reached.add_argument("--key", type=_file, metavar="FILE", help=argparse.SUPPRESS)
    reached.add_argument("--show-body", action="store_true", help="print the body of the server's refusal, too")

    connect = commands.add_parser(
        "connect",
        parents=[reached],
        usage="%(prog)s [OPTION ...] URL",
        help="send lines, print messages; at a terminal, with a prompt",
        add_help=False,
        epilog=_SHORT_CODES,
    )
    connect.add_argument("--listen", action="store_true", help="read no lines, print until the end or Ctrl-C")
    connect.add_argument("--binary", action="store_true", help="lines are hexadecimal, for binary messages")
    connect.add_argument("--count", type=int, metavar="N", help="end after so many messages")
    connect.add_argument("--keep", action="store_true", help="connect again when the connection is lost")
    connect.add_argument("--stats", action="store_true", help="show rates, round trip, buffers every second")
    connect.add_argument("--trace", action="store_true", help="print each step and each frame, both ways")
    connect.add_argument("--heartbeat", type=float, metavar="S", help="ping every so many seconds")
    connect.add_argument("--max-size", type=int, metavar="N", help="bytes of a message, at most (16 MiB)")
    printed = connect.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print messages and events as lines of JSON")
    printed.add_argument("--raw", action="store_true", help="messages as they are; not at a terminal")

    commands.add_parser(
        "probe",
        parents=[reached],
        usage="%(prog)s [OPTION ...] URL",
        help="take one connection apart: timings, header, pings, close",
        add_help=False,
        epilog=_SHORT_CODES,
    )

    running = commands.add_parser(
        "run",
        usage="%(prog)s [OPTION ...] FILE [FILE ...]",
        help="run a mini program's JavaScript: app.js, then pages",
        epilog=(
            "exit codes: 0 nothing is left to run; 1 an error that nobody caught; 2 wrong arguments; "
            "124 still running after --timeout; 128+N by signal N"
        ),
    )
    running.add_argument("file", nargs="+", type=_file, metavar="FILE", help=argparse.SUPPRESS)
    running.add_argument("--vendor", choices=("wx", "qq"), default="wx", help="whose mini program it is (wx)")
    running.add_argument("--base-library", metavar="V", help="version of wx's; one socket at a time before 1.5.0")
    running.add_argument("--map", action="append", default=[], metavar="FROM=TO", help="lead URLs elsewhere; * for any")
    running.add_argument("--cafile", type=_file, metavar="FILE", help="trust these authorities only, in PEM")
    running.add_argument("--timeout", type=float, metavar="S", help="end it after so many seconds (never)")
    running.add_argument("--strict", action="store_true", help="as a phone: wss only, nothing for late listeners")

    serving = commands.add_parser("serve", help="echo on a port of this machine, to try things against")
    serving.add_argument("--port", type=int, default=8000, help="0 for any free one (default 8000)")
    serving.add_argument("--tls", action="store_true", help="with a throw-away certificate")
    serving.add_argument("--chaos", action="store_true", help="refuse, drop, stall and garble at random")

    commands.add_parser("demo", help="show the library at work, against a server of its own")
    parser.advice += f"; the command comes first, and is one of {', '.join(commands.choices)}"
    return parser
