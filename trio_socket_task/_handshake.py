"""The opening handshake, by trio-websocket.

trio-websocket writes the request and judges the response. It sees the stream through `_HeadOnly`, which gives it the
head of the 101 response and nothing after it; what follows belongs to the driver. Every other answer is refused here,
because trio-websocket would wait for the end of its body.
"""

from __future__ import annotations

from typing import final

import attrs
import h11
import trio
import trio_websocket

from ._errors import ConnectError, HandshakeError
from ._events import Header
from ._options import Options
from ._transport import root, words
from ._wire import Wire

_LIMIT = 64 * 1024  # more than any server sends before it accepts, and as much of a refusal as a person reads
_READ = 16 * 1024
_BODY_SECONDS = 1.0  # a refusal is known by its head; its body may explain it, but is not worth waiting for
_SWITCHING_PROTOCOLS = 101
_PREFIX = b"HTTP/1."


@final
@attrs.frozen(kw_only=True)
class Opened:
    """What the handshake brought."""

    header: Header
    protocol: str | None
    rest: bytes
    """Bytes that came after the response's head: the first frames."""


async def shake_hands(wire: Wire, options: Options) -> Opened:
    """Perform the opening handshake; if it is cancelled, the wire is of no further use.

    Raises:
        HandshakeError: The server answered, but not with a valid 101 response.
        ConnectError: The connection ended before it answered.
    """
    address = options.address
    head = _HeadOnly(wire, address.url)
    try:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            connection = await trio_websocket.wrap_client_stream(
                nursery,
                head,  # type: ignore[arg-type]  # it needs no more than a trio.abc.Stream
                address.host_header,
                address.target,
                subprotocols=options.protocols,
                extra_headers=[(name.encode(), value.encode()) for name, value in options.header.items()],
            )
            protocol = connection.subprotocol
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failures, others = group.split(Exception)
        if failures is None or (others is not None and others.split(trio.Cancelled)[1] is not None):
            raise  # it was cancelled, or interrupted
        error = _judgement(_first(failures))
        if isinstance(error, ConnectError):
            raise error from error.__cause__
        raise HandshakeError(
            address.url, f"the server's response is not valid: {error}", _SWITCHING_PROTOCOLS, head.header
        ) from error
    return Opened(header=head.header, protocol=protocol, rest=head.rest)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _judgement(error: BaseException) -> BaseException:
    """Find what trio-websocket disliked: it trips over its own refusal, so the first error in the chain says it."""
    while error.__context__ is not None and not isinstance(error, ConnectError):
        error = error.__context__
    return error


@final
class _HeadOnly(trio.abc.Stream):
    """A stream that ends where the head of the response ends."""

    def __init__(self, wire: Wire, url: str) -> None:
        self._wire = wire
        self._url = url
        self._given = False
        self.header = Header()
        self.rest = b""

    # trio-websocket swallows a broken stream and waits on, so it is given another exception.

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._wire.send(self._wire.seal(bytes(data)))
        except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
            raise self._broken(error) from root(error)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Leave the stream open: it is not trio-websocket's to close."""
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        del max_bytes
        if self._given:
            await trio.sleep_forever()
        self._given = True
        return await self._read_head()

    async def _receive(self) -> bytes:
        try:
            return await self._wire.receive(_READ)
        except Exception as error:  # noqa: BLE001 (as above)
            raise self._broken(error) from root(error)

    def _broken(self, error: Exception) -> ConnectError:
        return ConnectError(self._url, f"the connection broke during the handshake: {words(root(error))}")

    async def _read_head(self) -> bytes:
        """Read up to the end of a 101 response's head and give that head; skip 100 and 103 (RFC 7231 section 6.2)."""
        http = _expecting_response()
        head = b""
        total = 0
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                raise HandshakeError(self._url, f"the server's response is not valid HTTP: {error}") from error
            if isinstance(event, h11.InformationalResponse):
                rest = http.trailing_data[0]
                if event.status_code == _SWITCHING_PROTOCOLS:
                    self._check_head(event)
                    self.header, self.rest = _header(event), rest
                    return head[: len(head) - len(rest)]
                head = rest
            elif isinstance(event, h11.Response):
                raise await self._refusal(http, event, total)
            else:
                if total > _LIMIT:
                    raise HandshakeError(self._url, f"the server's response has a head of more than {_LIMIT} bytes")
                data = await self._receive()
                if not data:
                    raise ConnectError(self._url, "the peer closed the connection during the handshake")
                total += len(data)
                head += data
                if not head.startswith(_PREFIX[: len(head)]):  # h11 would wait for the end of a head
                    raise HandshakeError(self._url, f"the server's response is not valid HTTP: {head[:32]!r}")
                http.receive_data(data)

    def _check_head(self, response: h11.InformationalResponse) -> None:
        """Refuse what trio-websocket lets pass: HTTP/1.0, and fields that must not repeat (RFC 6455 section 11.3)."""
        names = [name for name, _ in response.headers]
        repeated = [
            name.decode() for name in (b"sec-websocket-accept", b"sec-websocket-protocol") if names.count(name) > 1
        ]
        if repeated:
            raise HandshakeError(self._url, f"the server's response repeats {repeated[0]}", _SWITCHING_PROTOCOLS)
        if response.http_version < b"1.1":
            raise HandshakeError(self._url, "the server's response is not HTTP/1.1", _SWITCHING_PROTOCOLS)

    async def _refusal(self, http: h11.Connection, response: h11.Response, total: int) -> HandshakeError:
        """Read the body of a refusal, as far as it comes and as far as it is worth reading."""
        header = _header(response)
        body = bytearray()
        left = trio.current_effective_deadline() - trio.current_time()
        with trio.move_on_after(min(_BODY_SECONDS, left / 2)):
            while total <= _LIMIT:
                try:
                    event = http.next_event()
                except h11.RemoteProtocolError:
                    break
                if isinstance(event, h11.Data):
                    body += event.data
                elif event is h11.NEED_DATA:
                    try:
                        data = await self._receive()
                    except ConnectError:
                        break
                    total += len(data)
                    http.receive_data(data)
                else:
                    break
        status = response.status_code
        reason = bytes(response.reason).decode("latin-1")
        location = f"; it points to {header['location']}" if "location" in header else ""
        why = f"the server answered {status} {reason}".rstrip() + location
        return HandshakeError(self._url, why, status, header, bytes(body[:_LIMIT]))


def _expecting_response() -> h11.Connection:
    """Make a parser that has sent a request with Upgrade, as trio-websocket has."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT)
    fields = [("Host", "-"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    http.send(h11.Request(method="GET", target="/", headers=fields))
    http.send(h11.EndOfMessage())
    return http


def _header(response: h11.InformationalResponse | h11.Response) -> Header:
    return Header((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw_items())
