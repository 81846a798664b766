"""Whether another attempt makes sense: a table of evidence, and limits."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import final

import attrs

from trio_socket_task._checks import check_positive_int
from trio_socket_task._errors import ConnectError, HandshakeError, InvalidOptionsError, ProxyError
from trio_socket_task._events import Attempt, CloseCode
from trio_socket_task._functions import call_plain, check_plain
from trio_socket_task._text import quoted, text_of

from ._validators import is_seconds

_BUSY = frozenset({429, 503})
_LASTING = (ssl.SSLCertVerificationError, TypeError, InvalidOptionsError, ImportError)
"""Causes of a ConnectError that the next attempt would meet again."""

RETRIED_CODES = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.NO_STATUS_RCVD,
        CloseCode.ABNORMAL_CLOSURE,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_AGAIN_LATER,
        CloseCode.BAD_GATEWAY,
        3008,  # registered as "Timeout"
    }
)
"""Close codes of the server after which another attempt makes sense. The others say that it has no more to say (1000),
that it objects to what this side sends (1002, 1003, 1007 to 1010), or what its application means by them (3000 and up).
"""

STOPPED_STATUSES = frozenset({101, 301, 308, *range(400, 500)} - {408, 425, 429})
"""HTTP statuses after which another attempt would meet the same: a 101 that is not valid, permanent redirects, and
errors of the client's but for those that pass with time."""


def retry_by_evidence(attempt: Attempt, failures: int) -> bool:  # noqa: ARG001 (the evidence is in the attempt alone)
    """Return whether another attempt makes sense: the default of `Retry`.

    It does after a drop, a time-out, an error of the network or the server, a temporary refusal, and whatever
    ``on_connected`` or the target raised. It does not after Close 1000 or a code from 3000 up, after a refusal such as
    401, 403 and 404, or 407 of a proxy, a certificate that is not trusted, options that are not valid, a proxy that is
    none or that python-socks is missing for, and a TypeError, also of `dial`, which is a mistake in the program.
    """
    error = attempt.error
    if isinstance(error, InvalidOptionsError | TypeError):
        return False
    if isinstance(error, HandshakeError):
        return error.status_code not in STOPPED_STATUSES
    if isinstance(error, ProxyError) and error.status_code is not None:
        return error.status_code not in STOPPED_STATUSES
    if isinstance(error, ConnectError):
        return not isinstance(error.__cause__, _LASTING)
    return error is not None or attempt.close_event is None or attempt.close_event.code in RETRIED_CODES


@final
@attrs.frozen(kw_only=True)
class Retry:
    """Who decides whether a resilient socket goes on, and for how long at most.

    Raises:
        InvalidOptionsError: A limit is not positive, or `decide` cannot be called.
    """

    decide: Callable[[Attempt, int], bool] = attrs.field(default=retry_by_evidence)
    """Told the latest attempt, and how many have failed in a row with it, it says whether to go on."""
    max_attempts: int | None = attrs.field(default=None)
    """Attempts in a row without a useful connection. Default: no limit, because the delays bound what they cost."""
    max_seconds: float | None = attrs.field(default=None, validator=attrs.validators.optional(is_seconds))
    """Seconds without a useful connection. Default: no limit."""

    @decide.validator
    def _check_decide(self, _attribute: object, value: object) -> None:
        check_plain("decide", value, "a function of an Attempt and a number")

    @max_attempts.validator
    def _check_attempts(self, _attribute: object, value: object) -> None:
        if value is not None:
            check_positive_int("max_attempts", value, "must be a positive whole number, or None for no limit")

    def refusal(self, attempt: Attempt, failures: int, seconds: float) -> str | None:
        """Return why there is to be no other attempt; None where there is.

        Args:
            attempt: The latest.
            failures: How many have failed in a row, with it.
            seconds: How long the last useful connection, or the beginning, will be past when the next would begin.
        """
        if isinstance(attempt.error, InvalidOptionsError):
            return f"{describe(attempt)}; this is a mistake in the program, which no other attempt mends"
        if not call_plain("decide", self.decide, attempt, failures):
            return f"{describe(attempt)}, after which the retry policy stops"
        if self.max_attempts is not None and failures >= self.max_attempts:
            return f"{failures} attempts in a row have failed, the last because {describe(attempt)}"
        if self.max_seconds is not None and seconds > self.max_seconds:
            return f"max_seconds would have passed without a useful connection; at last {describe(attempt)}"
        return None


def describe(attempt: Attempt) -> str:
    """Return how an attempt ended, in words."""
    event = attempt.close_event
    if attempt.error is not None or event is None:
        return quoted(text_of(attempt.error))
    return f"the server closed with {int(event.code)}" + (f" ({quoted(event.reason)})" if event.reason else "")


def read_retry_after(error: Exception | None) -> float | None:
    """Return the seconds that a busy server asks to wait: a number or a date (RFC 7231 section 7.1.3)."""
    if not isinstance(error, HandshakeError | ProxyError) or error.status_code not in _BUSY:
        return None
    value = error.header.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):  # what a date may be, and what this machine can reckon with
        return None
