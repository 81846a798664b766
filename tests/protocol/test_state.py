"""`_state`: every pair of phase and trigger."""

from __future__ import annotations

from itertools import product

import pytest

from trio_socket_task import CloseEvent, ConnectError, ReadyState, SocketClosedError, SocketLostError
from trio_socket_task._protocol._state import TRANSITIONS, Life, Phase, Trigger

LOST = SocketLostError(CloseEvent(code=1006), "reset")


def pull(life: Life, trigger: Trigger) -> None:
    """Do to a life what a trigger stands for."""
    {
        Trigger.OPENED: life.open,
        Trigger.CLOSE_REQUESTED: lambda: life.request_close(4000, "bye"),
        Trigger.PEER_CLOSED: lambda: life.peer_closed(1001, "away"),
        Trigger.VIOLATED: life.violate,
        Trigger.WRITE_FAILED: lambda: life.fail_to_write(LOST),
        Trigger.FAILED: lambda: life.fail(LOST),
        Trigger.ENDED: life.end,
    }[trigger]()


@pytest.mark.parametrize(("phase", "trigger"), list(product(Phase, Trigger)))
def test_every_step(phase: Phase, trigger: Trigger) -> None:
    """The table is the whole truth: what is not in it changes nothing; `is_open` and `ready_state` follow from it."""
    life = Life()
    life.phase = phase
    pull(life, trigger)
    assert life.phase is TRANSITIONS.get((phase, trigger), phase)
    if (phase, trigger) in TRANSITIONS:
        assert life.is_open == (life.phase in {Phase.OPEN, Phase.FAILING})
        open_phases = {Phase.OPEN, Phase.FAILING, Phase.BROKEN}
        assert (life.ready_state is ReadyState.OPEN) == (life.phase in open_phases)
        assert life.phase in open_phases or life.ready_state.name == life.phase.name


def test_nothing_leaves_closed() -> None:
    """CLOSED is the end, and only the end of the connection leads there."""
    assert not [phase for phase, _ in TRANSITIONS if phase is Phase.CLOSED]
    assert {trigger for (_, trigger), to in TRANSITIONS.items() if to is Phase.CLOSED} == {Trigger.ENDED}


def test_values_are_the_w3c_ones() -> None:
    """CONNECTING, OPEN, CLOSING, CLOSED are 0 to 3."""
    assert [(state.name, state.value) for state in ReadyState] == [
        ("CONNECTING", 0),
        ("OPEN", 1),
        ("CLOSING", 2),
        ("CLOSED", 3),
    ]


@pytest.mark.parametrize(
    ("triggers", "code", "reason", "peer_code", "quiet", "error"),
    [
        ("O R P E", 4000, "bye", 1001, True, SocketClosedError),
        ("O R E", 4000, "bye", None, True, SocketClosedError),
        ("O R F E", 4000, "bye", None, True, SocketClosedError),
        ("R E", 4000, "bye", None, True, SocketClosedError),
        ("O P E", 1001, "away", 1001, True, SocketLostError),
        ("O P R E", 1001, "away", 1001, True, SocketLostError),
        ("O P F E", 1001, "away", 1001, True, SocketLostError),
        ("O F E", 1006, "", None, False, SocketLostError),
        ("O F P E", 1006, "", 1001, False, SocketLostError),
        ("F E", 1006, "", None, False, SocketLostError),
    ],
)
def test_how_it_closed(  # noqa: PLR0913 (a table's columns)
    *, triggers: str, code: int, reason: str, peer_code: int | None, quiet: bool, error: type[Exception]
) -> None:
    """Who closes first decides the event; a failure that follows a whole handshake does not count."""
    names = {"O": Trigger.OPENED, "R": Trigger.CLOSE_REQUESTED, "P": Trigger.PEER_CLOSED, "F": Trigger.FAILED}
    life = Life()
    for name in triggers.split()[:-1]:
        pull(life, names[name])
    life.end()
    event = life.close_event()
    assert (event.code, event.reason, event.peer_code) == (code, reason, peer_code)
    assert life.ended_cleanly() is quiet
    assert type(life.ended_error()) is error
    assert life.ended_error() is not life.ended_error()


def test_a_close_frame_without_code_is_1005() -> None:
    """RFC 6455 section 7.1.5."""
    life = Life()
    life.open()
    life.peer_closed(None, "")
    life.end()
    assert life.close_event() == CloseEvent(code=1005, peer_code=1005)
    assert life.ended_cleanly()


def test_the_first_failure_stands() -> None:
    """A second one is ignored."""
    life = Life()
    assert life.fail(LOST) is True
    assert life.fail(SocketLostError(CloseEvent(code=1006), "again")) is False
    assert life.error is LOST
    assert life.request_close(1000, "") is False
    assert life.open() is False


def test_errors_keep_their_cause() -> None:
    """What a late call raises has the OS error of the first failure as its cause."""
    reset = ConnectionResetError("reset")
    LOST.__cause__ = reset
    life = Life()
    life.open()
    life.fail(LOST)
    assert life.ended_error().__cause__ is reset
    assert str(life.ended_error()) == "the connection was lost: reset"


def test_errors_of_a_socket_that_never_opened() -> None:
    """Waiting for it gives the ConnectError anew; other calls find it lost, with the ConnectError as the cause."""
    refused = ConnectionRefusedError("refused")
    error = ConnectError("ws://a/", "refused")
    error.__cause__ = refused
    life = Life()
    life.fail(error)
    again = life.connect_error()
    assert again is not error
    assert (str(again), again.__cause__) == (str(error), refused)
    assert life.ended_error().__cause__ is error


def test_waiting_for_a_socket_that_was_called_off() -> None:
    """A close before the opening is this side's doing."""
    life = Life()
    life.request_close(1000, "")
    assert isinstance(life.connect_error(), SocketClosedError)


def test_an_open_connection_is_all_that_is_required() -> None:
    """Nothing is raised then."""
    life = Life()
    life.open()
    life.require_open()
