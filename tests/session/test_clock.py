"""`_clock`: one task calls in time for all sockets of a run."""

from __future__ import annotations

from functools import partial

import trio
from trio.testing import MockClock

from trio_socket_task._session._clock import clock_of_this_run


async def test_calls_come_in_time_and_in_order(autojump_clock: MockClock) -> None:
    """However they were asked for; an earlier one that is added moves the wait."""
    clock, calls = clock_of_this_run(), list[tuple[str, float]]()
    started = trio.current_time()

    def note(name: str) -> None:
        calls.append((name, trio.current_time() - started))

    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        clock.call_later(seconds, partial(note, name))
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(10)
    assert calls == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


async def test_calls_that_are_due_soon_share_a_wake_up(autojump_clock: MockClock) -> None:
    """Those that may come a hundredth of their delay earlier."""
    clock, calls = clock_of_this_run(), list[tuple[float, float]]()
    started = trio.current_time()

    def note(seconds: float) -> None:
        calls.append((seconds, trio.current_time() - started))

    for seconds in (10.0, 10.05, 10.2):
        clock.call_later(seconds, partial(note, seconds))
    await trio.sleep(20)
    assert calls == [(10.0, 10.0), (10.05, 10.0), (10.2, 10.2)]


async def test_a_call_is_called_off(autojump_clock: MockClock) -> None:
    """Also twice, or too late; the clock does not wake for it."""
    clock, calls = clock_of_this_run(), list[str]()
    await trio.testing.wait_all_tasks_blocked()
    timer = clock.call_later(1, lambda: calls.append("called off"))
    other = clock.call_later(2, lambda: calls.append("called"))
    clock.cancel(timer)
    clock.cancel(timer)
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == 2
    await trio.sleep(3)
    clock.cancel(other)
    assert calls == ["called"]
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_calls_that_are_called_off_take_no_memory(autojump_clock: MockClock) -> None:
    """Though a call that is due before them keeps the clock from meeting them."""
    clock, calls = clock_of_this_run(), list[int]()
    clock.call_later(1, lambda: calls.append(1))
    for _ in range(10_000):
        clock.cancel(clock.call_later(3600, lambda: calls.append(2)))
    assert len(clock) < 200
    await trio.sleep(7200)
    assert calls == [1]


async def test_a_call_may_ask_for_another_and_call_off_others(autojump_clock: MockClock) -> None:
    """Of those that are due in the same instant, too."""
    clock, calls = clock_of_this_run(), list[str]()

    def first() -> None:
        calls.append("first")
        clock.cancel(second)
        clock.call_later(1, lambda: calls.append("third"))

    clock.call_later(1, first)
    second = clock.call_later(1, lambda: calls.append("second"))
    await trio.sleep(5)
    assert calls == ["first", "third"]


async def test_a_call_behind_another_is_called_off(autojump_clock: MockClock) -> None:
    """It is met when its time has come, and passed over."""
    clock, calls = clock_of_this_run(), list[str]()
    clock.call_later(1, lambda: calls.append("called"))
    clock.cancel(clock.call_later(1, lambda: calls.append("called off")))
    await trio.sleep(5)
    assert calls == ["called"]


async def test_calls_that_are_called_off_are_thrown_out_together(autojump_clock: MockClock) -> None:
    """64 may lie about, or half of all, wherever they were among the calls to come."""
    clock = clock_of_this_run()
    for live, most in ((1, 64), (400, 400)):
        for _ in range(live):
            clock.call_later(1, lambda: None)
        for _ in range(100):
            clock.cancel(clock.call_later(1, lambda: None))
        await trio.sleep(2)
        for _ in range(100):
            clock.cancel(clock.call_later(1, lambda: None))
        assert len(clock) == 0, "none that is the first to come"
        for _ in range(live):
            clock.call_later(1, lambda: None)
        left = list[int]()
        for _ in range(1000):
            clock.cancel(clock.call_later(3600, lambda: None))
            left.append(len(clock) - live)
        assert left[:60] == list(range(1, 61)), "those before were counted right"
        assert most - 2 <= max(left) <= most + 2
        await trio.sleep(7200)
        assert len(clock) == 0
