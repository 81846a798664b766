"""Who is given which event of a socket, without a socket."""

from __future__ import annotations

import pytest

from trio_socket_task import CloseEvent, ErrorEvent, Header, MessageEvent, OpenEvent, SocketLostError
from trio_socket_task.miniprogram._listeners import SocketListeners

OPEN = OpenEvent(Header())
MESSAGE = "hello"
CLOSE = CloseEvent(code=1006)
ERROR = ErrorEvent("gone", SocketLostError(CLOSE, "gone"))


def first(_res: object) -> None:
    """Listen."""


def second(_res: object) -> None:
    """Listen, too."""


def of_program(_res: object) -> None:
    """Listen to socket after socket."""


def test_own_listeners_come_before_the_global_one() -> None:
    """In the order in which they were added."""
    listeners = SocketListeners(tells_close=True)
    listeners.global_listeners = {MessageEvent: of_program}
    assert listeners.add(MessageEvent, first) is None
    assert listeners.add(MessageEvent, second) is None
    assert [call.function for call in listeners.deliver(MESSAGE)] == [first, second, of_program]
    assert [call.function for call in listeners.deliver(OPEN)] == []


def test_a_later_listener_is_given_what_was_delivered() -> None:
    """But for messages."""
    listeners = SocketListeners(tells_close=True)
    assert listeners.add(OpenEvent, first) is None
    assert [call.result for call in listeners.deliver(OPEN)] == [{"header": {}}]
    list(listeners.deliver(MESSAGE))
    missed = listeners.add(OpenEvent, second)
    assert missed is not None
    assert (missed.function, missed.result) == (second, {"header": {}})
    assert listeners.add(MessageEvent, second) is None


def test_one_global_listener_of_a_kind_is_given_what_was_missed() -> None:
    """Not a second one in its place, and none when the close has been delivered."""
    listeners = SocketListeners(tells_close=True)
    list(listeners.deliver(OPEN))
    list(listeners.deliver(ERROR))
    listeners.global_listeners = {}
    missed = listeners.missed_globally(OpenEvent, of_program)
    assert missed is not None
    assert missed.function is of_program
    assert listeners.missed_globally(OpenEvent, second) is None
    list(listeners.deliver(CLOSE))
    assert listeners.missed_globally(ErrorEvent, of_program) is None


def test_a_global_listener_that_is_set_during_the_delivery_is_not_given_the_event_twice() -> None:
    """It is about to be given it as the socket's own listeners are."""
    listeners = SocketListeners(tells_close=True)
    listeners.global_listeners = program = {}
    listeners.add(OpenEvent, first)
    delivery = listeners.deliver(OPEN)
    assert next(delivery).function is first
    program[OpenEvent] = of_program
    assert listeners.missed_globally(OpenEvent, of_program) is None
    assert [call.function for call in delivery] == [of_program]


@pytest.mark.parametrize(
    ("before", "tells_close", "told"),
    [
        ((), False, True),
        ((ERROR,), True, True),
        ((ERROR,), False, False),
        ((OPEN, ERROR), False, True),
    ],
)
def test_the_close_of_a_socket_that_could_not_be_opened(
    before: tuple[OpenEvent | ErrorEvent, ...], *, tells_close: bool, told: bool
) -> None:
    """It is left out where that is wanted; any other close is delivered."""
    listeners = SocketListeners(tells_close=tells_close)
    for event in before:
        list(listeners.deliver(event))
    assert listeners.ended is bool(before)
    listeners.add(CloseEvent, first)
    assert bool(list(listeners.deliver(CLOSE))) is told
