"""The opening handshake: a request goes out; its response is read up to the first frame, or refused by what it says."""

from __future__ import annotations

import functools
import re
from typing import final

import attrs
import h11
import trio

from trio_socket_task._compression import PerMessageDeflate
from trio_socket_task._errors import ConnectError, HandshakeError
from trio_socket_task._events import Header
from trio_socket_task._options import Options
from trio_socket_task._protocol._upgrade import InvalidResponseError, Upgrade
from trio_socket_task._text import mask_url, printable, quoted

from ._causes import describe, root_cause
from ._progress import Progress
from ._refusal import explanation
from ._wire import Wire, receive_arrived, run_pending_streams

_LIMIT = 64 * 1024  # more than any server sends before it accepts, and as much of a refusal as a person reads
_READ = 16 * 1024
_BODY_SECONDS = 1.0  # a refusal is known by its head; its body may explain it, but is not worth waiting for
_SWITCHING_PROTOCOLS = 101
_PREFIX = b"HTTP/1."
_HEAD_OF_101 = re.compile(rb"HTTP/1\.[0-9] 101\b.*?\r?\n\r?\n", re.DOTALL)
_FRAMING = re.compile(rb"(?<=\n)(?:content-length|transfer-encoding):[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)
"""Fields that mean nothing in a 101, which ends with its head (RFC 7230 section 3.3.3), but which h11 judges."""
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
async def handshake(wire: Wire, options: Options, progress: Progress) -> Opened:
    """Perform the opening handshake; if it is cancelled, the wire is of no further use.

    Raises:
        HandshakeError: The server answered, but not with a valid 101 response.
        ConnectError: The connection ended before it answered.
    """
    url, upgrade = options.address.url, Upgrade(options)
    progress.requests()
    server = _Server(wire, url, progress)
    response = await server.exchange(upgrade.request())
    header = _header(response)
    try:
        chosen = upgrade.validate_response(response)
    except InvalidResponseError as error:
        raise HandshakeError(url, f"the server's response {error}", _SWITCHING_PROTOCOLS, header) from None
    return Opened(
        header=header, protocol=chosen.protocol, per_message_deflate=chosen.per_message_deflate, rest=server.rest
    )


@final
class _Server:
    """The other end, by h11 (RFC 7230): what it answers, and nothing after the head of a 101."""

    def __init__(self, wire: Wire, url: str, progress: Progress) -> None:
        self._wire = wire
        self._url = url
        self._progress = progress
        self._http = _new_connection()
        self._total = 0
        self._write_error: Exception | None = None

    async def exchange(self, request: h11.Request) -> h11.InformationalResponse:
        """Send a request and return the head of the 101 response.

        A server may answer, and go, before it has read the whole request: what it said is read first.
        """
        self._request = request
        data = memoryview(b"")
        try:
            data = memoryview(self._wire.encrypt(self._serialize(request)))
            data = data[self._wire.send_now(data) :]
        except trio.BrokenResourceError as failure:
            self._write_error, data = failure, data[:0]
        if not data:
            return await self.receive_head()
        failures: list[Exception] = []
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(self._send, data)
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
    async def _send(self, data: memoryview) -> None:
        try:
            await self._wire.send(data)
        except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
            self._write_error = error

    @property
    def rest(self) -> bytes:
        """What came after the head."""
        return self._http.trailing_data[0]

    async def _receive(self) -> bytes:
        try:
            while (received := await self._wire.receive(_READ)) is None:
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
            self._progress.responds()
        return data

    def _broken(self, error: Exception) -> ConnectError:
        return ConnectError(self._url, f"the connection broke during the handshake: {describe(root_cause(error))}")

    def _invalid(self, why: str) -> HandshakeError:
        return HandshakeError(self._url, f"the server's response is not valid HTTP: {why}")

    async def receive_head(self) -> h11.InformationalResponse:
        """Return the head of a 101 response; skip 100 and 103 (RFC 7231 section 6.2)."""
        begun = b""
        while True:
            event = self._next_event(begun)
            if self._total - (0 if event is h11.NEED_DATA else len(self.rest)) > _LIMIT:
                raise HandshakeError(self._url, f"the server's response has a head of more than {_LIMIT} bytes")
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == _SWITCHING_PROTOCOLS:
                    return event
                begun = self.rest
            elif isinstance(event, h11.Response):
                raise await self._refusal(event)
            else:
                data = await self._receive()
                if not data:
                    await run_pending_streams()  # the request may still be on its way, and meet the same end
                    if self._write_error is not None:
                        raise self._broken(self._write_error) from root_cause(self._write_error)
                    raise ConnectError(self._url, "the peer closed the connection during the handshake")
                begun += data
                if not begun.startswith(_PREFIX[: len(begun)]):  # h11 would wait for the end of a head
                    raise self._invalid(repr(begun[:32]))
                self._total += len(data)
                self._http.receive_data(data)

    def _next_event(self, begun: bytes) -> object:
        """Return h11's next event, out of the bytes `begun`, which start with a head."""
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            why = str(error).partition(": bytearray")[0]  # what follows is a field, whose value may be a secret
        head = _HEAD_OF_101.match(begun)
        cleaned = begun if head is None else _FRAMING.sub(b"", head[0]) + begun[head.end() :]
        if len(cleaned) == len(begun):
            raise self._invalid(why)
        self._http = _new_connection()
        self._serialize(self._request)
        self._http.receive_data(cleaned)
        return self._next_event(cleaned)

    async def _refusal(self, response: h11.Response) -> HandshakeError:
        """Read the body of a refusal, as far as it comes and as far as it is worth reading."""
        header = _header(response)
        body = bytearray()
        left = trio.current_effective_deadline() - trio.current_time()
        with trio.move_on_after(max(0, min(_BODY_SECONDS, left / 2))):  # it may have been called off meanwhile
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
        why = quoted(f"the server answered {status} {bytes(response.reason).decode('latin-1')}".rstrip(), _REASON)
        if "location" in header:
            why += f"; it points to {printable(mask_url(header['location']), _REASON)}"
        explained = explanation(header, said)
        if explained:
            why += f": {explained}"
        return HandshakeError(self._url, why, status, header, said)


def _new_connection() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * _LIMIT)  # the limit itself is kept here


def _header(response: h11.InformationalResponse | h11.Response) -> Header:
    return Header((_name(name), value.decode("latin-1")) for name, value in response.headers.raw_items())


def _name(name: bytes) -> str:
    return _short_name(name) if len(name) <= _SHORT else name.decode("latin-1")


@functools.lru_cache  # so that sockets share the names of their servers' fields, those of a usual length
def _short_name(name: bytes) -> str:
    return name.decode("latin-1")
