"""What the traffic that most sockets have costs, counted: messages now and then, listeners, heartbeats, many sockets.

The bounds are what was counted, and a little more. Time moves by hand, so that nothing happens by itself.
"""

from __future__ import annotations

import attrs
import pytest
import trio
from counts import Costs, Meter, metered
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import (
    Coexist,
    Heartbeat,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task.miniprogram import open_mini_program
from trio_socket_task.testing import ServerConnection, SocketServer, open_memory_server

pytestmark = pytest.mark.needs("cpython", "files as sockets")

TIMES = 100
SMALL = bytes(64)


def check(costs: Costs, times: int = TIMES, **allowed: float) -> None:
    """Fail where something costs more than allowed, each of so many times."""
    assert costs.exceeds(allowed, times) == {}, f"{costs} for {times}"


async def pass_time(meter: Meter, clock: MockClock, seconds: float) -> None:
    """Let time pass, and all that it brings about happen."""
    with meter.aside():
        clock.jump(seconds)
        await wait_all_tasks_blocked()


async def speak_now_and_then(meter: Meter, clock: MockClock, task: SocketTask) -> None:
    """Send a message and wait for its answer, with long pauses."""
    for _ in range(TIMES):
        await pass_time(meter, clock, 0.3)
        await task.send(SMALL)
        assert await task.receive() == SMALL


async def test_a_sporadic_echo(socket_server: SocketServer, mock_clock: MockClock) -> None:
    """The program looks for its answer, and waits for it by itself: no other task stands between it and its socket."""
    async with connect_socket(socket_server.url) as task:
        with metered() as warm_up:
            await speak_now_and_then(warm_up, mock_clock, task)
        with metered() as meter:
            await speak_now_and_then(meter, mock_clock, task)
    check(meter.costs, program=1, socket=0.02, scopes=0.02, reads=2.5, writes=1.02, calls=65, objects=0.4)


async def test_a_listeners_event(mock_clock: MockClock, socket_server: SocketServer) -> None:
    """As a message of `receive`: a step of the program for 32, and no scope."""

    async def flood(connection: ServerConnection) -> None:
        await connection.accept()
        assert await connection.receive() == "go"
        await connection.send_raw((b"\x82\x40" + SMALL) * TIMES * 10)
        await connection.wait_closed()

    socket_server.handler = flood
    async with connect_socket(socket_server.url) as task, task.on_message() as listener:
        await task.send("go")
        with metered() as meter:
            for _ in range(TIMES * 10):
                assert (await listener.receive()).data == SMALL
    check(
        meter.costs,
        TIMES * 10,
        program=1 / 30,
        socket=0.003,
        scopes=0.001,
        reads=0.01,
        writes=0,
        calls=3.5,
        objects=0.03,
    )


async def test_a_heartbeat(socket_server: SocketServer, mock_clock: MockClock) -> None:
    """A ping and its pong."""
    async with connect_socket(socket_server.url, heartbeat=Heartbeat(interval=20)) as task:
        for _ in range(2):  # the first lets it begin
            with metered() as meter:
                for _ in range(TIMES):
                    await pass_time(meter, mock_clock, 20)
        assert task.statistics().rtt is not None
    check(meter.costs, program=0, socket=2.05, scopes=1, reads=1, writes=1, calls=71, objects=0.2)


async def test_heartbeats_of_many_sockets_share_a_clock(socket_server: SocketServer, mock_clock: MockClock) -> None:
    """Those that are due within a hundredth of their interval go out together."""
    sockets = 50
    async with open_socket_manager(Coexist(None), heartbeat=Heartbeat(interval=20)) as manager:
        for _ in range(sockets):
            await manager.connect_socket(socket_server.url).wait_open()
            mock_clock.jump(0.2 / sockets)
        for _ in range(2):  # the first brings them together
            with metered() as meter:
                for _ in range(10):
                    await pass_time(meter, mock_clock, 20)
    check(meter.costs, 10 * sockets, program=0, socket=1.1, scopes=0.1, reads=1, writes=1, calls=63, objects=0.4)


async def test_a_message_of_a_resilient_socket(socket_server: SocketServer, autojump_clock: MockClock) -> None:
    """There and back."""
    async with open_resilient_socket(socket_server.url, heartbeat=None, busy_poll=0) as socket:
        await socket.wait_connected()
        for times in (10, TIMES):
            with metered() as meter:
                for _ in range(times):
                    await socket.send(SMALL)
                    assert await socket.receive() == SMALL
    check(meter.costs, program=1.1, socket=0.15, scopes=0.15, reads=2.1, writes=1.05, calls=80, objects=1)


async def test_a_burst_of_a_resilient_socket(socket_server: SocketServer, autojump_clock: MockClock) -> None:
    """Sent and read by the server."""
    async with open_resilient_socket(socket_server.url, heartbeat=None, busy_poll=0) as socket:
        await socket.wait_connected()
        with metered() as meter:
            for _ in range(TIMES):
                await socket.send(SMALL)
            await socket.wait_delivered()
    check(meter.costs, program=0.1, socket=1.4, scopes=0.15, reads=1.1, writes=0.15, calls=85, objects=2)


async def test_a_message_of_a_mini_program(socket_server: SocketServer, autojump_clock: MockClock) -> None:
    """Each listener's call sends the next."""
    left, opened, over = TIMES, trio.Event(), trio.Event()

    def answer(_res: object) -> None:
        nonlocal left
        left -= 1
        if left:
            wx_task.send({"data": SMALL})
        else:
            over.set()

    async with open_mini_program("wx", busy_poll=0) as wx:
        wx_task = wx.connectSocket({"url": socket_server.url})
        wx_task.onOpen(lambda _res: opened.set())
        wx_task.onMessage(answer)
        await opened.wait()
        with metered() as meter:
            wx_task.send({"data": SMALL})
            await over.wait()
    check(meter.costs, program=0.02, socket=2.1, scopes=0.01, reads=2.02, writes=1.02, calls=115, objects=0.3)


async def costs_among(others: int, clock: MockClock) -> dict[str, Costs]:
    """Open one more socket than there are, use it, and close it."""
    costs = {}
    async with open_memory_server() as server, open_socket_manager(Coexist(None), dial=server.dial) as manager:
        for _ in range(others):
            await manager.connect_socket(server.url).wait_open()
        await manager.connect_socket(server.url).aclose()  # what is paid once
        with metered() as meter:
            task = manager.connect_socket(server.url, heartbeat=Heartbeat(interval=20))
            await task.wait_open()
        costs["opening"] = meter.costs
        with metered() as meter:
            await speak_now_and_then(meter, clock, task)
        costs["echoes"] = meter.costs
        with metered() as meter:
            for _ in range(TIMES):
                await pass_time(meter, clock, 20)
        costs["heartbeats"] = meter.costs
        with metered() as meter:
            await task.aclose()
        costs["leaving"] = meter.costs
    return costs


async def test_what_one_socket_does_costs_no_more_among_many(mock_clock: MockClock) -> None:
    """To open, to speak now and then, to send heartbeats, to leave: but for a step that falls now here, now there."""
    few, many = await costs_among(1, mock_clock), await costs_among(200, mock_clock)
    check(many["opening"], 1, program=1, socket=12, scopes=4, calls=245, objects=350)  # the server's objects as well
    for what, of_few in few.items():
        allowed = {name: 1.02 * count + 2 for name, count in attrs.asdict(of_few).items()}
        allowed["calls"] += 10
        del allowed["objects"]  # what is left of others falls into it
        assert many[what].exceeds(allowed, 1) == {}, what
