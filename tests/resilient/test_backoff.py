"""`_resilient._backoff`: how long the delays are."""

from __future__ import annotations

import pytest

from trio_socket_task import Backoff, InvalidOptionsError


def test_delays_grow_up_to_the_maximum() -> None:
    """Each failure doubles the ceiling."""
    backoff = Backoff(initial=1, maximum=10)
    assert [backoff.ceiling(failures) for failures in range(6)] == [1, 2, 4, 8, 10, 10]
    assert backoff.ceiling(10**9) == 10
    assert Backoff(factor=2.1).ceiling(1000) == 60
    assert Backoff(factor=1).ceiling(10**9) == 1
    assert Backoff(initial=60, maximum=2).ceiling(0) == 2


def test_every_delay_is_drawn_from_nothing_to_the_ceiling() -> None:
    """Full jitter, on the first as well."""
    draws = iter([0.0, 0.5, 0.25])
    backoff = Backoff(random=lambda: next(draws))
    assert [backoff.delay(failures) for failures in range(3)] == [0.0, 1.0, 1.0]


def test_a_server_that_asks_for_time_gets_it_and_the_jitter() -> None:
    """So that a fleet which was sent away does not come back at once; but not for ever."""
    backoff = Backoff(random=lambda: 0.5, longest_retry_after=100)
    assert backoff.delay(0, retry_after=30) == 30.5
    assert backoff.delay(0, retry_after=10**9) == 100.5


@pytest.mark.parametrize("argument", ["initial", "maximum", "useful_after", "longest_retry_after", "factor"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True])
def test_times_are_positive_and_finite(argument: str, value: object) -> None:
    """And named when they are not."""
    with pytest.raises(InvalidOptionsError, match=f"{argument} must be a positive, finite number"):
        Backoff(**{argument: value})  # type: ignore[arg-type]


def test_delays_do_not_shrink() -> None:
    """A factor below 1 would storm the server in the end."""
    with pytest.raises(InvalidOptionsError, match="factor must be at least 1"):
        Backoff(factor=0.5)
    for draw in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidOptionsError, match="random must give numbers from 0 to 1"):
            Backoff(random=lambda draw=draw: draw).delay(0)  # type: ignore[misc]
    with pytest.raises(InvalidOptionsError, match="random must be a function"):
        Backoff(random=3)  # type: ignore[arg-type]


def test_the_defaults() -> None:
    """As the reference says."""
    backoff = Backoff(random=lambda: 0.0)
    assert [backoff.initial, backoff.factor, backoff.maximum, backoff.useful_after] == [1, 2, 60, 30]
    assert backoff.delay(0, retry_after=10**9) == 3600
