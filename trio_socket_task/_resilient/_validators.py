"""Validators of the fields of option classes: each names the field and its rule."""

from __future__ import annotations

import attrs

from trio_socket_task._checks import check_positive, check_positive_int
from trio_socket_task._errors import InvalidOptionsError


def is_seconds(_instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    """Check a positive, finite number of seconds."""
    check_positive(attribute.name, value, "seconds")


def is_positive_int(_instance: object, attribute: attrs.Attribute[int], value: object) -> None:
    """Check a positive whole number."""
    check_positive_int(attribute.name, value, "must be a positive whole number")


def is_bool(_instance: object, attribute: attrs.Attribute[bool], value: object) -> None:
    """Check a truth value."""
    if not isinstance(value, bool):
        raise InvalidOptionsError(attribute.name, value, "must be True or False")
