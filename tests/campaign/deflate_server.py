"""A server with compression for the races, in the place of the kit's, which has none."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import final

import attrs
import trio
from deflated import CompressingPeer
from peer import CLOSE, PING, PONG, TEXT, Peer, close_frame, frame, reset
from trio.testing import memory_stream_pair

from trio_socket_task import Dial
from trio_socket_task.testing._certificates import contexts

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, EOFError, AssertionError)


@final
class DeflateConnection:
    """One connection, with as much of the kit's interface as the races use."""

    def __init__(self, peer: Peer) -> None:
        self.closed: bool = False
        self.path = peer.request.split()[1].decode()
        self._peer = peer
        self._compressing = CompressingPeer(peer)
        self._garbles = False

    async def accept(self) -> None:
        """Accept the handshake, with compression."""
        await self._compressing.accept()

    async def reject(self, status: int, body: bytes = b"") -> None:
        """Refuse the handshake."""
        head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await self._peer.send(head + body)
        await self._end()

    async def receive(self) -> str | bytes:
        """Receive a message, and answer what comes before it."""
        while True:
            try:
                opcode, payload = await self._compressing.read()
                if opcode == PING:
                    await self._peer.send(frame(PONG, payload))
                elif opcode == CLOSE:
                    await self._peer.send(frame(CLOSE, payload[:2]))
                elif opcode != PONG:
                    return payload.decode() if opcode == TEXT else payload
            except EOFError:
                raise trio.BrokenResourceError("the client went away") from None
            if opcode == CLOSE:
                await self._end()
                raise trio.EndOfChannel

    async def send(self, data: str | bytes) -> None:
        """Send a message."""
        if self._garbles:
            await self._peer.send(b"\xf3\x85wrong")
        else:
            await self._compressing.send(data)

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the client's answer."""
        await self._peer.send(close_frame(code, reason))
        while (await self._compressing.read())[0] != CLOSE:
            pass
        await self._end()

    async def drop(self) -> None:
        """End the connection as a crashed server does."""
        self.closed = True
        await reset(self._peer.stream)

    def garble(self) -> None:
        """Send what is no frame from now on."""
        self._garbles = True

    async def wait_closed(self) -> None:
        """Read to the end."""
        await self._peer.read_end()

    async def _end(self) -> None:
        self.closed = True
        with suppress(*_GONE):
            await self._peer.stream.aclose()


@final
@attrs.frozen
class DeflateServer:
    """Where it is."""

    url: str
    ssl_context: ssl.SSLContext | None
    dial: Dial


@asynccontextmanager
async def open_deflate_server(
    serve: Callable[[DeflateConnection], Awaitable[None]], transport: str
) -> AsyncIterator[DeflateServer]:
    """Run it in memory, over TCP or over TLS."""
    server_context, client_context = contexts() if transport == "tls" else (None, None)

    async def handle(stream: trio.abc.Stream) -> None:
        if server_context is not None:
            stream = trio.SSLStream(stream, server_context, server_side=True, https_compatible=True)
        try:
            peer = Peer(stream)
            with suppress(*_GONE):
                await peer.read_request()
                await serve(DeflateConnection(peer))
                await peer.read_end()
        finally:
            await trio.aclose_forcefully(stream)

    async def dial_memory(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, server = memory_stream_pair()
        nursery.start_soon(handle, server)
        return client

    async with trio.open_nursery() as nursery:
        if transport == "memory":
            yield DeflateServer("ws://server.test/", None, dial_memory)
        else:
            (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]

            async def dial_tcp(_host: str, _port: int) -> trio.abc.Stream:
                return await trio.open_tcp_stream("127.0.0.1", port)

            scheme = "ws" if client_context is None else "wss"
            yield DeflateServer(f"{scheme}://127.0.0.1:{port}/", client_context, dial_tcp)
        nursery.cancel_scope.cancel()
