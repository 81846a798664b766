"""Checks of what a test passes to the kit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from trio_socket_task._text import kind_of

from ._misuse import MisuseError

_STATUS_FROM, _STATUS_TO = 200, 599  # RFC 7231 section 6; 1xx would not be the answer
_CODE_FROM, _CODE_TO = 1000, 4999
_WITHOUT_BODY = (204, 304)  # RFC 7230 section 3.3
_MAX_REASON = 123  # RFC 6455 section 5.5, less two bytes for the code
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 7230 section 3.2.6
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NEVER_SENT = (1005, 1006, 1015)  # RFC 6455 section 7.4.1


def check_seconds(method: str, seconds: float) -> float:
    """Check a number of seconds.

    Raises:
        MisuseError: It is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise MisuseError(f"{method}() takes a number of seconds, not {seconds!r}")
    return seconds


def check_refusal(status: int, body: bytes) -> None:
    """Check the response of a server that refuses the handshake.

    Raises:
        MisuseError: It cannot be sent.
    """
    if not isinstance(status, int) or not _STATUS_FROM <= status <= _STATUS_TO:
        raise MisuseError(f"reject() takes a status from {_STATUS_FROM} to {_STATUS_TO}, not {status!r}")
    if not isinstance(body, bytes) or (body and status in _WITHOUT_BODY):
        raise MisuseError(f"reject() with {status} takes {'no body' if status in _WITHOUT_BODY else 'a body of bytes'}")


def check_close(code: int, reason: str) -> None:
    """Check what a Close frame says.

    Raises:
        MisuseError: It cannot be sent in one.
    """
    if not isinstance(code, int) or not _CODE_FROM <= code <= _CODE_TO or code in _NEVER_SENT:
        raise MisuseError(f"close() takes a code that may be sent, not {code!r}; send_raw() can send any")
    if len(reason.encode()) > _MAX_REASON:
        raise MisuseError(f"close() takes a reason of at most {_MAX_REASON} bytes of UTF-8; send_raw() can send any")


def encode_fields(header: Mapping[str, str] | None) -> list[tuple[bytes, bytes]]:
    """Return header fields as they go out.

    Raises:
        MisuseError: One cannot be sent.
    """
    for name, value in (header or {}).items():
        if not _TOKEN.fullmatch(name):
            raise MisuseError(f"the field {name!r} cannot be sent; its name must be a token")
        if not _FIELD_VALUE.fullmatch(value):
            raise MisuseError(f"the field {name!r} cannot be {kind_of(value)}; its value must be one line of Latin-1")
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in (header or {}).items()]
