"""Tests on Trio, beside pytest-asyncio and the plugin of anyio. `nox -s plugins` runs them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_socket_task import SocketManager, connect_socket
from trio_socket_task.miniprogram import MiniProgram
from trio_socket_task.testing import SocketServer

pytestmark = [pytest.mark.trio, pytest.mark.usefixtures("no_socket_leaks")]


@pytest.fixture
async def application(socket_manager: SocketManager) -> SocketManager:
    """Give what an async fixture of the project's own makes of it."""
    await trio.lowlevel.checkpoint()
    return socket_manager


async def test_socket_server(socket_server: SocketServer) -> None:
    """A real port."""
    async with connect_socket(socket_server.url) as task:
        await task.send("real")
        assert await task.receive() == "real"


async def test_manager(
    application: SocketManager, memory_socket_server: SocketServer, autojump_clock: MockClock
) -> None:
    """In memory."""
    task = application.connect_socket("ws://a.test/")
    await task.wait_open()
    await task.aclose()
    assert len(memory_socket_server.connections) == 1


async def test_mini_program(mini_program: MiniProgram, autojump_clock: MockClock) -> None:
    """The dialect."""
    task = mini_program.connectSocket({"url": "ws://phone.test/"})
    task.onOpen(lambda _res: task.close())
    await mini_program.wait_closed()
