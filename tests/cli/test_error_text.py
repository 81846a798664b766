"""Errors with the options of the command line."""

from __future__ import annotations

import errno

import pytest

from trio_socket_task import (
    CloseEvent,
    ConnectTimeoutError,
    HandshakeError,
    InvalidOptionsError,
    ProxyError,
    SocketLostError,
)
from trio_socket_task._cli._error_text import error_fields, error_text, name_options

TOO_BIG = "a message of more than 9 bytes; raise max_message_size to receive it"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidOptionsError("timeout", -1, "must be positive"), "--timeout must be positive, not -1"),
        (InvalidOptionsError("url", "a", "must not have userinfo; put credentials into header"),
         "URL must not have userinfo; put credentials into --header, not 'a'"),
        (InvalidOptionsError("protocols", "a b", "must be a str"),
         "--protocol must be a text, not a text of 3 characters"),
        (SocketLostError(CloseEvent(code=1009), TOO_BIG),
         "the connection was lost: a message of more than 9 bytes; raise --max-size to receive it"),
        (HandshakeError("ws://a/", "the server answered 400: raise max_message_size, timeout= "),
         "cannot connect to ws://a/: the server answered 400: raise max_message_size, timeout= "),
        (ProxyError("ws://a/", "the proxy b answered 407: no timeout= of header"),
         "cannot connect to ws://a/: the proxy b answered 407: no timeout= of header"),
        (InvalidOptionsError("proxy", "ftp://u:p@b", "must start with one of"),
         "--proxy must start with one of, not 'ftp://***@b'"),
        (OSError(errno.ENOSPC, "no space"), "no space"),
        (OSError("odd"), "odd"),
        (ValueError(), "ValueError"),
    ],
)  # fmt: skip
def test_error_text(error: Exception, text: str) -> None:
    """Options instead of arguments; what a server says stays."""
    assert error_text(error) == text


def test_a_time_out() -> None:
    """Speaks of the option."""
    text = error_text(ConnectTimeoutError("ws://a/", 2))
    assert "--timeout" in text
    assert "timeout=" not in text
    assert name_options("pass timeout= or header=, not timeout=5") == "pass --timeout or --header, not timeout=5"


def test_fields() -> None:
    """A refusal has its status and its body, also one of a proxy."""
    refused = ProxyError("ws://a/", "the proxy b answered 407", 407, {}, b"who?")
    assert error_fields(refused) == {"kind": "ProxyError", "status": 407, "body": "who?"}
    error = HandshakeError("ws://a/", "the server answered 403", 403, {}, b"no \xff")
    assert error_fields(error) == {"kind": "HandshakeError", "status": 403, "body": "no \ufffd"}
