"""How long to wait before the next attempt: exponential, with full jitter, capped."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import final

import attrs

from trio_socket_task._checks import check_positive
from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._functions import call_plain, check_plain

from ._validators import is_seconds


@final
@attrs.frozen(kw_only=True)
class Backoff:
    """Delays that grow from one failure to the next, each of them drawn anew so that clients do not come in step.

    A resilient socket asks it after every attempt. It may be used alone: ``await trio.sleep(backoff.delay(failures))``.

    Raises:
        InvalidOptionsError: A time is not positive and finite, or the factor is below 1.
    """

    initial: float = attrs.field(default=1.0, validator=is_seconds)
    """Seconds that the first delay takes at most. Default: 1, so that a fleet that is dropped at once comes back over a
    second."""
    factor: float = attrs.field(default=2.0)
    """What each failure multiplies that by. Default: 2."""
    maximum: float = attrs.field(default=60.0, validator=is_seconds)
    """Seconds that no delay exceeds, unless the server asks for more. Default: 60."""
    useful_after: float = attrs.field(default=30.0, validator=is_seconds)
    """Seconds that a connection must have lasted for the delays to start over. Default: 30; with less, a server that
    accepts and closes is stormed."""
    longest_retry_after: float = attrs.field(default=3600.0, validator=is_seconds)
    """Seconds of a server's Retry-After that are honoured. Default: an hour."""
    random: Callable[[], float] = attrs.field(default=random.random, eq=False, repr=False)
    """Where the jitter comes from: numbers from 0 to 1. Default: ``random.random``."""

    @factor.validator
    def _check_factor(self, _attribute: attrs.Attribute[float], value: float) -> None:
        if check_positive("factor", value, "times") < 1:
            raise InvalidOptionsError("factor", value, "must be at least 1")

    @random.validator
    def _check_random(self, _attribute: object, value: object) -> None:
        check_plain("random", value, "a function that gives numbers from 0 to 1")

    def ceiling(self, failures: int) -> float:
        """Return the seconds that the delay takes at most after so many failures in a row before the latest."""
        try:
            return min(self.maximum, self.initial * float(self.factor) ** failures)
        except OverflowError:
            return self.maximum

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait: from nothing to `ceiling`, and on top of what the server asked for.

        Args:
            failures: How many attempts in a row had failed before the latest.
            retry_after: Seconds that the server asked to wait.

        Raises:
            InvalidOptionsError: `random` gave something else than a number from 0 to 1.
        """
        draw = call_plain("random", self.random)
        if not 0 <= draw <= 1:
            raise InvalidOptionsError("random", draw, "must give numbers from 0 to 1")
        return min(retry_after or 0.0, self.longest_retry_after) + draw * self.ceiling(failures)
