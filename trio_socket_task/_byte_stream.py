"""A socket's binary messages as a stream of bytes."""

from __future__ import annotations

import operator
from typing import final

import trio

from ._session._session import Session
from ._text import kind_of, mask_url

_PIECE = 64 * 1024
"""Bytes of a message at most: few servers refuse one of that size, and more of them in one save nothing."""


@final
class ByteStream(trio.abc.Stream):
    """The bytes of a socket's binary messages; where one message ends and the next begins is no longer seen.

    `send_all` is whole when it returns: in the socket's send buffer, which bounds it. A WebSocket cannot end one
    direction only, so there is no `send_eof`.
    """

    def __init__(self, session: Session) -> None:
        if session.connection is None:
            session.life.require_open()  # which raises
        self._session = session
        self._rest = memoryview(b"")  # of the message that was received last
        self._broken = ""
        self._closed = False
        self._sending = _ConflictDetector("another task is sending on this stream")
        self._receiving = _ConflictDetector("another task is receiving from this stream")

    def __repr__(self) -> str:
        return f"<ByteStream {self._session.life.ready_state.name} {mask_url(self._session.options.address.url)}>"

    def _require_not_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._session.life.own_close is not None:  # by the socket's own `close`
            raise self._session.life.ended_error()

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, as messages of at most 64 KiB; if this is cancelled, an unknown part of them was sent."""
        with self._sending, memoryview(data) as given, given.cast("B") as view:
            await trio.lowlevel.checkpoint()
            self._require_not_closed()
            for start in range(0, len(view), _PIECE):
                piece = bytes(view[start : start + _PIECE])
                await self._session.wait_for_room(len(piece))
                self._session.put_now(piece, piece)

    @trio.lowlevel.enable_ki_protection
    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket's send buffer has room."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._require_not_closed()
            await self._session.writer.use_room(lambda: None)
            self._require_not_closed()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes, and return at most so many; none at the end. If it is cancelled, nothing is lost."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            self._require_not_closed()
            while not self._rest:
                if self._broken:
                    raise trio.BrokenResourceError(self._broken)
                try:
                    await self._session.wait_for_message()
                except trio.EndOfChannel:
                    self._require_not_closed()
                    return b""
                self._require_not_closed()
                self._take(self._session.take_message())
            taken, self._rest = (
                self._rest[:max_bytes],
                self._rest[len(self._rest) if max_bytes is None else max_bytes :],
            )
            return bytes(taken)

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._rest = memoryview(data)
        else:
            self._broken = f"the peer sent a text message ({kind_of(data)}), and a stream of bytes has binary ones only"

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Close the socket with 1000 and wait until it has closed; if it is cancelled, drop the connection."""
        self._closed = True
        await self._session.aclose(1000, "")


@final
class _ConflictDetector:
    """What only one task may do at a time."""

    __slots__ = ("_busy", "_message")

    def __init__(self, message: str) -> None:
        self._busy = False
        self._message = message

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._message)
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False
