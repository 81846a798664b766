"""The command `connect`: lines of standard input go out, messages come in."""

from __future__ import annotations

import sys
from contextlib import suppress

import trio

from ._connect import connect_socket
from ._errors import SocketClosedError, SocketLostError
from ._events import CloseCode
from ._task import SocketTask


async def talk(url: str) -> int:
    """Talk to a server until it closes, or standard input ends; give the exit code: 0, or 1 for a lost connection."""
    async with connect_socket(url) as task:
        print(f"open: {task.url}", file=sys.stderr)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_lines, task)
            try:
                async for data in task:
                    print(data if isinstance(data, str) else data.hex(" "), flush=True)
            except SocketLostError:
                pass
            nursery.cancel_scope.cancel()
        event = await task.wait_closed()
    print(f"closed: {event.code} {event.reason}".rstrip(), file=sys.stderr)
    return 0 if event.code == CloseCode.NORMAL_CLOSURE else 1


async def _send_lines(task: SocketTask) -> None:
    """Send each line as text; at the end, close."""
    with suppress(SocketClosedError, SocketLostError):
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await task.send(line.rstrip("\n"))
    task.close()
