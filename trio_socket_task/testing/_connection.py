"""ServerConnection: one accepted connection, seen from the server."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Self, final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from trio_socket_task._events import Header
from trio_socket_task._text import kind_of, mask_url

from ._faulty_stream import Line
from ._misuse import MisuseError, ScriptError

_STATUS_FROM, _STATUS_TO = 200, 599  # RFC 7231 section 6; 1xx would not be the answer
_CODE_FROM, _CODE_TO = 1000, 4999
_WITHOUT_BODY = (204, 304)  # RFC 7230 section 3.3
_MAX_REASON = 123  # RFC 6455 section 5.5, less two bytes for the code
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 7230 section 3.2.6
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NEVER_SENT = (1005, 1006, 1015)  # RFC 6455 section 7.4.1


class ClientLeft(trio.EndOfChannel):
    """The client is gone, and there is no more to receive."""


class ClientGoneError(trio.BrokenResourceError):
    """The client is gone, and nothing can be sent to it."""


@final
class ServerConnection:
    """A connection as the server sees it: what the client asked for, the messages, and the faults.

    It is accepted by the first use that needs that, or by `accept`. Its methods raise `MisuseError` where a call
    cannot mean anything, such as a fault on a connection that is closed.
    """

    def __init__(self, line: Line, request: WebSocketRequest) -> None:
        self._line = line
        self._request = request
        self._accepted: WebSocketConnection | None = None
        self._answering = trio.Lock()  # so that of two first uses one accepts
        self._answered = False  # whether answering the handshake was begun
        self._spoiled = False  # whether a fault explains a handshake that is not answered
        self._half_closed = False
        self._closed_here = False
        self._keeps_received = True
        self._unfinished: ScriptError | None = None  # what a script says that was left in the middle
        self.path: str = request.path
        """The path and query that the client asked for."""
        self.header: Mapping[str, str] = Header(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers
        )
        """The fields of the client's request but for the handshake's own, found by names in any case."""
        self.protocols: Sequence[str] = request.proposed_subprotocols
        """The subprotocols that the client offered."""
        self.received: list[str | bytes] = []
        """Every message that was received from the client."""
        self.close_code: int | None = None
        """The code that the client closed with, 1005 where it gave none; None when it was not the first to close."""
        self.close_reason: str = ""
        """The reason that goes with it."""

    def __repr__(self) -> str:
        return f"<ServerConnection {mask_url(self.path)} {'closed' if self.closed else 'open'}>"

    @property
    def closed(self) -> bool:
        """Whether this connection is over."""
        return self._line.ended.is_set() or (self._accepted is not None and self._accepted.closed is not None)

    async def accept(self, protocol: str | None = None, header: Mapping[str, str] | None = None) -> None:
        """Accept the handshake: with `protocol`, and `header` added to the response.

        If this is cancelled, the response may have gone out all the same.
        """
        if protocol is not None and protocol not in self.protocols:
            raise MisuseError(f"accept() of protocol {protocol!r}: the client offered {list(self.protocols)}")
        self._begin_answer()
        async with self._answering:
            with _departures():
                self._accepted = await self._request.accept(subprotocol=protocol, extra_headers=_fields(header))

    async def reject(self, status: int, header: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer the handshake with an HTTP status other than 101, and end the connection.

        If this is cancelled, a part of the response may have gone out.
        """
        if not isinstance(status, int) or not _STATUS_FROM <= status <= _STATUS_TO:
            raise MisuseError(f"reject() takes a status from {_STATUS_FROM} to {_STATUS_TO}, not {status!r}")
        if not isinstance(body, bytes) or (body and status in _WITHOUT_BODY):
            raise MisuseError(
                f"reject() with {status} takes {'no body' if status in _WITHOUT_BODY else 'a body of bytes'}"
            )
        self._begin_answer()
        with _departures():
            await self._request.reject(status, extra_headers=_fields(header), body=body)

    def _forget_received(self) -> None:
        """Keep no record of messages any more."""
        self._keeps_received = False
        self.received.clear()

    def _begin_answer(self) -> None:
        if self._answered:
            raise MisuseError("the handshake was answered already; accept or reject first thing in the handler")
        self._answered = True

    async def _use(self) -> WebSocketConnection:
        if not self._answered:
            await self.accept(self.protocols[0] if self.protocols else None)
        async with self._answering:
            pass  # another task of the handler may be accepting
        if self._accepted is None:
            raise MisuseError("the handshake was rejected, or accepting it cancelled; the connection is of no use")
        return self._accepted

    async def send(self, data: str | bytes) -> None:
        """Send a message; if this is cancelled, a part of it may have gone out.

        Raises:
            trio.BrokenResourceError: The client is gone; a handler may let this pass.
        """
        if not isinstance(data, str | bytes):
            raise TypeError(f"data must be str or bytes, not {type(data).__name__}")
        self._check_can_send("send")
        connection = await self._use()
        try:
            with _departures():
                await connection.send_message(data)
        finally:
            self._note_close()

    async def receive(self) -> str | bytes:
        """Give the client's next message; if this is cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: The client is gone, `close_code` tells how; a handler may let this pass.
        """
        connection = await self._use()
        try:
            data = await connection.get_message()
        except ConnectionClosed:
            self._note_close()
            raise ClientLeft from None
        if self._keeps_received:
            self.received.append(data)
        return data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with any code, and wait for the client's answer; messages not yet received are dropped.

        If this is cancelled, the connection is dropped.
        """
        if not isinstance(code, int) or not _CODE_FROM <= code <= _CODE_TO or code in _NEVER_SENT:
            raise MisuseError(f"close() takes a code that may be sent, not {code!r}; send_raw() can send any")
        if len(reason.encode()) > _MAX_REASON:
            raise MisuseError(
                f"close() takes a reason of at most {_MAX_REASON} bytes of UTF-8; send_raw() can send any"
            )
        if self._line.keeps_open or not self._line.answers:
            raise MisuseError("close() after stall() or never_answer_close() is not seen by the client; resume() first")
        self._check_can_send("close")
        connection = await self._use()
        self._closed_here = connection.closed is None
        await self._until_gone(partial(connection.aclose, code, reason or None))

    async def _until_gone(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close, unless the client goes first."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when, self._line.ended, nursery.cancel_scope)
            await close()
            nursery.cancel_scope.cancel()

    async def wait_closed(self) -> None:
        """Wait until the client is gone; if this is cancelled, the connection is unharmed."""
        if not self._line.reads and not self._line.ended.is_set():
            raise MisuseError("wait_closed() after stall() cannot see the client go; resume() first")
        await self._begin()
        await self._line.ended.wait()
        self._note_close()

    async def _begin(self) -> None:
        """Accept, unless the handshake was answered, or is meant to go wrong."""
        if not self._answered and not self._is_spoiled():
            await self._use()

    def _is_spoiled(self) -> bool:
        return self._spoiled or not self._line.answers or self._line.ended.is_set()

    def _note_close(self) -> None:
        reason = None if self._accepted is None or self._closed_here else self._accepted.closed
        if reason is not None and reason.code != 1006:  # noqa: PLR2004 (which stands for no frame)
            self.close_code, self.close_reason = reason.code, reason.reason or ""

    async def _finish(self) -> None:
        """Close the connection of a handler that has returned."""
        if self._accepted is not None:
            self._closed_here = self._closed_here or self._accepted.closed is None
            await self._until_gone(self._accepted.aclose)
            if self._line.keeps_open:
                await self._line.ended.wait()
            self._note_close()
        elif self._is_spoiled():
            await self._line.ended.wait()
        elif not self._answered:
            raise MisuseError(
                f"the handler of {self.path} returned without using its connection, so the client waits in vain; "
                "accept, reject, send or receive, or `await connection.wait_closed()` to hold it open"
            )

    # Faults

    def _check_alive(self, fault: str) -> None:
        if self.closed:
            raise MisuseError(
                f"{fault}() on a connection that is closed does nothing; put it before what closes the connection"
            )

    def _check_can_send(self, what: str) -> None:
        if self._half_closed:
            raise MisuseError(f"{what}() after half_close(): the direction to the client has ended")

    def stall(self, *, reading: bool = True, answering: bool = True) -> None:
        """Stop reading, or stop answering, or both: a half-open link. `resume` ends it."""
        self._check_alive("stall")
        self._line.stall(reading=reading, answering=answering)

    async def resume(self) -> None:
        """End a stall; what was held back goes out. If this is cancelled, a part of it may have gone out."""
        with _departures():
            await self._line.resume()

    def delay(self, seconds: float) -> None:
        """Let everything that is sent from now on wait for so long first."""
        check_seconds("delay", seconds)
        self._check_alive("delay")
        self._line.delay = seconds

    def never_answer_close(self) -> None:
        """Send no Close frame any more and keep the connection open, whatever the client does."""
        self._check_alive("never_answer_close")
        self._line.keeps_open = True

    def garble(self) -> None:
        """Break the protocol from now on: frames with reserved bits, or a response that is no HTTP."""
        self._check_alive("garble")
        self._line.garbles = True

    async def drop(self) -> None:
        """Reset the connection, as a crash of the server or of something between does; also when this is cancelled."""
        self._check_alive("drop")
        self._spoiled = True
        await self._line.drop()

    async def half_close(self) -> None:
        """End the direction to the client without a Close frame, and go on reading; also when this is cancelled."""
        self._check_alive("half_close")
        self._spoiled = self._half_closed = True
        await self._line.half_close()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, before or after the handshake: any frame, whole or not, right or wrong.

        If this is cancelled, a part of them may have gone out.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        self._check_can_send("send_raw")
        self._spoiled = True
        with _departures():
            await self._line.send_raw(data)


def check_seconds(what: str, seconds: float) -> float:
    """Check an argument.

    Raises:
        MisuseError: It is no number of seconds.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise MisuseError(f"{what}() takes a number of seconds, not {seconds!r}")
    return seconds


@contextmanager
def _departures() -> Iterator[None]:
    try:
        yield
    except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        raise ClientGoneError("the client is gone") from None


def _fields(header: Mapping[str, str] | None) -> list[tuple[bytes, bytes]]:
    for name, value in (header or {}).items():
        if not _TOKEN.fullmatch(name):
            raise MisuseError(f"the field {name!r} cannot be sent; its name must be a token")
        if not _FIELD_VALUE.fullmatch(value):
            raise MisuseError(f"the field {name!r} cannot be {kind_of(value)}; its value must be one line of Latin-1")
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in (header or {}).items()]


async def cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel a scope when an event happens."""
    await event.wait()
    scope.cancel()
