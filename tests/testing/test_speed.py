"""A whole afternoon of trouble in an instant."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from trio_socket_task import Heartbeat, SocketLostError, SocketManager
from trio_socket_task.testing import Script, ServerConnection, SocketServer, assert_closed, echo, wait_all_delivered


async def half_open(connection: ServerConnection) -> None:
    """Stall the first socket's connection; echo on the others."""
    if connection.path == "/0":
        await Script().expect("hello").stall()(connection)
    else:
        await echo(connection)


async def scenario(manager: SocketManager) -> None:
    """Five sockets, of which one is lost by its heartbeat and connects again."""
    beat = Heartbeat(interval=20, timeout=10)
    tasks = [manager.connect_socket(f"ws://any.test/{number}", heartbeat=beat) for number in range(5)]
    for task in tasks:
        await task.wait_open()
        await task.send("hello")
    with pytest.raises(SocketLostError, match="pong"):
        while True:
            await tasks[0].receive()
    await assert_closed(tasks[0], 1006)
    again = manager.connect_socket("ws://any.test/again", heartbeat=beat)
    await again.wait_open()
    await again.send("hello again")
    assert await again.receive() == "hello again"
    await wait_all_delivered(manager)


async def test_five_sockets_a_heartbeat_and_a_reconnect(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, socket_manager: SocketManager
) -> None:
    """Half a minute of virtual time; the real time is only shown, because machines differ."""
    memory_socket_server.handler = half_open
    virtual, real = trio.current_time(), time.perf_counter()
    await scenario(socket_manager)
    real = time.perf_counter() - real
    print(f"{trio.current_time() - virtual:.0f} virtual seconds in {real * 1000:.0f} ms")
    assert trio.current_time() - virtual >= 30
