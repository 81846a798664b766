"""The command `connect`: lines go out as messages, messages come in as lines."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Final, final

import attrs
import trio

from trio_socket_task._connect import connect_socket
from trio_socket_task._errors import GaveUpError, InvalidOptionsError, SocketClosedError, SocketLostError
from trio_socket_task._events import CloseCode, CloseEvent, SocketStatistics
from trio_socket_task._options import ConnectOptions
from trio_socket_task._resilient._reports import ConnectionState
from trio_socket_task._resilient._socket import ResilientSocket, open_resilient_socket
from trio_socket_task._task import SocketTask

from ._paper import Paper
from ._stats import show_statistics

Channel = SocketTask | ResilientSocket
_LINGER = 0.5
"""Seconds without a message after which no more answers are awaited."""
_ENDS: Final = (SocketClosedError, SocketLostError, GaveUpError)
_QUIET: Final = {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD}


@final
@attrs.frozen(kw_only=True)
class Talk:
    """What was asked for."""

    url: str
    options: ConnectOptions
    paper: Paper
    binary: bool
    """Whether lines are hexadecimal, and go out as binary messages."""
    count: int | None
    """How many messages are awaited; None for as many as come."""
    keep: bool
    """Whether to connect again."""
    statistics: bool

    def open(self) -> AbstractAsyncContextManager[Channel]:
        """Give the block of the connection."""
        if self.keep:
            return open_resilient_socket(self.url, **self.options)
        return connect_socket(self.url, **self.options)


def insecure_context() -> ssl.SSLContext:
    """Give TLS settings that trust everybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def talk(wanted: Talk) -> int:
    """Talk until the server closes, the input ends or enough has come, and give the exit code."""
    channel: Channel | None = None
    error: Exception | None = None
    try:
        with _terminal(wanted.paper):
            async with wanted.open() as channel:
                error = await _converse(channel, wanted)
    finally:
        event = None if channel is None else channel.close_event
        _tell_end(event, wanted.paper)
    if error is not None:
        wanted.paper.event("error", str(error))
    return 0 if error is None and event is not None and event.code in _QUIET else 1


def _tell_end(event: CloseEvent | None, paper: Paper) -> None:
    if event is not None:
        paper.event("closed", f"{int(event.code)} {event.reason}".rstrip())


async def _converse(channel: Channel, wanted: Talk) -> Exception | None:
    """Send and receive; give what ended it, where that is worth telling."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        if isinstance(channel, ResilientSocket):
            nursery.start_soon(_tell_states, channel, wanted.paper)
        else:
            wanted.paper.event("open", channel.url)
        nursery.start_soon(_send_lines, channel, wanted)
        if wanted.statistics:
            nursery.start_soon(show_statistics, channel, wanted.paper)
        try:
            await _print_messages(channel, wanted)
        except GaveUpError as error:
            failure = error
        except SocketLostError as error:
            failure = error if error.why else None
        nursery.cancel_scope.cancel()
    return failure


async def _print_messages(channel: Channel, wanted: Talk) -> None:
    received = 0
    async for data in channel:
        wanted.paper.message(data)
        received += 1
        if received == wanted.count:
            return


async def _send_lines(channel: Channel, wanted: Talk) -> None:
    """Send each line; at the end of the input, close when no more answers come, unless some are still awaited."""
    read = wanted.paper.prompt if wanted.paper.live else sys.stdin.readline
    with suppress(*_ENDS):
        while line := await trio.to_thread.run_sync(read, abandon_on_cancel=True):
            try:
                await channel.send(_message(line.rstrip("\n"), binary=wanted.binary))
            except InvalidOptionsError as error:
                wanted.paper.event("refused", str(error))
    if wanted.count is None:
        await _wait_for_silence(channel)
        channel.close()


async def _wait_for_silence(channel: Channel) -> None:
    before = -1
    while before < (now := _received(channel)):
        before = now
        await trio.sleep(_LINGER)


def _received(channel: Channel) -> int:
    figures = channel.statistics()
    return figures.messages_received if isinstance(figures, SocketStatistics) else figures.sockets.messages_received


def _message(line: str, *, binary: bool) -> str | bytes:
    if not binary:
        return line
    try:
        return bytes.fromhex(line)
    except ValueError:
        raise InvalidOptionsError("line", line, "must be hexadecimal with --binary") from None


async def _tell_states(socket: ResilientSocket, paper: Paper) -> None:
    async for event in socket.on_state():
        if event.state is ConnectionState.CONNECTING:
            words = f"attempt {event.failures + 1}"
        elif event.state is ConnectionState.CONNECTED:
            words = f"connection {event.generation}"
        else:
            words = event.why + ("" if event.delay is None else f", again in {event.delay:.1f} s")
        paper.event(event.state.value, words)


@contextmanager
def _terminal(paper: Paper) -> Iterator[None]:
    """Leave a person's terminal as it was: the thread that waits for a line is not waited for."""
    if not paper.live:
        yield
        return
    import readline  # noqa: F401, PLC0415 (`input` uses it once it is there)
    import termios  # noqa: PLC0415 (where there are terminals)

    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        print(file=sys.stderr)
