"""The opening handshake without I/O: the request, and what makes a 101 its answer (RFC 6455 section 4.1)."""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha1
from typing import final

import attrs
import h11

from trio_socket_task._compression import PerMessageDeflate
from trio_socket_task._options import Options
from trio_socket_task._version import __version__

from ._extension import InvalidExtensionError, accept, offer

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_USER_AGENT = f"trio-socket-task/{__version__}".encode()
_ONCE = (b"sec-websocket-accept", b"sec-websocket-protocol")  # section 11.3: must not appear more than once


class InvalidResponseError(Exception):
    """A 101 response that does not answer the request; the text says why."""


@final
@attrs.frozen
class Chosen:
    """What the server has chosen of what was offered."""

    protocol: str | None
    per_message_deflate: PerMessageDeflate | None


@final
class Upgrade:
    """One request, and what its response must be."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._key = b64encode(os.urandom(16))

    def request(self) -> h11.Request:
        """Return the request."""
        address, protocols = self._options.address, self._options.protocols
        fields = [
            (b"Host", address.host_header.encode()),
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", self._key),
            (b"Sec-WebSocket-Version", b"13"),
        ]
        if protocols:
            fields.append((b"Sec-WebSocket-Protocol", ", ".join(protocols).encode()))
        if self._options.per_message_deflate:
            fields.append((b"Sec-WebSocket-Extensions", offer(self._options.per_message_deflate).encode()))
        own_agent = True
        for name, value in self._options.header:
            is_agent = name.lower() == "user-agent"
            own_agent = own_agent and not is_agent
            if value or not is_agent:
                fields.append((name.encode(), value.encode()))
        if own_agent:
            fields.append((b"User-Agent", _USER_AGENT))
        return h11.Request(method=b"GET", target=address.target.encode(), headers=fields)

    def validate_response(self, response: h11.InformationalResponse) -> Chosen:
        """Return what a 101 response chooses.

        Raises:
            InvalidResponseError: It is no answer to the request.
        """
        pairs = list(response.headers)  # once: h11 makes each pair anew
        names = [name for name, _ in pairs]
        for name in _ONCE:
            if names.count(name) > 1:
                raise InvalidResponseError(f"repeats {name.decode()}")
        if response.http_version < b"1.1":
            raise InvalidResponseError("is not HTTP/1.1")
        fields = dict(pairs)
        if b", ".join(value for name, value in pairs if name == b"upgrade").lower() != b"websocket":
            raise InvalidResponseError("has no Upgrade: websocket")
        connection = b",".join(value for name, value in pairs if name == b"connection")
        if b"upgrade" not in [token.strip().lower() for token in connection.split(b",")]:
            raise InvalidResponseError("has no Connection: Upgrade")
        accept = b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest())
        if fields.get(b"sec-websocket-accept") != accept:
            raise InvalidResponseError("has a wrong Sec-WebSocket-Accept, so the server does not speak WebSocket")
        extensions = [value for name, value in pairs if name == b"sec-websocket-extensions"]
        deflate = self._per_message_deflate(extensions) if extensions else None
        return Chosen(self._protocol(fields.get(b"sec-websocket-protocol")), deflate)

    def _per_message_deflate(self, extensions: list[bytes]) -> PerMessageDeflate:
        offered = self._options.per_message_deflate
        if not offered:
            raise InvalidResponseError("chooses an extension that was not offered")
        if len(extensions) > 1:
            raise InvalidResponseError("repeats sec-websocket-extensions")
        try:
            return accept(offered, extensions[0].decode("latin-1"))
        except InvalidExtensionError as error:
            raise InvalidResponseError(str(error)) from None

    def _protocol(self, chosen: bytes | None) -> str | None:
        if chosen is None:
            return None
        protocol = chosen.decode("latin-1")
        if protocol not in self._options.protocols:
            raise InvalidResponseError("chooses a subprotocol that was not offered")
        return protocol
