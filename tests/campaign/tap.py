"""What a client has written, message by message, and whether it has closed its stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio
from deflated import Inflator

from .client_frames import BITS, FrameReader, message_of

_END = b"\r\n\r\n"  # of the request
_OFFER = b"permessage-deflate"


@final
class Tap:
    """Reads what a client writes, from its request on, and tells of each message that is whole."""

    def __init__(self, on_written: Callable[[str | bytes], None]) -> None:
        self._on_written = on_written
        self._frames = FrameReader()
        self._request: bytes | None = b""

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        if self._request is not None:
            self._request += data
            if _END not in self._request:
                return
            if _OFFER in self._request.lower():
                self._frames = FrameReader(Inflator(BITS))
            data, self._request = self._request.split(_END, 1)[1], None
        for opcode, payload in self._frames.feed(data):
            written = message_of(opcode, payload)
            if written is not None:
                self._on_written(written)


@final
class TappedStream(trio.abc.Stream):
    """A stream whose writes go by a tap."""

    def __init__(self, stream: trio.abc.Stream, tap: Tap) -> None:
        self.closed: bool = False
        """Whether it was closed."""
        self._stream = stream
        self._tap = tap

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what a stream takes but does not get rid of counts as written, because the other end may read it."""
        self._tap.feed(bytes(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive."""
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close."""
        self.closed = True
        await self._stream.aclose()
