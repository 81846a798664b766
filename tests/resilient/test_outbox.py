"""`_resilient._outbox`: what is kept, and what is given up."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from trio_socket_task import (
    Acknowledgement,
    Backoff,
    InvalidOptionsError,
    Outbox,
    ResilientStatistics,
    Retry,
    StateEvent,
    UndeliveredEvent,
)
from trio_socket_task._resilient._queue import MessageQueue, QueuedMessage


def queue_of(count: int, limits: Outbox | None = None) -> MessageQueue:
    """Return a queue of so many messages of ten bytes, put in second after second."""
    kept = MessageQueue(limits or Outbox())
    for number in range(count):
        kept.put(QueuedMessage(str(number), 10, float(number)))
    return kept


def names(some: object) -> str:
    """Return which messages these are."""
    some = some.values() if isinstance(some, dict) else some
    assert isinstance(some, Iterable)
    return "".join(str(message.data) for message in some)


def test_room_is_bounded_by_count_and_bytes() -> None:
    """Whichever comes first; what a connection was given counts until it is confirmed."""
    kept = queue_of(2, Outbox(max_messages=3, max_bytes=100))
    assert kept.has_room(80)
    assert not kept.has_room(81)
    kept.put(QueuedMessage("2", 1, 0))
    assert not kept.has_room(1)
    kept.take()
    assert not kept.has_room(1)
    assert kept.confirm(1)
    assert not kept.confirm(1)
    assert kept.has_room(1)


def test_what_is_confirmed_is_gone() -> None:
    """The first so many of what the connection was given."""
    kept = queue_of(5)
    for _ in range(4):
        kept.take()
    assert kept.confirm_through(2)
    assert not kept.confirm_through(2)
    assert (names(kept.unconfirmed), names(kept.waiting), kept.size, kept.delivered) == ("23", "4", 30, 2)
    kept.confirm_through(4)
    assert (len(kept), kept.delivered) == (1, 4)


def test_a_dead_connection_s_messages_are_given_up() -> None:
    """Those that were not confirmed; what waited still waits."""
    kept = queue_of(4)
    for _ in range(3):
        kept.take()
    kept.confirm(1)
    assert names(kept.end_connection()) == "12"
    assert (names(kept.waiting), kept.size, kept.unconfirmed_size) == ("3", 10, 0)


def test_or_sent_again_in_their_order() -> None:
    """Before the others."""
    kept = queue_of(4, Outbox(resend=True))
    for _ in range(3):
        kept.take()
    kept.confirm(1)
    assert names(kept.end_connection()) == ""
    assert (names(kept.waiting), kept.size) == ("123", 30)


def test_old_messages_expire() -> None:
    """While they wait; without a limit, never."""
    kept = queue_of(3, Outbox(max_age=10))
    assert kept.expiry == 10
    assert names(kept.expire(9.9)) == ""
    assert names(kept.expire(11)) == "01"
    assert (kept.size, kept.expiry) == (10, 12)
    kept.take()
    assert kept.expiry == float("inf")
    assert queue_of(3).expiry == float("inf")


def test_the_oldest_that_waits_makes_room() -> None:
    """What the connection was given cannot be taken back."""
    kept = queue_of(4, Outbox(max_messages=4, max_bytes=45))
    kept.take()
    assert names(kept.drop_oldest(20)) == "12"
    assert (names(kept.unconfirmed), names(kept.waiting), kept.size) == ("0", "3", 20)
    assert names(kept.drop_oldest(1)) == ""
    assert names(kept.drop_oldest(36)) == "", "not even all of them would be enough"
    kept.take()
    full = queue_of(1, Outbox(max_messages=1))
    full.take()
    assert names(full.drop_oldest(1)) == ""


def test_everything_is_given_up_in_the_end() -> None:
    """In order."""
    kept = queue_of(3)
    kept.take()
    assert names(kept.clear()) == "012"
    assert (len(kept), kept.size) == (0, 0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_messages", 0),
        ("max_messages", True),
        ("max_bytes", 1.5),
        ("when_full", "explode"),
        ("max_age", 0),
        ("resend", 1),
        ("proof", "ping"),
        ("proof", None),
        ("proof_timeout", 0),
    ],
)
def test_bad_options_are_refused(option: str, value: object) -> None:
    """By name."""
    with pytest.raises(InvalidOptionsError, match=option):
        Outbox(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind", [Outbox, Acknowledgement, Backoff, Retry, StateEvent, UndeliveredEvent, ResilientStatistics]
)
def test_options_and_reports_are_made_by_name(kind: Callable[..., object]) -> None:
    """So that there may be more of them one day."""
    with pytest.raises(TypeError, match="positional"):
        kind(1, 1)


def test_cumulative_is_a_bool() -> None:
    """Refused by name."""
    with pytest.raises(InvalidOptionsError, match="cumulative"):
        Acknowledgement(sent=str, received=str, cumulative=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sent", "received"])
def test_functions_of_ids_are_functions(name: str) -> None:
    """Refused by name, before anything is sent."""
    functions: dict[str, object] = {"sent": str, "received": str, name: "id"}
    with pytest.raises(InvalidOptionsError, match=name):
        Acknowledgement(**functions)  # type: ignore[arg-type]


def test_an_id_goes_with_its_message() -> None:
    """Whether it was confirmed, given up or sent again; one that is not here any more gets no id."""
    kept = queue_of(4, Outbox(resend=True))
    taken = [kept.take() for _ in range(3)]
    for message in taken:
        kept.set_id(message, "id " + str(message.data))
    assert kept.acknowledge("id 1", cumulative=False)
    assert not kept.acknowledge("id 1", cumulative=False)
    kept.end_connection()
    assert names(kept.waiting) == "023"
    assert kept.acknowledge("id 2", cumulative=True)
    assert (names(kept.waiting), kept.delivered) == ("3", 3)
    late = kept.take()
    kept.confirm(late.number)
    kept.set_id(late, "id 3")
    assert not kept.acknowledge("id 3", cumulative=False)


def test_an_id_that_several_messages_have_is_acknowledged_once_for_each() -> None:
    """The oldest first; then nothing is kept of it."""
    kept = queue_of(3)
    for message in [kept.take() for _ in range(3)]:
        kept.set_id(message, "the same")
    for left in ("12", "2", ""):
        assert kept.acknowledge("the same", cumulative=False)
        assert names(kept.unconfirmed) == left
    assert not kept.acknowledge("the same", cumulative=False)
    assert kept._ids == {}


def test_an_outbox_by_default() -> None:
    """As its docstring tells."""
    assert Outbox() == Outbox(
        max_messages=10_000,
        max_bytes=16 * 2**20,
        when_full="wait",
        max_age=None,
        resend=False,
        proof="pong",
        proof_timeout=5.0,
    )
