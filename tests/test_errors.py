"""`_errors`: the tree, the words, and what survives pickling."""

from __future__ import annotations

import copy
import pickle
import re
from typing import cast

import pytest
import trio

from trio_socket_task import (
    CloseEvent,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    InvalidOptionsError,
    ProxyError,
    SocketClosedError,
    SocketLimitError,
    SocketLostError,
    SocketNotOpenError,
    SocketTaskError,
)

EVENT = CloseEvent(code=1011, reason="database gone")
ERRORS = [
    (InvalidOptionsError("timeout", -1, "must be positive"), "timeout must be positive, not -1"),
    (SocketLimitError(5), "5 sockets exist and the policy admits no more; close one first"),
    (ConnectError("ws://a/", "refused"), "cannot connect to ws://a/: refused"),
    (ConnectTimeoutError("ws://a/", 2.5), "not open within 2.5 seconds; pass a longer timeout="),
    (HandshakeError("ws://a/", "the server answered 403", 403, {"a": "b"}, b"no"), "the server answered 403"),
    (ProxyError("ws://a/", "the proxy b answered 407", 407, {"a": "b"}, b"no"), "the proxy b answered 407"),
    (SocketNotOpenError("ws://a/"), "the socket to ws://a/ is not open; `await task.wait_open()`"),
    (SocketNotOpenError(None), "there is no socket to act on; call connect_socket first"),
    (SocketClosedError(CloseEvent(code=4001)), "this side closed the socket with 4001; connect a new one"),
    (SocketClosedError(CloseEvent(code=1000)), "with 1000 (normal closure)"),
    (SocketLostError(EVENT), "the peer closed the socket with 1011 (internal error): database gone"),
    (SocketLostError(CloseEvent(code=1001)), "the peer closed the socket with 1001 (going away)"),
    (SocketLostError(CloseEvent(code=1006), "reset"), "the connection was lost: reset"),
]


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_an_error_says_what_happened_and_what_to_do(error: SocketTaskError, words: str) -> None:
    """The sentence is made from the fields, and every error is a SocketTaskError."""
    assert words in str(error)
    assert isinstance(error, SocketTaskError)


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_an_error_survives_pickling_and_copying(error: SocketTaskError, words: str) -> None:
    """A copy has the same fields and says the same, once."""
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 (it is our own)
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert words in str(again)


@pytest.mark.parametrize("error", [error for error, _ in ERRORS])
def test_a_copy_of_an_error_keeps_what_was_added(error: SocketTaskError) -> None:
    """Notes, and attributes of the program's own."""
    noted = copy.copy(error)
    noted.__notes__ = ["a note"]
    noted.attempt = 3  # type: ignore[attr-defined]
    for again in (pickle.loads(pickle.dumps(noted)), copy.copy(noted), copy.deepcopy(noted)):  # noqa: S301 (our own)
        assert vars(again) == vars(noted)
        assert again.__notes__ == ["a note"]


@pytest.mark.parametrize("error", [ConnectTimeoutError("ws://a/", 2.5, "x"), HandshakeError("ws://a/", "no", 403)])
def test_errors_that_were_pickled_before(error: ConnectError, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an older version: as a class and its arguments, without what was added."""
    kind, fields, _ = cast("tuple[object, ...]", error.__reduce__())
    monkeypatch.setattr(type(error), "__reduce__", lambda _self: (kind, fields))
    pickled = pickle.dumps(error)
    monkeypatch.undo()
    again = pickle.loads(pickled)  # noqa: S301 (it is our own)
    assert (type(again), vars(again)) == (kind, vars(error))


def test_bases_say_who_did_it() -> None:
    """Errors are caught by what Trio programs catch, and by nothing a network library would raise."""
    assert issubclass(InvalidOptionsError, ValueError)
    assert issubclass(SocketClosedError, trio.ClosedResourceError)
    assert issubclass(SocketLostError, trio.BrokenResourceError)
    for error in (ConnectTimeoutError, HandshakeError, ProxyError):
        assert issubclass(error, ConnectError)
        assert not issubclass(error, OSError | TimeoutError | trio.TooSlowError)


def test_fields() -> None:
    """What a program acts on is in fields."""
    assert ConnectTimeoutError("u", 3).timeout == 3
    assert SocketLimitError(5).limit == 5
    refused = HandshakeError("u", "w", 403, {"a": "b"}, b"no")
    assert (refused.url, refused.status_code, refused.body) == ("u", 403, b"no")
    assert dict(refused.header) == {"a": "b"}
    assert dict(HandshakeError("u", "w").header) == {}
    assert SocketLostError(EVENT).close_event is EVENT


class Mute:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**5000, "int"),
        ([-(10**5000)], "(list|int)"),
        (type("list", (), {})(), "list"),
        (Mute(), "Mute"),
        ({Mute(): 1}, "Mute"),
        (type("tuple", (), {"__len__": lambda _self: 1})(), "tuple"),
    ],
    ids=["number", "numbers", "list", "value", "key", "tuple"],
)
def test_whatever_was_refused_can_be_printed(value: object, shown: str) -> None:
    """Numbers of more digits than Python writes, and values whose own methods raise, by their types.

    From 3.14 on, reprlib itself has words for more of them.
    """
    error = InvalidOptionsError("timeout", value, "must be short")
    said = rf"timeout must be short, not (a value of the type {shown}|.*<.*{shown}.* at 0x)"
    assert re.match(said, str(error))
    assert re.search(said, repr(error))


def test_a_long_value_is_shortened() -> None:
    """A refused megabyte does not fill the log."""
    assert len(str(InvalidOptionsError("reason", "x" * 10**6, "must be short"))) < 200
