"""Signals that end a command."""

from __future__ import annotations

import signal

import pytest
import trio

from trio_socket_task._cli._signals import run_until_signal


async def test_the_last_words_may_fail() -> None:
    """The signal's exit code stands, whatever a terminal that is gone makes of them."""

    async def job() -> int:
        signal.raise_signal(signal.SIGTERM)
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("input/output error")

    assert await run_until_signal(job) == 143


async def test_without_a_signal() -> None:
    """The job's exit code, or its error."""

    async def succeed() -> int:
        await trio.lowlevel.checkpoint()
        return 3

    async def fail() -> int:
        raise OSError("odd")

    assert await run_until_signal(succeed) == 3
    with pytest.raises(ExceptionGroup, match="Exceptions from Trio nursery"):
        await run_until_signal(fail)


async def test_a_part_of_the_job() -> None:
    """Is cancelled where it has more to do."""
    part = trio.CancelScope()

    async def job() -> int:
        with part:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return 0

    assert await run_until_signal(job, part) == 143


@pytest.mark.parametrize("names", [["SIGTERM"], ["SIGTERM", "SIGHUP"]], ids=" and ".join)
async def test_an_ignored_signal_stays_so(names: list[str]) -> None:
    """As under nohup; also where none is left to wait for."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:

        async def job() -> int:
            signal.raise_signal(signal.SIGTERM)
            await trio.lowlevel.checkpoint()
            return 0

        assert await run_until_signal(job) == 0
        assert {signal.getsignal(number) for number in numbers} == {signal.SIG_IGN}
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
