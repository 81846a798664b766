"""Who may join a manager: Coexist(5) or ReplacePrevious, decided without I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TypeVar, final

import attrs

from ._checks import check_positive_int
from ._errors import InvalidOptionsError, SocketLimitError

_T = TypeVar("_T")
_COEXIST_SINCE = (1, 5, 0)  # wx: "In versions 1.5.0 and above, a maximum of five ... can coexist"


@final
@attrs.frozen
class Coexist:
    """At most `limit` sockets exist at a time; one more is refused.

    Raises:
        InvalidOptionsError: The limit is not a positive whole number or None.
    """

    limit: int | None = attrs.field(default=5)
    """How many sockets may coexist; None for no limit. The vendors' limit is five."""

    @limit.validator
    def _check(self, _attribute: attrs.Attribute[int | None], value: int | None) -> None:
        if value is not None:
            check_positive_int("limit", value, "must be a positive whole number, or None for no limit")


@final
@attrs.frozen
class ReplacePrevious:
    """One socket exists at a time: a new one closes the old one with 1000, and dials once that is CLOSED.

    So it was in wx before 1.5.0.
    """


CoexistencePolicy = Coexist | ReplacePrevious
"""Who may join a manager."""


def admit(policy: CoexistencePolicy, sockets: Collection[_T]) -> Sequence[_T]:
    """Decide on one more socket beside `sockets`, those not CLOSED, and return those it replaces.

    Raises:
        SocketLimitError: The policy admits no more.
    """
    if isinstance(policy, ReplacePrevious):
        return tuple(sockets)
    if policy.limit is not None and len(sockets) >= policy.limit:
        raise SocketLimitError(policy.limit)
    return ()


def policy_for_base_library(version: str) -> CoexistencePolicy:
    """Return the policy of a version of the wx base library, such as ``"1.4.4"``.

    Raises:
        InvalidOptionsError: The version is not up to three numbers joined by dots.
    """
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){0,2}", version):
        raise InvalidOptionsError("version", version, 'must be a version such as "1.5.0"')
    numbers = tuple(int(part) for part in version.split("."))
    return Coexist() if numbers + (0,) * (3 - len(numbers)) >= _COEXIST_SINCE else ReplacePrevious()


def check_policy(policy: CoexistencePolicy) -> CoexistencePolicy:
    """Check the argument of `open_socket_manager`.

    Raises:
        InvalidOptionsError: It is not a policy.
    """
    if not isinstance(policy, Coexist | ReplacePrevious):
        raise InvalidOptionsError("policy", policy, "must be Coexist(limit) or ReplacePrevious()")
    return policy
