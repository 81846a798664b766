"""The clients that are measured, each by its own natural calls: how it connects, sends and receives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

import attrs
import trio

LARGEST = 64 * 2**20

Send = Callable[[bytes], Awaitable[object]]
Receive = Callable[[], Awaitable[object]]
Connect = Callable[[str, ssl.SSLContext | None], AbstractAsyncContextManager[tuple[Send, Receive]]]
Job = Callable[[], Coroutine[None, None, None]]


@attrs.frozen
class Runner:
    """What an event loop offers."""

    run: Callable[[Callable[[], Coroutine[None, None, object]]], object]
    together: Callable[[list[Job]], Awaitable[None]]
    sleep: Callable[[float], Awaitable[object]]


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


ON_TRIO = Runner(trio.run, trio_together, trio.sleep)
ON_ASYNCIO = Runner(run_asyncio, asyncio_together, asyncio.sleep)
ON_UVLOOP = Runner(run_uvloop, asyncio_together, asyncio.sleep)


@asynccontextmanager
async def trio_socket_task(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by this package."""
    from trio_socket_task import Coexist, connect_socket, open_socket_manager

    async with (
        open_socket_manager(Coexist(None)) as manager,
        connect_socket(url, manager=manager, ssl_context=context, max_message_size=LARGEST, tcp_no_delay=True) as task,
    ):
        yield task.send, task.receive


@asynccontextmanager
async def trio_websocket(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by trio-websocket."""
    from trio_websocket import open_websocket_url

    async with open_websocket_url(url, ssl_context=context, max_message_size=LARGEST) as connection:
        yield connection.send_message, connection.get_message


@asynccontextmanager
async def websockets_trio(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by websockets on Trio."""
    from websockets.trio.client import connect

    async with connect(url, ssl=context, compression=None, max_size=LARGEST) as connection:
        yield connection.send, connection.recv


@asynccontextmanager
async def httpx_ws(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by httpx-ws on Trio."""
    import httpx
    from httpx_ws import aconnect_ws

    async with (
        httpx.AsyncClient(verify=context or True) as client,
        aconnect_ws(url, client, max_message_size_bytes=LARGEST, keepalive_ping_interval_seconds=None) as connection,
    ):
        yield connection.send_bytes, connection.receive_bytes


@asynccontextmanager
async def websockets_asyncio(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by websockets on asyncio."""
    from websockets.asyncio.client import connect

    async with connect(url, ssl=context, compression=None, max_size=LARGEST) as connection:
        yield connection.send, connection.recv


@asynccontextmanager
async def aiohttp(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by aiohttp."""
    from aiohttp import ClientSession

    async with ClientSession() as session, session.ws_connect(url, ssl=context or True, max_msg_size=LARGEST) as socket:
        yield socket.send_bytes, socket.receive_bytes


@asynccontextmanager
async def picows(url: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
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

    transport, listener = await ws_connect(Listener, url, ssl_context=context, max_frame_size=LARGEST)

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


@asynccontextmanager
async def raw_trio(url: str, _context: ssl.SSLContext | None) -> AsyncIterator[tuple[Send, Receive]]:
    """Connect by Trio's TCP alone: the limit of a WebSocket in one task."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.split(":")[2].split("/", maxsplit=1)[0]))
    async with stream:
        yield stream.send_all, partial(stream.receive_some, 2**16)


CLIENTS: Final[dict[str, tuple[Connect, Runner, str]]] = {
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
