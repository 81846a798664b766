"""What mini-program code passes, read as the vendors read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from math import isfinite
from typing import Final, cast, final

from trio_socket_task._checks import check_close, encode_payload
from trio_socket_task._errors import InvalidOptionsError
from trio_socket_task._options import ConnectOptions, is_own_field

from ._err_msg import WRONG_DATA, close_refusal, wrong_url

Callback = Callable[..., object]
"""A function of the program: plain or async, given one dict."""


ABSENT: Final = object()
"""Stands for an option that was not given."""
_UNREADABLE: Final = object()
"""Stands for an option whose access raised: a value of no type that anything accepts."""
_NOTHING: Final[Mapping[str, object]] = {}
"""Stands for no option object beside what is looked into first."""
_CALLBACKS: Final = ("success", "fail", "complete")
_NO_CALLBACKS: Final = (None, None, None)
_JAVASCRIPT_TYPES: Final = (
    (bool, "Boolean"),
    (int | float, "Number"),
    (str, "String"),
    (bytes | bytearray | memoryview, "ArrayBuffer"),
    (list | tuple, "Array"),
)
_NATIVE_NAMES: Final = {"tcpNoDelay": "tcp_no_delay", "perMessageDeflate": "per_message_deflate"}
_PLAIN_DIGITS = 21  # JavaScript writes larger numbers with an exponent,
_PLAIN_ZEROS = -6  # and smaller ones


class CallRefusedError(Exception):
    """A call is refused; its text is what follows ``:fail``."""


def _plain(value: object) -> object:
    """Return a value of JavaScript's simple kinds without what a subclass may have added; never raises."""
    kind = type(value)
    if value is None or kind is str or kind is bytes or kind is bool:
        return value
    try:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value)
    except Exception:  # noqa: BLE001 (whatever somebody's object raises)
        return _UNREADABLE
    return value


@final
class Arguments:
    """An option object and keyword arguments together; reading it never raises, unknown keys do no harm."""

    def __init__(self, options: object, keywords: Mapping[str, object], *, strict: bool = False) -> None:
        self.strict = strict
        """Whether what phones put right is refused instead."""
        self._first, self._second = keywords, _NOTHING
        if type(options) is dict:
            if keywords:
                self._second = options
            else:
                self._first = options
            return
        with suppress(Exception):  # whatever somebody's object raises when it is asked what it is
            if isinstance(options, Mapping):
                self._second = options

    def get(self, name: str, *, keeps_none: bool = False) -> object:
        """Return the value of an option, or `ABSENT`, also instead of None unless that is kept."""
        try:
            value = self._first.get(name, ABSENT)
            if value is ABSENT:
                if self._second is _NOTHING:
                    return ABSENT
                value = self._second[name]
        except KeyError:
            return ABSENT
        except Exception:  # noqa: BLE001 (whatever somebody's mapping raises)
            return _UNREADABLE
        value = _plain(value)
        return ABSENT if value is None and not keeps_none else value

    def number(self, name: str) -> object:
        """Return the value of an option that is left out by what is no finite number, too, unless this is strict."""
        value = self.get(name)
        return value if self.strict or value is ABSENT or value is _UNREADABLE or _is_finite(value) else ABSENT

    def callbacks(self) -> Sequence[Callback | None]:
        """Return `success`, `fail` and `complete`; what cannot be called is ignored."""
        try:
            has_none = self._second is _NOTHING and self._first.keys().isdisjoint(_CALLBACKS)
        except Exception:  # noqa: BLE001 (whatever keys raise when they are compared)
            has_none = False
        if has_none:
            return _NO_CALLBACKS  # found out in a tenth of the time
        values = map(self.get, _CALLBACKS)
        return [cast("Callback", value) if callable(value) else None for value in values]


def _is_finite(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or isfinite(cast("float", value)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _type_name(value: object) -> str:
    """Name a value's type as JavaScript does."""
    if value is ABSENT or value is _UNREADABLE:
        return "Undefined"
    if value is None:
        return "Null"
    for kind, name in _JAVASCRIPT_TYPES:
        if isinstance(value, kind):
            return name
    return "Function" if callable(value) else "Object"


def read_url(arguments: Arguments) -> str:
    """Read the url; whether it is a good one is seen when it is used.

    Raises:
        CallRefusedError: It is not a string.
    """
    url = arguments.get("url", keeps_none=True)
    if not isinstance(url, str):
        raise CallRefusedError(wrong_url(_type_name(url)))
    return url


def read_connect_options(arguments: Arguments, *, is_wx: bool) -> ConnectOptions:
    """Read the other options of ``connectSocket`` into those of this package, which checks them.

    What has the wrong type is handed on, so that it is refused after the url and the limit, in their order.
    """
    options: dict[str, object] = {}
    header, timeout = arguments.get("header"), arguments.number("timeout")
    if header is not ABSENT:
        options["header"] = _header(header, strict=arguments.strict)
    deflate = (("perMessageDeflate", _truth),) if is_wx else ()  # wx has both, qq neither
    for name, read in (("protocols", _protocols), ("tcpNoDelay", _truth), *deflate):
        value = arguments.get(name)
        if value is not ABSENT:
            options[_NATIVE_NAMES.get(name, name)] = read(value)
    if timeout is not ABSENT and is_wx:
        options["timeout"] = _seconds(timeout)
    return cast("ConnectOptions", options)


def _header(header: object, *, strict: bool) -> object:
    """Drop what the vendors do not let a program set, and make text of values as phones do, unless this is strict."""
    try:
        fields = [(_plain(name), _plain(value)) for name, value in cast("Mapping[str, str]", header).items()]
        if not strict:
            fields = [(name.strip(" \t") if isinstance(name, str) else name, _text(value)) for name, value in fields]
        return {
            name: _UNREADABLE if isinstance(value, str) and not value.isascii() else value
            for name, value in fields
            if not (isinstance(name, str) and is_own_field(name))
        }
    except Exception:  # noqa: BLE001 (it is no mapping, or raises)
        return _UNREADABLE


def _text(value: object) -> object:
    """Make text of what is not, as JavaScript's String() does; give back what is neither number, boolean nor null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    try:
        return str(value) if isinstance(value, int) else value
    except ValueError:  # it has more digits than Python likes to write
        return _UNREADABLE


def number_text(value: float) -> str:
    """Write a number as JavaScript does (ECMA-262, Number::toString)."""
    if not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 (NaN)
    if not value:
        return "0"
    sign = "-" if value < 0 else ""
    number = Decimal(repr(abs(value))).normalize()  # repr gives the fewest digits that tell it from its neighbours
    digits, point = "".join(map(str, number.as_tuple().digits)), number.adjusted() + 1
    if len(digits) <= point <= _PLAIN_DIGITS:
        return sign + digits.ljust(point, "0")
    if 0 < point <= _PLAIN_DIGITS:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _PLAIN_ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _protocols(protocols: object) -> object:
    if type(protocols) is not list and type(protocols) is not tuple:
        return _UNREADABLE
    return [_plain(protocol) for protocol in protocols]


def _truth(value: object) -> bool:
    """Return whether JavaScript takes a value for true."""
    return bool(value) and value == value if isinstance(value, int | float | str) else True  # noqa: PLR0124 (NaN)


def _seconds(milliseconds: object) -> object:
    if not _is_number(milliseconds):
        return _UNREADABLE
    try:
        return cast("float", milliseconds) / 1000
    except OverflowError:
        return _UNREADABLE


def read_data(arguments: Arguments) -> tuple[str | bytes, bytes]:
    """Read the message of a send as it is now, and its payload.

    Raises:
        CallRefusedError: It is neither text, in whole characters, nor bytes.
    """
    data = arguments.get("data")
    try:
        payload = encode_payload(cast("str | bytes", data))
    except Exception:  # noqa: BLE001 (of another type, with a lone surrogate, or a memoryview that was released)
        raise CallRefusedError(WRONG_DATA) from None
    return (data if isinstance(data, str) else payload), payload


def read_close(arguments: Arguments) -> tuple[int, str]:
    """Read the code and the reason of a close.

    Raises:
        CallRefusedError: One of them breaks its rule.
    """
    code, reason = arguments.number("code"), arguments.get("reason")
    code = 1000 if code is ABSENT else code
    reason = "" if reason is ABSENT else reason
    if isinstance(code, float) and code.is_integer():
        code = int(code)  # JavaScript knows no other numbers
    try:
        check_close(cast("int", code), cast("str", reason))
    except InvalidOptionsError as error:
        raise CallRefusedError(close_refusal(error, reason)) from None
    return cast("int", code), cast("str", reason)
