"""The opening handshake: a request goes out; its response is read up to the first frame, or refused by what it says."""

from __future__ import annotations

import functools
from typing import final

import attrs
import h11
import trio

from ._errors import ConnectError, HandshakeError
from ._events import Header
from ._options import Options
from ._transport import root, words
from ._upgrade import NotAnAnswerError, Upgrade
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


@trio.lowlevel.enable_ki_protection
async def shake_hands(wire: Wire, options: Options) -> Opened:
    """Perform the opening handshake; if it is cancelled, the wire is of no further use.

    Raises:
        HandshakeError: The server answered, but not with a valid 101 response.
        ConnectError: The connection ended before it answered.
    """
    url, upgrade = options.address.url, Upgrade(options)
    server = _Server(wire, url)
    await server.send(upgrade.request())
    response = await server.receive_head()
    header = _header(response)
    try:
        protocol = upgrade.judge(response)
    except NotAnAnswerError as error:
        raise HandshakeError(url, f"the server's response {error}", _SWITCHING_PROTOCOLS, header) from None
    return Opened(header=header, protocol=protocol, rest=server.rest)


@final
class _Server:
    """The other end, by h11 (RFC 7230): what it answers, and nothing after the head of a 101."""

    def __init__(self, wire: Wire, url: str) -> None:
        self._wire = wire
        self._url = url
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT)
        self._total = 0

    async def send(self, request: h11.Request) -> None:
        data = self._http.send(request)
        self._http.send(h11.EndOfMessage())  # which has no bytes
        try:
            await self._wire.send(self._wire.seal(data))
        except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
            raise self._broken(error) from root(error)

    @property
    def rest(self) -> bytes:
        """What came after the head."""
        return self._http.trailing_data[0]

    async def _receive(self) -> bytes:
        try:
            return await self._wire.receive(_READ)
        except Exception as error:  # noqa: BLE001 (as above)
            raise self._broken(error) from root(error)

    def _broken(self, error: Exception) -> ConnectError:
        return ConnectError(self._url, f"the connection broke during the handshake: {words(root(error))}")

    async def receive_head(self) -> h11.InformationalResponse:
        """Give the head of a 101 response; skip 100 and 103 (RFC 7231 section 6.2)."""
        begun = b""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise HandshakeError(self._url, f"the server's response is not valid HTTP: {error}") from error
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == _SWITCHING_PROTOCOLS:
                    return event
                begun = self.rest
            elif isinstance(event, h11.Response):
                raise await self._refusal(event)
            else:
                if self._total > _LIMIT:
                    raise HandshakeError(self._url, f"the server's response has a head of more than {_LIMIT} bytes")
                data = await self._receive()
                if not data:
                    raise ConnectError(self._url, "the peer closed the connection during the handshake")
                begun += data
                if not begun.startswith(_PREFIX[: len(begun)]):  # h11 would wait for the end of a head
                    raise HandshakeError(self._url, f"the server's response is not valid HTTP: {begun[:32]!r}")
                self._total += len(data)
                self._http.receive_data(data)

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
        status = response.status_code
        reason = bytes(response.reason).decode("latin-1")
        location = f"; it points to {header['location']}" if "location" in header else ""
        why = f"the server answered {status} {reason}".rstrip() + location
        return HandshakeError(self._url, why, status, header, bytes(body[:_LIMIT]))


def _header(response: h11.InformationalResponse | h11.Response) -> Header:
    return Header((_name(name), value.decode("latin-1")) for name, value in response.headers.raw_items())


@functools.lru_cache  # so that sockets share the names of their servers' fields
def _name(name: bytes) -> str:
    return name.decode("latin-1")
