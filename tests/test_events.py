"""`_events`: frozen values."""

from __future__ import annotations

import pickle

import attrs
import pytest

from trio_socket_task import CloseCode, CloseEvent, MessageEvent
from trio_socket_task._events import Header


def test_header_ignores_case_and_keeps_spelling() -> None:
    """A field is found by its name in any case, and listed as the server spelled it."""
    header = Header([("Content-Type", "text/plain"), ("X-A", "1")])
    assert header["content-TYPE"] == "text/plain"
    assert "x-a" in header
    assert list(header) == ["Content-Type", "X-A"]
    assert len(header) == 2
    assert repr(header) == "<Header Content-Type, X-A>"


def test_header_joins_repeated_fields() -> None:
    """A field that came twice is one value (RFC 7230 section 3.2.2), and all its values can be had."""
    header = Header([("Via", "a"), ("X", "1"), ("via", "b")])
    assert header["VIA"] == "a, b"
    assert header.get_all("VIA") == ("a", "b")
    assert header.get_all("missing") == ()
    assert list(header) == ["via", "X"]
    assert len(header) == 2


def test_header_survives_pickling() -> None:
    """All its fields, and those of a header that an earlier version pickled."""
    header = Header([("Set-Cookie", "a"), ("set-cookie", "b")])
    assert header["set-cookie"] == "a, b"
    again = pickle.loads(pickle.dumps(header))  # noqa: S301 (it is our own)
    assert again.get_all("Set-Cookie") == ("a", "b")
    earlier = Header()
    earlier.__setstate__((None, {"_fields": (("Via", "a, b"),)}))
    assert dict(earlier) == {"Via": "a, b"}
    empty = pickle.loads(pickle.dumps(Header()))  # noqa: S301 (as above)
    assert dict(empty) == {}


def test_a_header_of_very_many_fields_is_read_in_linear_time() -> None:
    """A server can send thousands in the 64 KiB of a head, and to look for each among all would block for seconds."""
    lowered: list[str] = []

    class Name(str):
        __slots__ = ()

        def lower(self) -> str:
            lowered.append(self)
            return super().lower()

    assert len(dict(Header((Name(f"x{number}"), "1") for number in range(1000)))) == 1000
    assert len(lowered) <= 3000


def test_header_of_nothing_is_empty() -> None:
    """No fields make an empty mapping, and a missing field is a KeyError."""
    assert dict(Header()) == {}
    with pytest.raises(KeyError):
        Header()["host"]


def test_events_are_frozen() -> None:
    """An event cannot be changed by one of its listeners."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        MessageEvent("a").data = "b"  # type: ignore[misc]


def test_close_event_defaults() -> None:
    """A drop has no reason and no Close frame of the peer's."""
    event = CloseEvent(code=CloseCode.ABNORMAL_CLOSURE)
    assert (event.code, event.reason, event.peer_code, event.peer_reason) == (1006, "", None, "")
