"""The command `connect`: lines go out as messages, messages come in as lines."""

from __future__ import annotations

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

from ._error_text import name_options
from ._input import Lines, Source
from ._output import Output
from ._prompt import Prompt
from ._sending import ENDS, Channel, Sender, counted, wait_delivered, wait_until_quiet
from ._stats import show_statistics
from ._trace import traced

_THEM: Final = ("it", "them")
_QUIET: Final = {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD}


@final
@attrs.frozen(kw_only=True)
class Settings:
    """What the arguments ask for."""

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
    trace: bool = False
    """Whether to print the log."""

    def open(self) -> AbstractAsyncContextManager[Channel]:
        """Return the block of the connection."""
        if self.keep:
            return open_resilient_socket(self.url, **self.options)
        return connect_socket(self.url, **self.options)


async def run_connect(settings: Settings) -> int:
    """Run the command until the server closes, the input ends or enough has come, and return the exit code."""
    source, screen = settings.source, settings.output.screen
    tracing = traced(settings.output) if settings.trace else nullcontext()
    with source.terminal() if isinstance(source, Prompt) else nullcontext(), tracing:
        try:
            return await _Conversation(settings).run()
        finally:
            if screen is not None:
                screen.end()


@final
class _Conversation:
    """One conversation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._output = settings.output
        self._sender = (
            None if settings.source is None else Sender(settings.source, settings.output, binary=settings.binary)
        )
        self._failed = False
        self._undelivered = 0  # messages that were reported
        self._received = 0

    async def run(self) -> int:
        """Send and receive, and return the exit code."""
        channel: Channel | None = None
        try:
            async with trio.open_nursery() as nursery, self._settings.open() as channel:
                if isinstance(channel, ResilientSocket):
                    nursery.start_soon(self._report_states, channel)  # which ends when the socket has
                else:
                    protocol = {} if channel.protocol is None else {"protocol": channel.protocol}
                    self._output.event("open", mask_url(channel.url), **protocol)
                await self._converse(channel)
        finally:
            self._report_end(channel)
        is_refused = self._sender is not None and self._sender.refused > 0
        return int(self._failed or is_refused)

    async def _converse(self, channel: Channel) -> None:
        """Send and receive, until one of them is done."""
        settings = self._settings
        async with trio.open_nursery() as nursery:
            if self._sender is not None:
                nursery.start_soon(self._send, self._sender, channel)
            if settings.statistics:
                nursery.start_soon(show_statistics, channel, settings.output, settings.pong)
            try:
                await self._print_messages(channel)
            except GaveUpError as error:
                self._fail(error)
            except SocketLostError as error:
                if error.why:  # else the close event tells
                    self._fail(error)
            buffered = 0 if isinstance(channel, ResilientSocket) else channel.statistics().send_buffered
            nursery.cancel_scope.cancel()
        if self._sender is not None and self._received != settings.count:
            self._failed |= self._sender.report_unsent(buffered)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._output.error(error)

    async def _print_messages(self, channel: Channel) -> None:
        async for data in channel:
            self._output.message(data)
            self._received += 1
            if self._received == self._settings.count:
                return

    async def _send(self, sender: Sender, channel: Channel) -> None:
        """Send the input; when it has ended, close when no more answers come, unless some are still awaited."""
        settings = self._settings
        with suppress(*ENDS):
            await sender.send_all(channel)
        if isinstance(settings.source, Lines) and settings.source.error is not None:
            self._failed = True
            self._output.event("error", f"cannot read standard input: {settings.source.error.strerror}")
        if settings.count is None:
            if isinstance(channel, ResilientSocket) and (why := await wait_delivered(channel, settings.delivery)):
                self._failed = True
                self._output.event("error", why)
            await wait_until_quiet(channel)
            channel.close()

    async def _report_states(self, socket: ResilientSocket) -> None:
        async for event in socket.on_state():
            self._report_undelivered(socket)
            if event.state is ConnectionState.CONNECTING:
                number = event.failures + 1
                self._output.event("connecting", f"attempt {number}", attempt=number)
            elif event.state is ConnectionState.CONNECTED:
                number = event.generation
                self._output.event("connected", f"connection {number}", connection=number)
            elif event.state is ConnectionState.WAITING:
                again = "" if event.delay is None else f", again in {event.delay:.1f} s"
                self._output.event("waiting", name_options(event.why) + again, delay=event.delay)
            elif self._output.as_json:  # a person reads of the error, or of the close, that follows
                self._output.event("stopped", name_options(event.why))

    def _report_undelivered(self, socket: ResilientSocket) -> None:
        """Report how many messages were given up since the last report."""
        given_up = socket.statistics().undelivered
        if number := given_up - self._undelivered:
            self._failed, self._undelivered = True, given_up
            text = f"{counted(number, 'message')}, as nothing shows that the server has read {_THEM[number > 1]}"
            self._output.event("undelivered", text, messages=number)

    def _report_end(self, channel: Channel | None) -> None:
        if isinstance(channel, ResilientSocket):
            self._report_undelivered(channel)
            if not channel.statistics().generation:
                self._failed = True
                return  # what was never open is not closed
        event = None if channel is None else channel.close_event
        if event is not None:
            self._failed |= event.code not in _QUIET
            self._output.close(event)
