"""The command line: ``python -m trio_socket_task demo`` and ``connect URL``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import trio

from ._demo import run_demo
from ._errors import SocketTaskError
from ._terminal import talk


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code: 0, 1 when the connection failed, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="python -m trio_socket_task", description="SocketTasks on Trio.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="show the library at work, against a server of its own")
    connect = commands.add_parser("connect", help="send lines of standard input, print messages")
    connect.add_argument("url", metavar="URL", help="such as ws://127.0.0.1:8000/")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "demo":
            trio.run(run_demo)
            return 0
        return trio.run(talk, parsed.url)
    except SocketTaskError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
