"""The command `connect`: lines go out as messages, messages come in as lines."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Final, final

import attrs
import trio

from trio_socket_task._connect import connect_socket
from trio_socket_task._errors import GaveUpError, SocketLostError
from trio_socket_task._events import CloseCode
from trio_socket_task._options import ConnectOptions
from trio_socket_task._resilient._open import open_resilient_socket
from trio_socket_task._resilient._reports import ConnectionState
from trio_socket_task._resilient._socket import ResilientSocket
from trio_socket_task._text import mask_url

from ._input import Lines, Source
from ._output import Output
from ._prompt import Prompt
from ._sending import ENDS, Channel, Sender, counted, wait_delivered, wait_for_silence
from ._stats import show_statistics
from ._words import in_options

_THEM: Final = ("it", "them")
_QUIET: Final = {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD}


@final
@attrs.frozen(kw_only=True)
class Wanted:
    """What was asked for."""

    url: str
    options: ConnectOptions
    output: Output
    source: Source | None
    """Where lines come from; None to listen only."""
    binary: bool
    """Whether lines are hexadecimal, and go out as binary messages."""
    count: int | None
    """How many messages are awaited; None for as many as come."""
    keep: bool
    """Whether to connect again."""
    statistics: bool
    pong: float
    """Seconds that a pong may take."""
    delivery: float
    """Seconds that may pass from the end of the input until everything is delivered, with `keep`."""

    def open(self) -> AbstractAsyncContextManager[Channel]:
        """Return the block of the connection."""
        if self.keep:
            return open_resilient_socket(self.url, **self.options)
        return connect_socket(self.url, **self.options)


def insecure_context() -> ssl.SSLContext:
    """Return TLS settings that trust everybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def talk(wanted: Wanted) -> int:
    """Talk until the server closes, the input ends or enough has come, and return the exit code."""
    source, screen = wanted.source, wanted.output.screen
    with source.terminal() if isinstance(source, Prompt) else nullcontext():
        try:
            return await _Talk(wanted).run()
        finally:
            if screen is not None:
                screen.end()


@final
class _Talk:
    """One conversation."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._output = wanted.output
        self._sender = None if wanted.source is None else Sender(wanted.source, wanted.output, binary=wanted.binary)
        self._failed = False
        self._undelivered = 0  # messages that were told of
        self._received = 0

    async def run(self) -> int:
        """Talk, and return the exit code."""
        channel: Channel | None = None
        try:
            async with trio.open_nursery() as nursery, self._wanted.open() as channel:
                if isinstance(channel, ResilientSocket):
                    nursery.start_soon(self._tell_states, channel)  # which ends when the socket has
                else:
                    protocol = {} if channel.protocol is None else {"protocol": channel.protocol}
                    self._output.event("open", mask_url(channel.url), **protocol)
                await self._converse(channel)
        finally:
            self._tell_end(channel)
        is_refused = self._sender is not None and self._sender.refused > 0
        return int(self._failed or is_refused)

    async def _converse(self, channel: Channel) -> None:
        """Send and receive, until one of them is done."""
        wanted = self._wanted
        async with trio.open_nursery() as nursery:
            if self._sender is not None:
                nursery.start_soon(self._send, self._sender, channel)
            if wanted.statistics:
                nursery.start_soon(show_statistics, channel, wanted.output, wanted.pong)
            try:
                await self._print_messages(channel)
            except GaveUpError as error:
                self._fail(error)
            except SocketLostError as error:
                if error.why:  # else the close event tells
                    self._fail(error)
            buffered = 0 if isinstance(channel, ResilientSocket) else channel.statistics().send_buffered
            nursery.cancel_scope.cancel()
        if self._sender is not None and self._received != wanted.count:
            self._failed |= self._sender.tell_unsent(buffered)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._output.error(error)

    async def _print_messages(self, channel: Channel) -> None:
        async for data in channel:
            self._output.message(data)
            self._received += 1
            if self._received == self._wanted.count:
                return

    async def _send(self, sender: Sender, channel: Channel) -> None:
        """Send the input; when it has ended, close when no more answers come, unless some are still awaited."""
        wanted = self._wanted
        with suppress(*ENDS):
            await sender.send_all(channel)
        if isinstance(wanted.source, Lines) and wanted.source.error is not None:
            self._failed = True
            self._output.event("error", f"cannot read standard input: {wanted.source.error.strerror}")
        if wanted.count is None:
            if isinstance(channel, ResilientSocket) and (why := await wait_delivered(channel, wanted.delivery)):
                self._failed = True
                self._output.event("error", why)
            await wait_for_silence(channel)
            channel.close()

    async def _tell_states(self, socket: ResilientSocket) -> None:
        async for event in socket.on_state():
            self._tell_undelivered(socket)
            if event.state is ConnectionState.CONNECTING:
                number = event.failures + 1
                self._output.event("connecting", f"attempt {number}", attempt=number)
            elif event.state is ConnectionState.CONNECTED:
                number = event.generation
                self._output.event("connected", f"connection {number}", connection=number)
            elif event.state is ConnectionState.WAITING:
                again = "" if event.delay is None else f", again in {event.delay:.1f} s"
                self._output.event("waiting", in_options(event.why) + again, delay=event.delay)
            elif self._output.as_json:  # a person reads of the error, or of the close, that follows
                self._output.event("stopped", in_options(event.why))

    def _tell_undelivered(self, socket: ResilientSocket) -> None:
        """Say how many messages were given up since this was said last."""
        given_up = socket.statistics().undelivered
        if number := given_up - self._undelivered:
            self._failed, self._undelivered = True, given_up
            words = f"{counted(number, 'message')}, as nothing shows that the server has read {_THEM[number > 1]}"
            self._output.event("undelivered", words, messages=number)

    def _tell_end(self, channel: Channel | None) -> None:
        if isinstance(channel, ResilientSocket):
            self._tell_undelivered(channel)
            if not channel.statistics().generation:
                self._failed = True
                return  # what was never open is not closed
        event = None if channel is None else channel.close_event
        if event is not None:
            self._failed |= event.code not in _QUIET
            self._output.close(event)
