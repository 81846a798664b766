"""Values of every type, and objects that raise whenever they are touched."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn


class HostileError(Exception):
    """What those objects raise."""


def _raise(*_arguments: object, **_keywords: object) -> NoReturn:
    raise HostileError


_METHODS = (
    *("__eq__", "__hash__", "__bool__", "__len__", "__iter__", "__str__", "__repr__", "__call__", "__int__"),
    *("__float__", "__index__", "__format__", "__getitem__", "__contains__", "__lt__", "__truediv__", "__getattr__"),
)
_OWN = ("encode", "decode", "lower", "items", "keys", "values", "get", "is_integer", "isascii", "strip", "startswith")


def _hostile(name: str, *bases: type, methods: tuple[str, ...] = (*_METHODS, *_OWN)) -> type:
    """Make a class whose instances raise in each of these methods."""
    return type(name, bases, dict.fromkeys(methods, _raise))


Untouchable = _hostile("Untouchable", object, methods=(*_METHODS, "__getattribute__"))
_Text = _hostile("HostileText", str)
_Bytes = _hostile("HostileBytes", bytes)
_Number = _hostile("HostileNumber", int)
_Float = _hostile("HostileFloat", float)
_Dict = _hostile("HostileDict", dict)
_List = _hostile("HostileList", list)


class HostileMapping(Mapping[str, object]):
    """A mapping that raises when something is looked up."""

    def __getitem__(self, name: str) -> object:
        raise HostileError(name)

    def __iter__(self) -> Iterator[str]:
        raise HostileError

    def __len__(self) -> int:
        raise HostileError


class HalfMapping(dict[str, object]):
    """A mapping that raises for some names only."""

    def __getitem__(self, name: str) -> object:
        if len(name) % 2:
            raise HostileError(name)
        return super().__getitem__(name)


def _released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


def _endless() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


async def _async(*_arguments: object) -> None:
    pass


MAKERS: tuple[Callable[[], object], ...] = (
    *(lambda value=value: value for value in (None, True, False, 0, 1, -1, 999, 1000, 1006, 3000, 4999, 5000, 10**400)),
    *(lambda value=value: value for value in (0.0, 1000.0, 1e-320, float("nan"), float("inf"), -float("inf"), 60000)),
    *(
        lambda value=value: value
        for value in ("", "x", "ws://", "test.php", "\ud800", "x" * 200, "\u20ac" * 42, "a\r\nb: c")
    ),
    *(
        lambda value=value: value
        for value in (b"", b"bytes", (), [], {}, ["chat"], ["a", "a"], [1], {"X-A": "b"}, {"a": 1})
    ),
    *(lambda value=value: value for value in ({"Referer": "x", 1: 2}, {"a b": "c"}, {"Host": "x"}, object, repr, len)),
    lambda: bytearray(b"array"),
    lambda: memoryview(b"view"),
    lambda: memoryview(b"abcd").cast("I"),
    _released,
    _endless,
    lambda: (one for one in "generator"),
    lambda: _async,
    lambda: HostileError("as a value"),
    Untouchable,
    HostileMapping,
    lambda: _Text("ws://server.test/"),
    lambda: _Bytes(b"hostile"),
    lambda: _Number(1000),
    lambda: _Float(1000.0),
    lambda: _Dict({"a": "b"}),
    lambda: _List(["chat"]),
    lambda: {Untouchable: Untouchable()},
    lambda: [Untouchable()],
    lambda: {"X-A": _Text("b")},
)


def draw_value(dice: random.Random) -> object:
    """Draw a value of any type."""
    return dice.choice(MAKERS)()


def draw_mapping(dice: random.Random, options: Mapping[str, object]) -> object:
    """Return an option object: these options, perhaps in a mapping that raises, or something else."""
    kind = dice.random()
    if kind < 0.8:
        return dict(options)
    if kind < 0.9:
        return HalfMapping(options)
    return draw_value(dice)
