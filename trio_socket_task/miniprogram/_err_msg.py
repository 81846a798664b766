"""Every errMsg, as the vendors word it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trio_socket_task._errors import ConnectError, ConnectTimeoutError, InvalidOptionsError, SocketLimitError
from trio_socket_task._options import ConnectOptions
from trio_socket_task._text import quoted

TASK_NOT_OPEN: Final = "SocketTask.send:fail SocketTask.readyState is not OPEN"
"""Of ``SocketTask.send``."""
NOT_CONNECTED: Final = "WebSocket is not connected"
"""Why ``sendSocketMessage`` and ``closeSocket`` fail without a socket that they can act on."""
WRONG_DATA: Final = "data must be string or ArrayBuffer"
PROGRAM_ENDED: Final = "the mini program has ended"


def ok(function: str) -> str:
    """Return the errMsg of a call that succeeded."""
    return f"{function}:ok"


def fail(function: str, why: object) -> str:
    """Return the errMsg of a call that failed."""
    return f"{function}:fail {why}"


def wrong_url(kind: str) -> str:
    """Return why a url of another JavaScript type is refused."""
    return f"parameter error: parameter.url should be String instead of {kind};"


def close_refusal(error: InvalidOptionsError, reason: object) -> str:
    """Return why a close is refused."""
    if error.argument == "code":
        return "invalid code"
    if not isinstance(reason, str) or "surrogate" in error.rule:
        return "reason must be a string"
    return "reason must not exceed 123 UTF-8 bytes"


def connect_refusal(error: InvalidOptionsError | SocketLimitError, options: ConnectOptions) -> str:
    """Return why ``connectSocket`` is refused."""
    if isinstance(error, SocketLimitError):
        return f"fail reach max websocket connect count {error.limit}"  # the second "fail" is the vendors' own
    if error.argument == "url":
        return f'invalid url "{error.value}"'
    if error.argument == "header":
        return "invalid header" if isinstance(options.get("header"), Mapping) else "header must be an object"
    if error.argument == "protocols":
        is_array = isinstance(options.get("protocols"), list | tuple)
        return "invalid protocol" if is_array else "protocols must be an array"
    return "invalid timeout"


def of_failure(error: Exception) -> str:
    """Return the errMsg of an error event."""
    if isinstance(error, ConnectTimeoutError):
        return fail("connectSocket", "timeout")
    if isinstance(error, ConnectError):
        return fail("connectSocket", f"WebSocket connection failed: {quoted(error.why)}")
    return str(error)
