"""Lines of the input on their way to the server, and an account of those that do not get there."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, final

import trio

from trio_socket_task._errors import GaveUpError, InvalidOptionsError, SocketClosedError, SocketLostError
from trio_socket_task._resilient._socket import ResilientSocket
from trio_socket_task._socket_task import SocketTask

from ._input import Line, Source, message_of
from ._output import Output
from ._stats import figures_of

Channel = SocketTask | ResilientSocket
ENDS: Final = (SocketClosedError, SocketLostError, GaveUpError)
"""What calls raise that meet the end of their connection."""
_CLOSE_FRAME: Final = 131
"""Bytes that the answer to a Close frame may have (RFC 6455 section 5.5), behind what else is still to be written."""
_LINGER: Final = 0.5
"""Seconds without a message after which no more answers are awaited."""


@final
class Sender:
    """Sends line after line."""

    def __init__(self, source: Source, output: Output, *, binary: bool) -> None:
        self.refused: int = 0
        """How many lines were no messages."""
        self._source = source
        self._output = output
        self._binary = binary
        self._line: Line | None = None  # what is being sent

    async def send_all(self, channel: Channel) -> None:
        """Send each line as a message; report one that is none, and go on with the next."""
        while (line := await self._source.next()) is not None:
            try:
                message = message_of(line, binary=self._binary)
                self._line = line
                await channel.send(message)
            except InvalidOptionsError as error:
                self.refused += 1
                self._output.event("refused", str(error).replace("not a str", "not a text"))
            self._line = None

    def report_unsent(self, buffered: int) -> bool:
        """Report what of the input was not sent, where so many bytes are not written; return whether that is any."""
        lines, size = self._source.rest()
        if self._line is not None:
            lines, size = lines + 1, size + self._line.size
        parts = [f"{counted(lines, 'line')} of {counted(size, 'byte')}"] if lines else []
        if buffered > _CLOSE_FRAME:
            parts.append(f"{counted(buffered, 'byte')} of lines that were begun")
        if parts:
            self._output.event("unsent", ", and ".join(parts), lines=lines, bytes=size, buffered=buffered)
        return bool(parts)


async def wait_delivered(socket: ResilientSocket, seconds: float) -> str:
    """Wait until the server has shown to have read everything; return why that has failed, if it has."""
    with suppress(*ENDS), trio.move_on_after(seconds) as scope:
        if not socket.statistics().generation:
            await socket.wait_connected()
        await socket.wait_delivered()
    if scope.cancelled_caught and not socket.statistics().generation:
        return f"not connected within {seconds:g} s after the end of the input"
    return ""


async def wait_until_quiet(channel: Channel) -> None:
    """Wait until no answer comes any more."""
    before = -1
    while before < (now := figures_of(channel).messages_received):
        before = now
        await trio.sleep(_LINGER)


def counted(number: int, what: str) -> str:
    """Return a number with what it counts."""
    return f"{number} {what}{'' if number == 1 else 's'}"
