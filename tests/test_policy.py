"""`_admission`: who may join."""

from __future__ import annotations

from typing import cast

import pytest

from trio_socket_task import (
    Coexist,
    CoexistencePolicy,
    InvalidOptionsError,
    ReplacePrevious,
    SocketLimitError,
    policy_for_base_library,
)
from trio_socket_task._policy import admit, check_policy


@pytest.mark.parametrize(
    ("policy", "sockets", "replaced"),
    [
        (Coexist(), "", ""),
        (Coexist(), "abcd", ""),
        (Coexist(1), "", ""),
        (Coexist(None), "a" * 1000, ""),
        (ReplacePrevious(), "", ""),
        (ReplacePrevious(), "ab", "ab"),
    ],
)
def test_admitted(policy: CoexistencePolicy, sockets: str, replaced: str) -> None:
    """Below the limit nothing is replaced; ReplacePrevious replaces all there are."""
    assert list(admit(policy, sockets)) == list(replaced)


@pytest.mark.parametrize(("policy", "sockets"), [(Coexist(), "abcde"), (Coexist(1), "a"), (Coexist(2), "abc")])
def test_refused(policy: Coexist, sockets: str) -> None:
    """At the limit, a socket more is an error that names the limit."""
    with pytest.raises(SocketLimitError) as caught:
        admit(policy, sockets)
    assert caught.value.limit == policy.limit


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", True])
def test_a_limit_is_a_positive_number(limit: object) -> None:
    """Or None."""
    with pytest.raises(InvalidOptionsError, match="limit must be a positive whole number"):
        Coexist(cast("int", limit))


@pytest.mark.parametrize(
    ("version", "policy"),
    [
        ("1.4.4", ReplacePrevious()),
        ("1.4.99", ReplacePrevious()),
        ("1.4", ReplacePrevious()),
        ("0.9.9", ReplacePrevious()),
        ("1", ReplacePrevious()),
        ("1.5.0", Coexist(5)),
        ("1.5", Coexist(5)),
        ("1.10.0", Coexist(5)),
        ("2", Coexist(5)),
        ("3.1.2", Coexist(5)),
    ],
)
def test_policy_for_base_library(version: str, policy: CoexistencePolicy) -> None:
    """The vendor page: five from 1.5.0 on, one before; versions compare as numbers."""
    assert policy_for_base_library(version) == policy


@pytest.mark.parametrize("version", ["", "1.", "1.5.0.1", "v1", "1.5-beta", "١.٥", "9" * 5000, None, 1.5])
def test_a_version_is_numbers(version: object) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidOptionsError, match="version must be a version such as"):
        policy_for_base_library(cast("str", version))


def test_check_policy() -> None:
    """A policy is one of the two."""
    assert check_policy(Coexist(3)) == Coexist(3)
    with pytest.raises(InvalidOptionsError, match="policy must be Coexist"):
        check_policy(cast("Coexist", 5))
