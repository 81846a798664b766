"""The log of frames: a wire that tells what goes over it, where somebody listens to that."""

from __future__ import annotations

import logging
from typing import final

from trio_socket_task._log import SafeLogger
from trio_socket_task._protocol._frame_parser import FrameParser

from ._tls import TlsWire
from ._wire import Wire

_logger = SafeLogger("trio_socket_task.frames")


def log_frames(wire: Wire, number: int, rest: bytes) -> Wire:
    """Return a wire that logs every frame, `rest` being the first bytes that came; the same where nobody listens.

    That is asked once, so that it costs nothing afterwards where nobody does.
    """
    if not _logger.isEnabledFor(logging.DEBUG):
        return wire
    logged = LoggedWire(wire, number)
    logged.log_received(rest)
    return logged


@final
class LoggedWire:
    """A wire, and the log of the frames that it has carried, each when it begins.

    What is logged as sent is what is given to the system, in that order. A log that fails harms nobody.
    """

    def __init__(self, wire: Wire, number: int) -> None:
        self._wire = wire
        self._number = number
        self._encrypts = isinstance(wire, TlsWire)  # then bytes are seen before, and each once; else as they are sent
        self._sent = FrameParser()
        self._received = FrameParser()

    def _log(self, arrow: str, parser: FrameParser, data: bytes | memoryview) -> None:
        for frame in parser.receive_data(data):
            _logger.debug("#%d %s %s", self._number, arrow, frame)

    def log_received(self, data: bytes | None) -> None:
        """Log the frames that begin in what came."""
        if data:
            self._log("<", self._received, data)

    def encrypt(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return the bytes that go out for these."""
        encrypted = self._wire.encrypt(data)
        if self._encrypts:
            self._log(">", self._sent, data)
        return encrypted

    def pending_output(self) -> bytes:
        """Return what TLS itself has to send."""
        return self._wire.pending_output()

    def send_now(self, data: bytes | memoryview) -> int:
        """Write what can be written without waiting."""
        sent = self._wire.send_now(data)
        if sent and not self._encrypts:
            self._log(">", self._sent, data[:sent])
        return sent

    async def send(self, data: bytes | memoryview) -> None:
        """Write everything."""
        if not self._encrypts:
            self._log(">", self._sent, data)
        await self._wire.send(data)

    async def receive(self, max_bytes: int) -> bytes | None:
        """Wait for bytes."""
        data = await self._wire.receive(max_bytes)
        self.log_received(data)
        return data

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Return bytes that are there without waiting."""
        data = self._wire.receive_now(max_bytes)
        self.log_received(data)
        return data

    @property
    def reads_now(self) -> bool:
        """Whether `receive_now` gives all that has come."""
        return self._wire.reads_now

    @property
    def incomplete_at(self) -> float:
        """When bytes last came of which `receive` could give nothing yet (Trio's clock)."""
        return self._wire.incomplete_at

    def polled_fd(self) -> int | None:
        """Return the file descriptor that is readable when bytes come."""
        return self._wire.polled_fd()

    @property
    def has_rest(self) -> bool:
        """Whether there is something of which that file descriptor tells nothing."""
        return self._wire.has_rest

    def close_now(self) -> bool:
        """Close the connection, where that needs no waiting."""
        return self._wire.close_now()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._wire.aclose()
