"""The clients that are measured, each by its own natural calls: how it connects, sends and receives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final, Protocol

import attrs
import trio

LARGEST = 64 * 2**20

Send = Callable[[bytes], Awaitable[object]]
Receive = Callable[[], Awaitable[object]]


class Connect(Protocol):
    """Connects to a URL; with a heartbeat, which is a ping each so many seconds, where the client has one."""

    def __call__(
        self, url: str, heartbeat: float | None = None
    ) -> AbstractAsyncContextManager[tuple[Send, Receive]]: ...


Session = Callable[[ssl.SSLContext], AbstractAsyncContextManager[Connect]]
"""What a program keeps for all its connections, and how it makes one with it."""
Job = Callable[[], Coroutine[None, None, None]]


class Event(Protocol):
    """What tasks wait for."""

    def set(self) -> object: ...
    async def wait(self) -> object: ...


@attrs.frozen
class Runner:
    """What an event loop offers."""

    run: Callable[[Callable[[], Coroutine[None, None, object]]], object]
    together: Callable[[list[Job]], Awaitable[None]]
    sleep: Callable[[float], Awaitable[object]]
    event: Callable[[], Event]


async def trio_together(jobs: list[Job]) -> None:
    """Run all at once."""
    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(job)


async def asyncio_together(jobs: list[Job]) -> None:
    """Run all at once."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job())


def run_asyncio(main: Callable[[], Coroutine[None, None, object]]) -> object:
    """Run on asyncio's own loop."""
    return asyncio.run(main())


def run_uvloop(main: Callable[[], Coroutine[None, None, object]]) -> object:
    """Run on uvloop."""
    import uvloop

    return uvloop.run(main())


ON_TRIO = Runner(trio.run, trio_together, trio.sleep, trio.Event)
ON_ASYNCIO = Runner(run_asyncio, asyncio_together, asyncio.sleep, asyncio.Event)
ON_UVLOOP = Runner(run_uvloop, asyncio_together, asyncio.sleep, asyncio.Event)


def deflates(url: str) -> bool:
    """Whether messages are compressed there."""
    return "/deflate/" in url


def websockets_deflate(url: str) -> dict[str, object]:
    """Give websockets' options for a URL: compression with the same parameters as this package's, or none."""
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    settings = {"memLevel": 5, "level": 6}
    offer = ClientPerMessageDeflateFactory(client_max_window_bits=12, compress_settings=settings)
    return {"compression": None, "extensions": [offer] if deflates(url) else None}


def context_for(url: str, context: ssl.SSLContext) -> ssl.SSLContext | None:
    """Give the TLS settings where there is TLS."""
    return context if url.startswith("wss") else None


@asynccontextmanager
async def trio_socket_task(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by this package."""
    from trio_socket_task import Coexist, Heartbeat, open_socket_manager

    @asynccontextmanager
    async def connect(url: str, heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        beat = {} if heartbeat is None else {"heartbeat": Heartbeat(interval=heartbeat)}
        task = manager.connect_socket(url, per_message_deflate=deflates(url), **beat)
        await task.wait_open()
        yield task.send, task.receive
        await task.aclose()

    options = {"ssl_context": context, "max_message_size": LARGEST, "tcp_no_delay": True}
    async with open_socket_manager(Coexist(None), **options) as manager:
        yield connect


@asynccontextmanager
async def trio_websocket(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by trio-websocket."""
    from trio_websocket import open_websocket_url

    @asynccontextmanager
    async def connect(url: str, _heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        tls = context_for(url, context)
        async with open_websocket_url(url, ssl_context=tls, max_message_size=LARGEST) as connection:
            yield connection.send_message, connection.get_message

    yield connect


@asynccontextmanager
async def websockets_trio(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by websockets on Trio."""
    from websockets.trio.client import connect as connect_websocket

    @asynccontextmanager
    async def connect(url: str, heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        tls = context_for(url, context)
        ping = {} if heartbeat is None else {"ping_interval": heartbeat}
        async with connect_websocket(url, ssl=tls, max_size=LARGEST, **websockets_deflate(url), **ping) as connection:
            yield connection.send, connection.recv

    yield connect


@asynccontextmanager
async def httpx_ws(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by httpx-ws on Trio."""
    import httpx
    from httpx_ws import aconnect_ws

    @asynccontextmanager
    async def connect(url: str, heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        async with aconnect_ws(
            url, client, max_message_size_bytes=LARGEST, keepalive_ping_interval_seconds=heartbeat
        ) as connection:
            yield connection.send_bytes, connection.receive_bytes

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(verify=context, limits=limits) as client:
        yield connect


@asynccontextmanager
async def websockets_asyncio(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by websockets on asyncio."""
    from websockets.asyncio.client import connect as connect_websocket

    @asynccontextmanager
    async def connect(url: str, heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        tls = context_for(url, context)
        ping = {} if heartbeat is None else {"ping_interval": heartbeat}
        async with connect_websocket(url, ssl=tls, max_size=LARGEST, **websockets_deflate(url), **ping) as connection:
            yield connection.send, connection.recv

    yield connect


@asynccontextmanager
async def aiohttp(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by aiohttp."""
    from aiohttp import ClientSession, TCPConnector

    @asynccontextmanager
    async def connect(url: str, heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        compress = 15 if deflates(url) else 0
        async with session.ws_connect(
            url, ssl=context, max_msg_size=LARGEST, heartbeat=heartbeat, compress=compress
        ) as socket:
            yield socket.send_bytes, socket.receive_bytes

    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        yield connect


@asynccontextmanager
async def picows(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by picows, whose frames come by callback; a future for each is the least that lets a program wait."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    class Listener(WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.kept: list[bytes] = []
            self.taken = 0
            self.waiting: asyncio.Future[None] | None = None

        def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
            self.kept.append(frame.get_payload_as_bytes())
            if self.waiting is not None:
                self.waiting.set_result(None)
                self.waiting = None

    @asynccontextmanager
    async def connect(url: str, heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        tls = context_for(url, context)
        ping = (
            {} if heartbeat is None else dict.fromkeys(("auto_ping_idle_timeout", "auto_ping_reply_timeout"), heartbeat)
        )
        transport, listener = await ws_connect(
            Listener, url, ssl_context=tls, max_frame_size=LARGEST, enable_auto_ping=heartbeat is not None, **ping
        )

        async def send(data: bytes) -> None:
            transport.send(WSMsgType.BINARY, data)

        async def receive() -> bytes:
            if listener.taken == len(listener.kept):
                listener.kept.clear()
                listener.taken = 0
                listener.waiting = asyncio.get_running_loop().create_future()
                await listener.waiting
            listener.taken += 1
            data: bytes = listener.kept[listener.taken - 1]
            return data

        try:
            yield send, receive
        finally:
            transport.send_close()
            transport.disconnect()
            await transport.wait_disconnected()

    yield connect


@asynccontextmanager
async def raw_trio(_context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by Trio's TCP alone: the limit of a WebSocket in one task."""

    @asynccontextmanager
    async def connect(url: str, _heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.split(":")[2].split("/", maxsplit=1)[0]))
        async with stream:
            yield stream.send_all, partial(stream.receive_some, 2**16)

    yield connect


CLIENTS: Final[dict[str, tuple[Session, Runner, str]]] = {
    "trio-socket-task": (trio_socket_task, ON_TRIO, "trio-socket-task"),
    "trio-websocket": (trio_websocket, ON_TRIO, "trio-websocket"),
    "websockets.trio": (websockets_trio, ON_TRIO, "websockets"),
    "httpx-ws": (httpx_ws, ON_TRIO, "httpx-ws"),
    "raw Trio TCP": (raw_trio, ON_TRIO, "trio"),
    "websockets.asyncio": (websockets_asyncio, ON_ASYNCIO, "websockets"),
    "aiohttp": (aiohttp, ON_ASYNCIO, "aiohttp"),
    "aiohttp on uvloop": (aiohttp, ON_UVLOOP, "aiohttp"),
    "picows on uvloop": (picows, ON_UVLOOP, "picows"),
}
"""How each connects, what it runs on, and the package whose version counts."""


def versions() -> dict[str, str]:
    """Give the versions of what is measured, and of what it stands on."""
    packages = {package for _, _, package in CLIENTS.values()} | {"trio", "uvloop", "httpx", "wsproto"}
    return {package: version(package) for package in sorted(packages)}
