"""Signals that end a command: what it has open is closed first."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Final

import trio

_OFFSET: Final = 128
"""What a shell adds to a signal's number for the exit code."""


async def run_until_signal(job: Callable[[], Awaitable[int]], part: trio.CancelScope | None = None) -> int:
    """Run a job to its end and return its exit code; when SIGTERM, SIGHUP or SIGBREAK comes, cancel it.

    A signal that is ignored, as under nohup, stays so. Ctrl-C is Trio's, except where only a part is cancelled: such a
    job serves clients, and a KeyboardInterrupt that is raised in the task of one is lost when that task is cancelled in
    the same instant, because its client leaves.

    Args:
        job: What is run.
        part: What is cancelled of it; by default all.
    """
    code = caught = 0

    async def wait_for_signal() -> None:
        nonlocal caught
        async for number in arrivals:
            caught = number
            (part or nursery.cancel_scope).cancel()

    handled = _handled("SIGTERM", "SIGHUP", "SIGBREAK", *(() if part is None else ("SIGINT",)))
    if not handled:
        return await job()
    with trio.open_signal_receiver(*handled) as arrivals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_signal)
                code = await job()
                nursery.cancel_scope.cancel()
        except Exception:
            if not caught:  # else it is what a terminal that is gone makes of the last output
                raise
    return _OFFSET + caught if caught else code


def _handled(*names: str) -> list[signal.Signals]:
    present = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in present if signal.getsignal(number) is not signal.SIG_IGN]
