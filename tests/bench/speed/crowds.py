"""What is done on many sockets of one program. Their cost is the processor time of the client, in microseconds."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count

import attrs
from clients import Job, Receive, Send
from scenarios import SMALL, Bench, Figures, check

FRAMED = SMALL + 6
"""What raw TCP sends: as many bytes as a frame of 64 has."""
PERIOD = 0.3
"""Seconds between two messages of one socket; those of all sockets are spread over it."""
TURNS = 3
"""Messages of each socket that are counted."""
INTERVAL = 2.0
"""Seconds between two heartbeats of one socket, and in which heartbeats are counted: less than this, and a keepalive of
websockets fails where the machine is busy, with a pong that took longer."""

Sockets = list[tuple[Send, Receive]]


@attrs.define
class Opened:
    """Many sockets, and what it cost to open one."""

    sockets: Sockets
    cost: float


async def crowd(
    open_one: Callable[[], object], bench: Bench, sockets: int, use: Callable[[Opened], Awaitable[Figures]]
) -> Figures:
    """Open sockets one after another, each in a task of its own as programs do, and use them all."""
    is_open, over = [bench.runner.event() for _ in range(sockets)], bench.runner.event()
    opened, figures = Opened([], 0.0), []

    async def hold(number: int) -> None:
        if number:
            await is_open[number - 1].wait()
        async with open_one() as socket:
            opened.sockets.append(socket)
            is_open[number].set()
            await over.wait()

    async def use_all() -> None:
        started = time.process_time()
        await is_open[-1].wait()
        opened.cost = (time.process_time() - started) / sockets * 1e6
        figures.append(await use(opened))
        over.set()

    await bench.runner.together([use_all, *(partial(hold, number) for number in range(sockets))])
    return figures[0]


async def cost(bench: Bench, jobs: list[Job], done: Iterator[int], warm_up: float) -> float:
    """Run jobs that count what they have done; give the cost of one of these things once they are warm."""
    warm: list[tuple[float, int]] = []

    async def take_time() -> None:
        await bench.runner.sleep(warm_up)
        warm.append((time.process_time(), next(done)))

    await bench.runner.together([take_time, *jobs])
    cpu, before = warm[0]
    return (time.process_time() - cpu) / (next(done) - before - 1) * 1e6


async def speak_now_and_then(bench: Bench, sockets: Sockets, message: bytes) -> float:
    """Let each socket send a message and wait for its answer every now and then; give the cost of an echo."""
    started, done = time.perf_counter(), count()

    async def speak(number: int, send: Send, receive: Receive) -> None:
        for turn in range(TURNS + 1):
            due = started + (turn + number / len(sockets)) * PERIOD
            await bench.runner.sleep(max(0.0, due - time.perf_counter()))
            await send(message)
            check(await receive(), message)
            next(done)

    return await cost(bench, [partial(speak, number, *socket) for number, socket in enumerate(sockets)], done, PERIOD)


async def listen_now_and_then(bench: Bench, sockets: Sockets) -> float:
    """Let the server send a message to each socket every now and then; give the cost of one."""
    done = count()

    async def listen(receive: Receive) -> None:
        for turn in range(TURNS + 1):
            check(await receive(), b"%064d" % turn)
            next(done)

    async def start() -> None:
        await sockets[0][0](b"push %d %f" % (TURNS + 1, PERIOD))

    return await cost(bench, [start, *(partial(listen, receive) for _, receive in sockets)], done, PERIOD)


async def echo_at_once(bench: Bench, sockets: Sockets, message: bytes) -> float:
    """Let all sockets echo at once; give the cost of an echo."""
    times = max(2, 5000 // len(sockets))

    async def some(times: int, send: Send, receive: Receive) -> None:
        for _ in range(times):
            await send(message)
            check(await receive(), message)

    await bench.runner.together([partial(some, 1, *socket) for socket in sockets])
    cpu = time.process_time()
    await bench.runner.together([partial(some, times, *socket) for socket in sockets])
    return (time.process_time() - cpu) / len(sockets) / times * 1e6


async def many(bench: Bench, *, sockets: int, parts: tuple[str, ...], server: str = "plain") -> Figures:
    """What it costs to open one of many sockets, and what their messages cost."""
    message = os.urandom(SMALL if server == "plain" else FRAMED)

    async def use(opened: Opened) -> Figures:
        figures = {}
        if "sporadic" in parts:
            figures["sporadic"] = await speak_now_and_then(bench, opened.sockets, message)
        if "push" in parts:
            figures["push"] = await listen_now_and_then(bench, opened.sockets)
        return {
            **figures,
            "echo at once": await echo_at_once(bench, opened.sockets, message),
            "opening": opened.cost,
        }

    return await crowd(partial(bench.open, f"push/{os.urandom(8).hex()}", server), bench, sockets, use)


async def heartbeats(bench: Bench, *, sockets: int) -> Figures:
    """The cost of a ping and its pong, where each socket sends one in two seconds and nothing else."""

    async def use(_: Opened) -> Figures:
        async with bench.open("pings") as (send, receive):

            async def pings() -> int:
                await send(b"how many?")
                return int(await receive())

            before, cpu = await pings(), time.process_time()
            await bench.runner.sleep(INTERVAL)
            cpu, beats = time.process_time() - cpu, await pings() - before
            if not sockets / 2 < beats < sockets * 1.2:
                raise AssertionError(f"{sockets} sockets sent {beats} pings in {INTERVAL} seconds")
            return {"beat": cpu / beats * 1e6}

    return await crowd(partial(bench.open, "echo", heartbeat=INTERVAL), bench, sockets, use)
