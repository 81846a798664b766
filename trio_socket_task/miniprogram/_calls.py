"""The calls that concern a socket, if there is one: to send and to close."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trio_socket_task._protocol._state import ReadyState

from ._arguments import Arguments, CallRefusedError, read_close, read_data
from ._err_msg import NOT_CONNECTED, fail
from ._invocation import Invocation
from ._outcome import Outcome
from ._program_callbacks import ProgramCallbacks
from ._socket import Socket


def send(socket: Socket | None, callbacks: ProgramCallbacks, arguments: Arguments, not_open: str) -> Outcome:
    """Send a message; `not_open` is the errMsg where the socket is not open."""
    call = _call("sendSocketMessage", socket, callbacks, arguments)
    try:
        data, payload = read_data(arguments)
    except CallRefusedError as refused:
        return call.fail(fail("sendSocketMessage", refused))
    if socket is None:
        return call.fail(not_open)
    socket.sending.send(data, payload, call, not_open)
    return call.outcome


def close(
    socket: Socket | None,
    callbacks: ProgramCallbacks,
    arguments: Arguments,
    from_states: Sequence[ReadyState],
    start_closing: Callable[[Socket, int, str], None] = Socket.close,
) -> Outcome:
    """Close a socket that is in one of some states, by `start_closing`."""
    call = _call("closeSocket", socket, callbacks, arguments)
    try:
        code, reason = read_close(arguments)
    except CallRefusedError as refused:
        return call.fail(fail("closeSocket", refused))
    if socket is None or socket.ready_state not in from_states:
        return call.fail(fail("closeSocket", NOT_CONNECTED))
    socket.sending.settle()
    start_closing(socket, code, reason)
    return call.succeed()


def _call(name: str, socket: Socket | None, callbacks: ProgramCallbacks, arguments: Arguments) -> Invocation:
    """Start a call; its callbacks are called in the order of the socket's events, unless the program has ended."""
    callbacks.thread.check()
    return Invocation(name, arguments, callbacks.put if socket is None or callbacks.ended else socket.put)
