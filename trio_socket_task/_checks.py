"""Checks of single arguments: numbers, texts, payloads, close codes; each names the argument and its rule."""

from __future__ import annotations

import sys

from ._errors import InvalidOptionsError
from ._text import name_character

_LARGEST = sys.float_info.max  # whole numbers go further, and cannot be times
_MAX_REASON = 123  # RFC 6455 section 5.5: a control frame's 125 bytes, less two for the code
_NORMAL = 1000
_APPLICATION = range(3000, 5000)  # RFC 6455 section 7.4.2: registered and private use


def check_positive(argument: str, value: object, unit: str) -> float:
    """Check a time, or another quantity.

    Raises:
        InvalidOptionsError: It is not a positive, finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value <= _LARGEST):
        raise InvalidOptionsError(argument, value, f"must be a positive, finite number of {unit}")
    return float(value)


def check_positive_int(argument: str, value: object, rule: str) -> int:
    """Check a count, or a size; `rule` is what the error says of it.

    Raises:
        InvalidOptionsError: It is not a positive whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOptionsError(argument, value, rule)
    return value


def encode_text(argument: str, text: str) -> bytes:
    """Return a text in UTF-8.

    Raises:
        InvalidOptionsError: It has a lone surrogate, which UTF-8 has no bytes for.
    """
    try:
        return str.encode(text)  # whatever a subclass makes of it
    except UnicodeEncodeError as error:
        rule = f"must not contain lone surrogates ({name_character(text, error.start)})"
    raise InvalidOptionsError(argument, text, rule)  # not in the block above: the text stands in its error


def check_close(code: int, reason: str) -> bytes:
    """Check what a program passes to `close` and return the reason in UTF-8.

    Raises:
        InvalidOptionsError: The code is neither 1000 nor from 3000 to 4999, or the reason is longer than 123 bytes.
    """
    if isinstance(code, bool) or not isinstance(code, int) or not (code == _NORMAL or code in _APPLICATION):
        raise InvalidOptionsError("code", code, "must be 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2)")
    if not isinstance(reason, str):
        raise InvalidOptionsError("reason", reason, "must be a str")
    encoded = encode_text("reason", reason)
    if len(encoded) > _MAX_REASON:
        raise InvalidOptionsError(
            "reason", reason, f"must not exceed {_MAX_REASON} bytes of UTF-8 (it has {len(encoded)})"
        )
    return encoded


def encode_payload(data: str | bytes | bytearray | memoryview, argument: str = "data") -> bytes:
    """Check a message, which errors call by the name of its argument, and return its payload as it is now.

    Raises:
        TypeError: It is neither text nor bytes.
        InvalidOptionsError: It is a str with a lone surrogate.
    """
    if isinstance(data, str):
        try:
            return str.encode(data)
        except UnicodeEncodeError:
            return encode_text(argument, data)  # which raises
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(memoryview(data))  # a copy: the caller may change its own, and a subclass may have its own ways
    raise TypeError(f"{argument} must be str or bytes, not {type(data).__name__}")
