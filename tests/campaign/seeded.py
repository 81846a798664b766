"""One Trio run whose every choice comes from a seed."""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import final

import trio
from trio.testing import MockClock

from trio_socket_task._session._clock import clock_of_this_run

from .findings import Findings

_DETERMINISTIC = "_ALLOW_DETERMINISTIC_SCHEDULING"
_DESCRIPTORS = Path("/proc/self/fd")

PATIENCE = 120.0
"""Seconds of the real clock after which a run that takes milliseconds is taken to hang."""


@final
class HungError(BaseException):
    """The run does not end by itself: it spins, or everyone waits for ever."""


def run_seeded(
    main: Callable[[random.Random, Findings], Awaitable[None]], findings: Findings, *, virtual: bool
) -> None:
    """Run a Trio program that is given its seed's random numbers; what it raises is a finding.

    With virtual time a run is the same each time. With real sockets the kernel has its say in what comes first.
    """
    dice = random.Random(findings.seed)  # noqa: S311 (not for secrets)

    async def run() -> None:
        clock_of_this_run()  # whose task is the run's own
        before = _resources()
        await main(dice, findings)
        for kind, number in _resources().items():
            findings.check(number == before[kind], f"{number - before[kind]} {kind} are left")

    try:
        with _seeded_scheduler(dice.random()), _patience(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trio.run(run, clock=MockClock(autojump_threshold=0) if virtual else None)
            if sys.implementation.name != "cpython":
                gc.collect()  # what it has left is freed, and tells, in its own run
        for warning in caught:
            findings.wrong(f"{warning.category.__name__}: {warning.message}")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        findings.wrong(f"the run ended with {_words(error)}")


def _resources() -> dict[str, int]:
    """Return how many there are of what must not be left behind."""
    descriptors = len(list(_DESCRIPTORS.iterdir())) if _DESCRIPTORS.exists() else 0
    return {"tasks": trio.lowlevel.current_statistics().tasks_living, "file descriptors": descriptors}


def _words(error: BaseException) -> str:
    """Name an exception, or what a group of them comes down to."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__} of {', '.join(_words(one) for one in error.exceptions)}"
    cause = error.__cause__ or error.__context__
    because = f" because of {_words(cause)}" if isinstance(error, trio.TrioInternalError) and cause else ""
    return f"{type(error).__name__}: {error}{because}"


@contextmanager
def _seeded_scheduler(seed: float) -> Iterator[None]:
    """Let the order in which Trio runs its tasks come from the seed, too.

    Trio has no public way to do so, and these are the private names that pytest-trio sets for hypothesis. Without them
    everything works, but a seed may not show the same again.
    """
    internals = getattr(getattr(trio, "_core", None), "_run", None)
    scheduler = getattr(internals, "_r", None)
    was_deterministic = getattr(internals, _DETERMINISTIC, None)
    if not isinstance(scheduler, random.Random) or was_deterministic is None:
        yield
        return
    state = scheduler.getstate()
    setattr(internals, _DETERMINISTIC, True)
    scheduler.seed(seed)
    try:
        yield
    finally:
        setattr(internals, _DETERMINISTIC, was_deterministic)
        scheduler.setstate(state)


@contextmanager
def _patience() -> Iterator[None]:
    """End what hangs, again and again, because a task may catch what ends it."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise HungError(f"no end within {PATIENCE:g} seconds of the real clock")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
