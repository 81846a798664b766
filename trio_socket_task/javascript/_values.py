"""Values on their way between the script and Python; the other side is in prelude/border.js."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Final, final

Function = Callable[..., None]
"""A function of the script."""


@final
class View(bytes):
    """What a TypedArray or a DataView shows of its buffer."""

    __slots__ = ()


@final
class Unreadable:
    """Stands for a value whose access threw in the script."""


@final
class Other:
    """Stands for a value that nothing here accepts: a symbol, a date."""


UNREADABLE: Final = Unreadable()
OTHER: Final = Other()


def pack(value: object) -> object:
    """Return a value in the form in which it crosses the border as JSON.

    Raises:
        TypeError: A script has nothing of the kind.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return (
                value if isfinite(value) else ["number", repr(value).replace("inf", "Infinity").replace("nan", "NaN")]
            )
        case bytes() | bytearray() | memoryview():
            return ["binary", base64.b64encode(value).decode()]
        case list() | tuple():
            return ["array", [pack(one) for one in value]]
        case Mapping():
            return ["object", {str(key): pack(one) for key, one in value.items()}]
    raise TypeError(
        f"a script cannot be given {value!r}; it knows text, numbers, booleans, None, bytes, lists and dicts"
    )


def unpack(value: object, function: Callable[[int], Function]) -> object:  # noqa: PLR0911 (a table)
    """Return what came across the border; `function` makes one of the script's callable."""
    if not isinstance(value, list):
        return value
    kind, content = value
    match kind:
        case "object":
            return {key: unpack(one, function) for key, one in content.items()}
        case "array":
            return [unpack(one, function) for one in content]
        case "binary":
            return base64.b64decode(content)
        case "view":
            return View(base64.b64decode(content))
        case "function":
            return function(content)
        case "number":
            return float(content)
        case "undefined":
            return None
    return UNREADABLE if kind == "throws" else OTHER
