"""Checks of what a test passes to the kit."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping

from trio_socket_task._text import kind_of, name_character

from ._misuse import MisuseError

_STATUS_FROM, _STATUS_TO = 200, 599  # RFC 7231 section 6; 1xx would not be the answer
_CODE_FROM, _CODE_TO = 1000, 4999
_WITHOUT_BODY = (204, 304)  # RFC 7230 section 3.3
_MAX_REASON = 123  # RFC 6455 section 5.5, less two bytes for the code
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 7230 section 3.2.6
_FIELD_VALUE = re.compile(r"(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])")
_FRAMING = ("content-length", "transfer-encoding")  # RFC 7230 section 3.3; they follow from the body
_NEVER_SENT = (1005, 1006, 1015)  # RFC 6455 section 7.4.1
_MAX_PORT = 65535
_LARGEST = sys.float_info.max  # whole numbers go further, and cannot be times


def check_seconds(method: str, seconds: float, place: str = "") -> float:
    """Check a number of seconds.

    Raises:
        MisuseError: It is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LARGEST:
        raise MisuseError(f"{method}() takes a number of seconds{place}, not {shown(seconds)}")
    return seconds


def check_within(method: str, within: float) -> None:
    """Check how long something may take, which may be for ever.

    Raises:
        MisuseError: It is no time.
    """
    if within != math.inf:
        check_seconds(method, within, " for within")


def check_port(port: int) -> int:
    """Check a port to listen on.

    Raises:
        MisuseError: It is none.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= _MAX_PORT:
        raise MisuseError(f"open_test_server() takes a port from 0 to {_MAX_PORT}, not {shown(port)}")
    return port


def check_text(method: str, what: str, text: str) -> bytes:
    """Return a text in UTF-8.

    Raises:
        MisuseError: It is none, or has a lone surrogate.
    """
    if not isinstance(text, str):
        raise MisuseError(f"{method}() takes {what} of str, not {kind_of(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        where = name_character(text, error.start)
    raise MisuseError(f"{method}() takes {what} without lone surrogates ({where})")


def check_protocol(protocol: str) -> None:
    """Check a subprotocol.

    Raises:
        MisuseError: No client can offer it.
    """
    check_text("accept", "a protocol", protocol)
    if not _TOKEN.fullmatch(protocol):
        raise MisuseError(f"accept() takes a protocol that is a token, not {shown(protocol)}")


def check_message(data: str | bytes) -> None:
    """Check a message.

    Raises:
        MisuseError: It is neither text nor bytes, or text with a lone surrogate.
    """
    if isinstance(data, str):
        check_text("send", "a message", data)
    elif not isinstance(data, bytes):
        raise MisuseError(f"send() takes str or bytes, not {kind_of(data)}")


def check_raw(data: bytes) -> None:
    """Check bytes that go out as they are.

    Raises:
        MisuseError: They are none.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise MisuseError(f"send_raw() takes bytes, not {kind_of(data)}")


def check_expected_close(code: int, reason: str | None) -> None:
    """Check what a client is to close with.

    Raises:
        MisuseError: No client can close so.
    """
    if isinstance(code, bool) or not isinstance(code, int) or not _CODE_FROM <= code <= _CODE_TO:
        raise MisuseError(f"expect_close() takes a code from {_CODE_FROM} to {_CODE_TO}, not {shown(code)}")
    if reason is not None:
        check_text("expect_close", "a reason", reason)


def check_refusal(status: int, body: bytes) -> None:
    """Check the response of a server that refuses the handshake.

    Raises:
        MisuseError: It cannot be sent.
    """
    if not isinstance(status, int) or not _STATUS_FROM <= status <= _STATUS_TO:
        raise MisuseError(f"reject() takes a status from {_STATUS_FROM} to {_STATUS_TO}, not {shown(status)}")
    if not isinstance(body, bytes) or (body and status in _WITHOUT_BODY):
        what = "no body" if status in _WITHOUT_BODY else "a body of bytes"
        raise MisuseError(f"reject() with {status:d} takes {what}")


def check_close(code: int, reason: str) -> None:
    """Check what a Close frame says.

    Raises:
        MisuseError: It cannot be sent in one.
    """
    if not isinstance(code, int) or not _CODE_FROM <= code <= _CODE_TO or code in _NEVER_SENT:
        raise MisuseError(f"close() takes a code that may be sent, not {shown(code)}; send_raw() can send any")
    if len(check_text("close", "a reason", reason)) > _MAX_REASON:
        raise MisuseError(f"close() takes a reason of at most {_MAX_REASON} bytes of UTF-8; send_raw() can send any")


def encode_fields(header: Mapping[str, str] | None) -> list[tuple[bytes, bytes]]:
    """Return header fields as they go out.

    Raises:
        MisuseError: One cannot be sent.
    """
    if not isinstance(header, Mapping | None):
        raise MisuseError(f"header must be a mapping of names to values, not {kind_of(header)}")
    for name, value in (header or {}).items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise MisuseError(f"the field {shown(name)} cannot be sent; its name must be a token")
        if name.lower() in _FRAMING:
            raise MisuseError(f"the field {shown(name)} is the server's own to send; send_raw() can send any")
        if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
            raise MisuseError(
                f"the field {shown(name)} cannot be {kind_of(value)}; "
                "its value must be one line of Latin-1, with no space around it"
            )
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in (header or {}).items()]


def shown(value: object) -> str:
    """Return a value as it is written, or what kind it is where that raises, so that a refusal is never lost."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 (of a program's own, or a number of more digits than Python writes)
        return kind_of(value)
