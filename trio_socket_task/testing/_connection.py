"""ServerConnection: one accepted connection, seen from the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, final

import trio

from trio_socket_task._events import Header
from trio_socket_task._text import mask_url

from ._checks import check_close, check_message, check_protocol, check_refusal, check_seconds, encode_fields, shown
from ._misuse import MisuseError
from ._server_session import ServerSession, raise_client_gone


@final
class ServerConnection:
    """A connection as the server sees it: what the client asked for, the messages, and the faults.

    It is accepted by the first use that needs that, or by `accept`. Its methods raise `MisuseError` where a call
    cannot mean anything, such as a fault on a connection that is closed.
    """

    def __init__(self, session: ServerSession) -> None:
        self.session = session  # for the kit itself; it is no part of the API
        self.path: str = session.request.path
        """The path and query that the client asked for."""
        self.header: Mapping[str, str] = Header(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in session.request.headers
        )
        """The fields of the client's request but for the handshake's own, found by names in any case."""
        self.protocols: Sequence[str] = session.request.proposed_subprotocols
        """The subprotocols that the client offered."""

    @property
    def received(self) -> list[str | bytes]:
        """Every message that was received from the client; it may be set, to an empty list for instance."""
        return self.session.received

    @received.setter
    def received(self, received: list[str | bytes]) -> None:
        self.session.received = received

    @property
    def close_code(self) -> int | None:
        """The code that the client closed with, 1005 where it gave none; None when it was not the first to close."""
        return self.session.close_code

    @property
    def close_reason(self) -> str:
        """The reason that goes with it."""
        return self.session.close_reason

    def __repr__(self) -> str:
        return f"<ServerConnection {mask_url(self.path)} {'closed' if self.closed else 'open'}>"

    @property
    def closed(self) -> bool:
        """Whether this connection is over."""
        return self.session.closed

    async def accept(self, protocol: str | None = None, header: Mapping[str, str] | None = None) -> None:
        """Accept the handshake: with `protocol`, and `header` added to the response.

        If this is cancelled, the response may have gone out all the same.
        """
        if protocol is not None:
            check_protocol(protocol)
            if protocol not in self.protocols:
                raise MisuseError(f"accept() of protocol {shown(protocol)}: the client offered {list(self.protocols)}")
        fields = encode_fields(header)
        self.session.begin_answer()
        await self.session.accept(protocol, fields)

    async def reject(self, status: int, header: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer the handshake with an HTTP status other than 101, and end the connection.

        If this is cancelled, a part of the response may have gone out.
        """
        check_refusal(status, body)
        fields = encode_fields(header)
        self.session.begin_answer()
        await self.session.reject(status, fields, body)

    async def send(self, data: str | bytes) -> None:
        """Send a message; if this is cancelled, a part of it may have gone out.

        Raises:
            trio.BrokenResourceError: The client is gone; a handler may let this pass.
        """
        if not isinstance(data, str | bytes):
            raise TypeError(f"data must be str or bytes, not {type(data).__name__}")
        check_message(data)
        self._check_can_send("send")
        await self.session.send(data)

    async def receive(self) -> str | bytes:
        """Wait for the client's next message; if this is cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: The client is gone, `close_code` tells how; a handler may let this pass.
        """
        return await self.session.receive()

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
        check_close(code, reason)
        stream = self.session.stream
        if stream.keeps_open or not stream.answers:
            raise MisuseError("close() after stall() or never_answer_close() is not seen by the client; resume() first")
        self._check_can_send("close")
        await self.session.close(code, reason)

    async def wait_closed(self) -> None:
        """Wait until the client is gone; if this is cancelled, the connection is unharmed."""
        stream = self.session.stream
        if not stream.reads and not stream.ended.is_set():
            raise MisuseError("wait_closed() after stall() cannot see the client go; resume() first")
        await self.session.ensure_answered()
        await stream.ended.wait()
        self.session.note_close()

    # Faults

    def _check_alive(self, fault: str) -> None:
        if self.closed:
            raise MisuseError(
                f"{fault}() on a connection that is closed does nothing; put it before what closes the connection"
            )

    def _check_can_send(self, method: str) -> None:
        if self.session.half_closed:
            raise MisuseError(f"{method}() after half_close(): the direction to the client has ended")

    def stall(self, *, reading: bool = True, answering: bool = True) -> None:
        """Stop reading, or stop answering, or both: a half-open link. `resume` ends it."""
        self._check_alive("stall")
        self.session.stream.stall(reading=reading, answering=answering)

    async def resume(self) -> None:
        """End a stall; what was held back goes out. If this is cancelled, a part of it may have gone out."""
        with raise_client_gone():
            await self.session.stream.resume()

    def delay(self, seconds: float) -> None:
        """Delay everything that is sent from now on by so many seconds."""
        check_seconds("delay", seconds)
        self._check_alive("delay")
        self.session.stream.delay = seconds

    def never_answer_close(self) -> None:
        """Send no Close frame any more and keep the connection open, whatever the client does."""
        self._check_alive("never_answer_close")
        self.session.stream.keeps_open = True

    def garble(self) -> None:
        """Break the protocol from now on: frames with reserved bits, or a response that is no HTTP."""
        self._check_alive("garble")
        self.session.stream.garbles = True

    async def drop(self) -> None:
        """Reset the connection, as a crash of the server or of something between does; also when this is cancelled."""
        self._check_alive("drop")
        self.session.excused = True
        await self.session.stream.drop()

    async def half_close(self) -> None:
        """End the direction to the client without a Close frame, and go on reading; also when this is cancelled."""
        self._check_alive("half_close")
        self.session.excused = self.session.half_closed = True
        await self.session.stream.half_close()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, before or after the handshake: any frame, whole or not, right or wrong.

        If this is cancelled, a part of them may have gone out.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        self._check_can_send("send_raw")
        self.session.excused = True
        with raise_client_gone():
            await self.session.stream.send_raw(data)
