"""HTTP of an opening: a request goes out; its response is read up to its end, or refused by what it says."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import final

import attrs
import h11
import trio

from trio_socket_task._compression import PerMessageDeflate
from trio_socket_task._errors import ConnectError, HandshakeError, ProxyError
from trio_socket_task._events import Header
from trio_socket_task._options import Options
from trio_socket_task._protocol._upgrade import InvalidResponseError, Upgrade
from trio_socket_task._text import mask_url, printable, quoted

from ._causes import describe, root_cause
from ._progress import LAST_WORDS_SECONDS, Progress, within_deadline
from ._refusal import explanation, mask_echo
from ._wire import Wire, receive_arrived, run_pending_streams

_LIMIT = 64 * 1024  # more than any server sends before it accepts, and as much of a refusal as a person reads
_READ = 16 * 1024
_BODY_SECONDS = 1.0  # a refusal is known by its head; its body may explain it, but is not worth waiting for
_SWITCHING_PROTOCOLS = 101
_PREFIX = b"HTTP/1."
_HEAD_WITHOUT_BODY = {
    b"GET": re.compile(rb"HTTP/1\.[0-9] 1[0-9][0-9]\b.*?\r?\n\r?\n", re.DOTALL),
    b"CONNECT": re.compile(rb"HTTP/1\.[0-9] [12][0-9][0-9]\b.*?\r?\n\r?\n", re.DOTALL),
}
_FRAMING = re.compile(rb"(?<=\n)(?:content-length|transfer-encoding):[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)
"""Fields that mean nothing in a 1xx, or a 2xx to CONNECT, which end with their head (RFC 7230 section 3.3.3), but which
h11 judges."""
_REASON = 200  # characters shown of a status line, or of where it points
_SHORT = 64


@final
@attrs.frozen(kw_only=True)
class Opened:
    """What the handshake brought."""

    header: Header
    protocol: str | None
    per_message_deflate: PerMessageDeflate | None
    rest: bytes
    """Bytes that came after the response's head: the first frames."""


@trio.lowlevel.enable_ki_protection
async def handshake(wire: Wire, options: Options, progress: Progress, received: bytes = b"") -> Opened:
    """Perform the opening handshake; if it is cancelled, the wire is of no further use.

    Args:
        wire: The connection.
        options: What is asked for.
        progress: Is told how far it has come.
        received: Bytes of the server's that have come already.

    Raises:
        HandshakeError: The server answered, but not with a valid 101 response.
        ConnectError: The connection ended before it answered.
    """
    url, upgrade = options.address.url, Upgrade(options)
    progress.requests()
    server = Exchange(wire, Responder(url=url, responds=progress.responds), received)
    request = upgrade.request()
    response = await server.exchange(request)
    assert isinstance(response, h11.InformationalResponse)  # noqa: S101 (what ends HTTP after a GET)
    header = _header(response)
    try:
        chosen = upgrade.validate_response(response)
    except InvalidResponseError as error:
        why = f"the server's response {mask_echo(request, str(error))}"
        raise HandshakeError(url, why, _SWITCHING_PROTOCOLS, header) from None
    return Opened(
        header=header, protocol=chosen.protocol, per_message_deflate=chosen.per_message_deflate, rest=server.rest
    )


@final
@attrs.frozen(kw_only=True)
class Responder:
    """Who answers, in words, and which errors its failures become; by default the server."""

    url: str
    """The server's."""
    responds: Callable[[], None]
    """Is called when bytes have come."""
    who: str = "the server"
    broke: str = "the connection broke during the handshake"
    ended: str = "the peer closed the connection during the handshake"
    lost: type[ConnectError] = ConnectError
    refusal: type[HandshakeError | ProxyError] = HandshakeError


@final
class Exchange:
    """A request and what is answered, by h11 (RFC 7230), up to the head of a 101, or of a 2xx to CONNECT."""

    def __init__(self, wire: Wire, other: Responder, received: bytes = b"") -> None:
        self._wire = wire
        self._other = other
        self._received = received
        self._http = _new_connection()
        self._total = 0
        self._write_error: Exception | None = None
        self._reading = trio.CancelScope()
        self._written = trio.Event()  # the whole request: one task writes at a time, in the order of what is encrypted

    async def exchange(self, request: h11.Request) -> h11.InformationalResponse | h11.Response:
        """Send a request and return the head of the response that ends HTTP.

        Who answers may do so, and go, before it has read the whole request: what it said is read first, for a while.
        """
        self._request = request
        with self._reading:
            return await self._send_and_receive(request)
        assert self._write_error is not None  # noqa: S101 (which alone limits the time)
        raise self._broken(self._write_error) from root_cause(self._write_error)

    async def _send_and_receive(self, request: h11.Request) -> h11.InformationalResponse | h11.Response:
        data = memoryview(b"")
        try:
            data = memoryview(self._wire.encrypt(self._serialize(request)))
            data = data[self._wire.send_now(data) :]
        except trio.BrokenResourceError as failure:
            self._fail_to_write(failure)
            data = data[:0]
        if not data:
            self._written.set()
            return await self.receive_head()
        failures: list[Exception] = []
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(self._send_request, data)
            try:
                response = await self.receive_head()
            except Exception as error:  # noqa: BLE001 (it is raised below, not in a group)
                failures.append(error)
                nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        return response

    def _serialize(self, request: h11.Request) -> bytes:
        data = self._http.send(request)
        self._http.send(h11.EndOfMessage())  # which has no bytes
        return data

    @trio.lowlevel.enable_ki_protection
    async def _send_request(self, data: memoryview) -> None:
        await self._send(data)
        self._written.set()

    async def _send(self, data: memoryview) -> None:
        try:
            await self._wire.send(data)
        except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
            self._fail_to_write(error)

    def _fail_to_write(self, error: Exception) -> None:
        self._write_error = error
        self._reading.deadline = trio.current_time() + within_deadline(LAST_WORDS_SECONDS)

    @property
    def rest(self) -> bytes:
        """What came after the head."""
        return self._http.trailing_data[0]

    async def _receive(self) -> bytes:
        if self._received:
            data, self._received = self._received, b""
            return data
        try:
            while (received := await self._wire.receive(_READ)) is None:
                await self._written.wait()
                await self._send(memoryview(self._wire.pending_output()))
            data = received
        except trio.Cancelled:  # by the deadline, perhaps: what has come already counts all the same
            arrived = await receive_arrived(self._wire, _READ)
            if arrived is None:
                raise
            data = arrived
        except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
            raise self._broken(error) from root_cause(error)
        if data:
            self._other.responds()
        return data

    def _broken(self, error: Exception) -> ConnectError:
        other = self._other
        return other.lost(other.url, f"{other.broke}: {describe(root_cause(error))}")

    def _invalid(self, why: str) -> ConnectError:
        other = self._other
        return other.refusal(other.url, f"{other.who}'s response {why}")

    def _mask_echo(self, text: str) -> str:
        return mask_echo(self._request, text)

    async def receive_head(self) -> h11.InformationalResponse | h11.Response:
        """Return the head of the response that ends HTTP; skip other 1xx responses (RFC 7231 section 6.2)."""
        begun = b""
        while True:
            event = self._next_event(begun)
            if self._total - (0 if event is h11.NEED_DATA else len(self.rest)) > _LIMIT:
                raise self._invalid(f"has a head of more than {_LIMIT} bytes")
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == _SWITCHING_PROTOCOLS:
                    return event
                begun = self.rest
            elif isinstance(event, h11.Response):
                if self._http.their_state is h11.SWITCHED_PROTOCOL:
                    return event
                raise await self._refusal(event)
            else:
                data = await self._receive()
                if not data:
                    await run_pending_streams()  # the request may still be on its way, and meet the same end
                    if self._write_error is not None:
                        raise self._broken(self._write_error) from root_cause(self._write_error)
                    raise self._other.lost(self._other.url, self._other.ended)
                begun += data
                if not begun.startswith(_PREFIX[: len(begun)]):  # h11 would wait for the end of a head
                    said = self._mask_echo(begun.decode("latin-1")).encode("latin-1")
                    raise self._invalid(f"is not valid HTTP: {said[:32]!r}")
                self._total += len(data)
                self._http.receive_data(data)

    def _next_event(self, begun: bytes) -> object:
        """Return h11's next event, out of the bytes `begun`, which start with a head."""
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            why = str(error).partition(": bytearray")[0]  # what follows is a field, whose value may be a secret
        head = _HEAD_WITHOUT_BODY[self._request.method].match(begun)
        cleaned = begun if head is None else _FRAMING.sub(b"", head[0]) + begun[head.end() :]
        if len(cleaned) == len(begun):
            raise self._invalid(f"is not valid HTTP: {why}")
        self._http = _new_connection()
        self._serialize(self._request)
        self._http.receive_data(cleaned)
        return self._next_event(cleaned)

    async def _refusal(self, response: h11.Response) -> ConnectError:
        """Read the body of a refusal, as far as it comes and as far as it is worth reading."""
        header = _header(response)
        body = bytearray()
        with trio.move_on_after(within_deadline(_BODY_SECONDS)):
            while self._total <= _LIMIT:
                try:
                    event = self._http.next_event()
                except h11.RemoteProtocolError:
                    break
                if isinstance(event, h11.Data):
                    body += event.data
                elif event is h11.NEED_DATA:
                    try:
                        data = await self._receive()
                    except ConnectError:
                        break
                    self._total += len(data)
                    self._http.receive_data(data)
                else:
                    break
        status, said = response.status_code, bytes(body[:_LIMIT])
        reason = self._mask_echo(bytes(response.reason).decode("latin-1"))
        why = quoted(f"{self._other.who} answered {status} {reason}".rstrip(), _REASON)
        if "location" in header:
            why += f"; it points to {printable(mask_url(self._mask_echo(header['location'])), _REASON)}"
        explained = explanation(header, said, self._request)
        if explained:
            why += f": {explained}"
        return self._other.refusal(self._other.url, why, status, header, said)


def _new_connection() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * _LIMIT)  # the limit itself is kept here


def _header(response: h11.InformationalResponse | h11.Response) -> Header:
    return Header((_name(name), value.decode("latin-1")) for name, value in response.headers.raw_items())


def _name(name: bytes) -> str:
    return _short_name(name) if len(name) <= _SHORT else name.decode("latin-1")


@functools.lru_cache  # so that sockets share the names of their servers' fields, those of a usual length
def _short_name(name: bytes) -> str:
    return name.decode("latin-1")
