"""`_resilient._retry`: which evidence speaks for another attempt."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from trio_socket_task import (
    Attempt,
    CloseEvent,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    InvalidOptionsError,
    ProxyError,
    Retry,
    SocketLostError,
    retry_by_evidence,
)
from trio_socket_task._resilient._retry import describe, read_retry_after

URL = "wss://a.test/"


def closed(code: int, reason: str = "") -> Attempt:
    """Return an attempt that a Close frame of the server ended."""
    return Attempt(url=URL, close_event=CloseEvent(code=code, reason=reason))


def failed(error: Exception, cause: Exception | None = None) -> Attempt:
    """Return an attempt that an error ended."""
    error.__cause__ = cause
    return Attempt(url=URL, error=error)


def refused(status: int | None, **header: str) -> HandshakeError:
    """Return a refusal."""
    return HandshakeError(URL, "no", status, header)


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3008])
def test_codes_that_pass_with_time(code: int) -> None:
    """The server goes away, restarts, or has trouble of its own."""
    assert retry_by_evidence(closed(code), 1)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003, 4000, 4999])
def test_codes_that_do_not(code: int) -> None:
    """The server is done, objects to what it was sent, or says what only its application knows."""
    assert not retry_by_evidence(closed(code), 1)


def test_an_error_of_the_program_counts_for_more_than_the_close_that_follows() -> None:
    """What ``on_connected`` raised passes with time, however the connection was closed then."""
    attempt = Attempt(url=URL, error=ValueError("no"), close_event=CloseEvent(code=1008, reason=""))
    assert retry_by_evidence(attempt, 1)


@pytest.mark.parametrize("status", [None, 200, 302, 307, 408, 425, 429, 500, 502, 503, 504])
def test_refusals_that_pass_with_time(status: int | None) -> None:
    """Overload, gateways, captive portals, nonsense."""
    assert retry_by_evidence(failed(refused(status)), 1)


@pytest.mark.parametrize("status", [101, 301, 308, 400, 401, 403, 404, 410, 426, 451])
def test_refusals_that_do_not(status: int) -> None:
    """The same request would be refused again."""
    assert not retry_by_evidence(failed(refused(status)), 1)


@pytest.mark.parametrize(("status", "again"), [(None, True), (502, True), (503, True), (403, False), (407, False)])
def test_a_proxy_is_judged_as_a_server_is(status: int | None, *, again: bool) -> None:
    """407 wants other credentials; 503 passes with time, and may say with how much."""
    error = ProxyError(URL, "no", status, {"Retry-After": "7"})
    assert retry_by_evidence(failed(error), 1) is again
    assert read_retry_after(error) == (7 if status == 503 else None)


@pytest.mark.parametrize(
    "cause", [ssl.SSLCertVerificationError(), ImportError(), InvalidOptionsError("proxy", "", "x")]
)
def test_what_stops_a_proxy_for_ever(cause: Exception) -> None:
    """A certificate, a package that is missing, an environment that is wrong."""
    assert not retry_by_evidence(failed(ProxyError(URL, "no"), cause), 1)


def test_the_network_is_tried_again_but_not_a_wrong_certificate() -> None:
    """A reset inside TLS is the network's."""
    assert retry_by_evidence(failed(ConnectTimeoutError(URL, 3)), 1)
    assert retry_by_evidence(failed(ConnectError(URL, "refused"), ConnectionRefusedError()), 1)
    assert retry_by_evidence(failed(ConnectError(URL, "TLS"), ssl.SSLEOFError()), 1)
    assert retry_by_evidence(failed(SocketLostError(CloseEvent(code=1006), "reset")), 1)
    assert not retry_by_evidence(failed(ConnectError(URL, "TLS"), ssl.SSLCertVerificationError()), 1)


def test_the_program_s_own_errors_are_tried_again_but_not_its_mistakes() -> None:
    """A token server may be down; an argument of the wrong type stays wrong."""
    assert retry_by_evidence(failed(RuntimeError("no token")), 1)
    assert not retry_by_evidence(failed(InvalidOptionsError("url", "x", "must be")), 1)
    assert not retry_by_evidence(failed(TypeError("x")), 1)


def test_limits() -> None:
    """Attempts in a row, and seconds."""
    attempt = closed(1001)
    assert Retry().refusal(attempt, 10**6, 10**9) is None
    assert "1 attempts in a row have failed" in (Retry(max_attempts=1).refusal(attempt, 1, 0) or "")
    assert Retry(max_attempts=3).refusal(attempt, 2, 0) is None
    assert Retry(max_attempts=3).refusal(attempt, 3, 0) == (
        "3 attempts in a row have failed, the last because the server closed with 1001"
    )
    assert Retry(max_seconds=60).refusal(attempt, 1, 59) is None
    assert Retry(max_seconds=60).refusal(attempt, 1, 60) is None
    assert "max_seconds would have passed" in (Retry(max_seconds=60).refusal(attempt, 1, 61) or "")


def test_the_decision_may_be_the_program_s() -> None:
    """Told the attempt and the count."""
    told = []

    def decide(attempt: Attempt, failures: int) -> bool:
        told.append((attempt, failures))
        return failures < 2

    retry = Retry(decide=decide)
    assert retry.refusal(closed(4000), 1, 0) is None
    assert retry.refusal(closed(4000, "bye"), 2, 0) == (
        "the server closed with 4000 (bye), after which the retry policy stops"
    )
    assert [failures for _, failures in told] == [1, 2]


def test_an_attempt_is_described() -> None:
    """By its error's words, or its name."""
    assert describe(failed(RuntimeError("no token"))) == "no token"
    assert describe(failed(RuntimeError())) == "RuntimeError"


def test_retry_after() -> None:
    """Seconds or a date, of a busy server only; nonsense is nothing."""
    assert read_retry_after(refused(503, **{"Retry-After": " 30 "})) == 30
    assert read_retry_after(refused(429, **{"Retry-After": "0"})) == 0
    assert read_retry_after(refused(500, **{"Retry-After": "30"})) is None
    assert read_retry_after(refused(503)) is None
    assert read_retry_after(refused(503, **{"Retry-After": "soon"})) is None
    assert read_retry_after(refused(503, **{"Retry-After": "-1"})) is None
    assert read_retry_after(refused(503, **{"Retry-After": "Mon, 01 Jan 2024 00:00:00 +" + "9" * 17})) is None
    assert read_retry_after(refused(503, **{"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"})) is None
    assert read_retry_after(RuntimeError()) is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (read_retry_after(refused(503, **{"Retry-After": later})) or 0) <= 100
    earlier = format_datetime(datetime.now(UTC) - timedelta(seconds=100), usegmt=True)
    assert read_retry_after(refused(503, **{"Retry-After": earlier})) == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [("decide", 3), ("max_attempts", 0), ("max_attempts", True), ("max_attempts", 1.5), ("max_seconds", 0)],
)
def test_bad_limits_are_refused(option: str, value: object) -> None:
    """By name."""
    with pytest.raises(InvalidOptionsError, match=option):
        Retry(**{option: value})  # type: ignore[arg-type]
