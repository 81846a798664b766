"""This package by its other interfaces: a listener's channel, a resilient socket, and the vendors' API with callbacks.

Each takes part beside the plain socket where it can do the same, so that a reader sees what its comfort costs.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio
from clients import LARGEST, Connect, Receive, Send, Session
from scenarios import SMALL, Bench, Figures, Measurement, check, repeat


@asynccontextmanager
async def on_message(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Receive from `on_message()` instead of by `receive`."""
    from trio_socket_task import Coexist, open_socket_manager

    @asynccontextmanager
    async def connect(url: str, _heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        task = manager.connect_socket(url)
        async with task.on_message() as listener:

            async def receive() -> object:
                return (await listener.receive()).data

            await task.wait_open()
            yield task.send, receive
            await task.aclose()

    options = {"ssl_context": context, "max_message_size": LARGEST, "tcp_no_delay": True}
    async with open_socket_manager(Coexist(None), **options) as manager:
        yield connect


@asynccontextmanager
async def resilient(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect by a socket that would connect again; its heartbeat is what it is by default."""
    from trio_socket_task import Coexist, open_resilient_socket, open_socket_manager

    @asynccontextmanager
    async def connect(url: str, _heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        async with open_resilient_socket(url, manager=manager) as socket:
            await socket.wait_connected()
            yield socket.send, socket.receive

    options = {"ssl_context": context, "max_message_size": LARGEST, "tcp_no_delay": True}
    async with open_socket_manager(Coexist(None), **options) as manager:
        yield connect


@asynccontextmanager
async def dialect(context: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Connect as a mini program does. It waits for nothing, so it has measurements of its own."""
    from trio_socket_task.miniprogram import open_mini_program

    @asynccontextmanager
    async def connect(url: str, _heartbeat: float | None = None) -> AsyncIterator[tuple[Send, Receive]]:
        opened, closed = trio.Event(), trio.Event()
        task = wx.connectSocket({"url": url, "tcpNoDelay": True})
        task.onOpen(lambda _res: opened.set())
        task.onClose(lambda _res: closed.set())
        await opened.wait()
        yield task.send, task.onMessage
        task.close()
        await closed.wait()

    async with open_mini_program("wx", ssl_context=context, max_message_size=LARGEST) as wx:
        yield connect


Message = Mapping[str, bytes]


async def dialect_echo(bench: Bench) -> Figures:
    """Messages a second, one in flight: each listener's call checks one message and sends the next."""
    message, count, left, over = os.urandom(SMALL), 100, 0, trio.Event()

    def answer(res: Message) -> None:
        nonlocal left
        check(res["data"], message)
        left -= 1
        if left:
            send({"data": message})
        else:
            over.set()

    async with bench.open("echo") as (send, listen):
        listen(answer)

        async def job() -> int:
            nonlocal left, over
            left, over = count, trio.Event()
            send({"data": message})
            await over.wait()
            return count

        return {"rate": await repeat(job)}


async def dialect_flood(bench: Bench) -> Figures:
    """Messages received a second."""
    expected, count, left, over = bytes(SMALL), 10_000, 0, trio.Event()

    def take(res: Message) -> None:
        nonlocal left
        check(res["data"], expected)
        left -= 1
        if not left:
            over.set()

    async with bench.open("flood") as (send, listen):
        listen(take)

        async def job() -> int:
            nonlocal left, over
            left, over = count, trio.Event()
            send({"data": b"%d %d" % (SMALL, count)})
            await over.wait()
            return count

        return {"rate": await repeat(job)}


async def dialect_sink(bench: Bench) -> Figures:
    """Messages sent a second, a hundred before the program lets others run, as one callback might."""
    message, batches, over = bytes(SMALL), 100, trio.Event()

    def take(res: Message) -> None:
        check(res["data"], b"%d" % (100 * batches))
        over.set()

    async with bench.open("sink") as (send, listen):
        listen(take)

        async def job() -> int:
            nonlocal over
            over = trio.Event()
            for _ in range(batches):
                for _ in range(100):
                    send({"data": message})
                await trio.lowlevel.checkpoint()
            send({"data": b"end"})
            await over.wait()
            return 100 * batches

        return {"rate": await repeat(job)}


INTERFACES: Final[dict[str, Session]] = {"on_message()": on_message, "resilient": resilient, "dialect": dialect}
DIALECT: Final[dict[str, Measurement]] = {
    "echo 64 B": dialect_echo,
    "flood 64 B": dialect_flood,
    "sink 64 B": dialect_sink,
}
"""What a mini program is measured with."""
