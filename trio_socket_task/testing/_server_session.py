"""One connection on the server's side: its handshake, its messages and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from ._faulty_stream import FaultyStream
from ._misuse import MisuseError, ScriptError

_NO_CLOSE_FRAME = 1006  # RFC 6455 section 7.4.1


class ClientLeft(trio.EndOfChannel):
    """The client is gone, and there is no more to receive."""


class ClientGoneError(trio.BrokenResourceError):
    """The client is gone, and nothing can be sent to it."""


@contextmanager
def raise_client_gone() -> Iterator[None]:
    """Raise `ClientGoneError` for whatever says that the client is gone."""
    try:
        yield
    except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        raise ClientGoneError("the client is gone") from None


@final
class ServerSession:
    """What a `ServerConnection`, its server and the scripts that it meets share."""

    def __init__(self, stream: FaultyStream, request: WebSocketRequest) -> None:
        self.stream = stream
        self.request = request
        self.connection: WebSocketConnection | None = None
        """What the handshake has led to, once it is accepted."""
        self.excused: bool = False
        """Whether a fault explains a handshake that is not answered."""
        self.half_closed: bool = False
        """Whether the direction to the client has ended."""
        self.received: list[str | bytes] = []
        """Every message of the client, unless no record is kept."""
        self.close_code: int | None = None
        self.close_reason: str = ""
        self.unfinished: ScriptError | None = None
        """What a script reports that was cancelled before its end."""
        self._accepting = trio.Lock()  # so that of two first uses one accepts
        self._answered = False  # whether answering the handshake was begun
        self._closed_here = False
        self._keeps_received = True

    @property
    def closed(self) -> bool:
        """Whether this connection is over."""
        return self.stream.ended.is_set() or (self.connection is not None and self.connection.closed is not None)

    def forget_received(self) -> None:
        """Keep no record of messages any more."""
        self._keeps_received = False
        self.received.clear()

    # The handshake

    async def accept(self, protocol: str | None, fields: list[tuple[bytes, bytes]]) -> None:
        """Accept it."""
        async with self._accepting:
            with raise_client_gone():
                self.connection = await self.request.accept(subprotocol=protocol, extra_headers=fields)

    async def reject(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Refuse it."""
        with raise_client_gone():
            await self.request.reject(status, extra_headers=fields, body=body)

    def begin_answer(self) -> None:
        """Note that the handshake is being answered.

        Raises:
            MisuseError: It was answered before.
        """
        if self._answered:
            raise MisuseError("the handshake was answered already; accept or reject first thing in the handler")
        self._answered = True

    async def ensure_answered(self) -> None:
        """Accept, unless the handshake was answered, or is meant to go wrong."""
        if not self._answered and not self._is_excused():
            await self.ensure_accepted()

    async def ensure_accepted(self) -> WebSocketConnection:
        """Accept, unless that was done, and return the connection.

        Raises:
            MisuseError: The handshake was answered otherwise.
        """
        if not self._answered:
            offered = self.request.proposed_subprotocols
            self.begin_answer()
            await self.accept(offered[0] if offered else None, [])
        async with self._accepting:
            pass  # another task of the handler may be accepting
        if self.connection is None:
            raise MisuseError("the handshake was rejected, or accepting it cancelled; the connection is of no use")
        return self.connection

    def _is_excused(self) -> bool:
        return self.excused or not self.stream.answers or self.stream.ended.is_set()

    # Messages

    async def send(self, data: str | bytes) -> None:
        """Send a message."""
        connection = await self.ensure_accepted()
        try:
            with raise_client_gone():
                await connection.send_message(data)
        finally:
            self.note_close()

    async def receive(self) -> str | bytes:
        """Wait for the client's next message."""
        connection = await self.ensure_accepted()
        try:
            data = await connection.get_message()
        except ConnectionClosed:
            self.note_close()
            raise ClientLeft from None
        if self._keeps_received:
            self.received.append(data)
        return data

    # The end

    def note_close(self) -> None:
        """Note the code and the reason of a client that was the first to close."""
        reason = None if self.connection is None or self._closed_here else self.connection.closed
        if reason is not None and reason.code != _NO_CLOSE_FRAME:
            self.close_code, self.close_reason = reason.code, reason.reason or ""

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the client's answer."""
        connection = await self.ensure_accepted()
        self._closed_here = connection.closed is None
        await self._run_until_ended(partial(connection.aclose, code, reason or None))

    async def finish(self) -> None:
        """Close the connection of a handler that has returned.

        Raises:
            MisuseError: It left the handshake without an answer.
        """
        if self.connection is not None:
            self._closed_here = self._closed_here or self.connection.closed is None
            await self._run_until_ended(self.connection.aclose)
            if self.stream.keeps_open:
                await self.stream.ended.wait()
            self.note_close()
        elif self._is_excused():
            await self.stream.ended.wait()
        elif not self._answered:
            raise MisuseError(
                f"the handler of {self.request.path} returned without using its connection, so the client waits in "
                "vain; accept, reject, send or receive, or `await connection.wait_closed()` to hold it open"
            )

    async def _run_until_ended(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close, unless the client goes first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when, self.stream.ended, nursery.cancel_scope)
            await close()
            nursery.cancel_scope.cancel()


async def cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel a scope when an event happens."""
    await event.wait()
    scope.cancel()
