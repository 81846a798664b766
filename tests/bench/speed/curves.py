"""What a message and a socket cost as there are more of them: ``python curves.py --output curves.json``.

This package alone, in one process with a server in another; each point is the median of several measurements, taken in
turns so that what the machine does to one it does to all.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median

import attrs
import trio
from catalogue import SHARING
from clients import ON_TRIO, Receive, Send, trio_socket_task
from run import serving
from scenarios import Bench, check, echo_some, flood_some, memory

Point = Callable[[Bench], Coroutine[None, None, float]]


@attrs.frozen
class Curve:
    """One question: what is on its axes, and how each point is measured."""

    title: str
    across: str
    up: str
    points: dict[int, Point]
    rounds: int = 5


async def per_message(bench: Bench, count: int) -> float:
    """Microseconds a received message, of so many."""
    async with bench.open("flood") as (send, receive):
        await flood_some(send, receive, 64, 1000)
        started = time.perf_counter()
        await flood_some(send, receive, 64, count)
        return (time.perf_counter() - started) / count * 1e6


async def per_echo(bench: Bench, sockets: int) -> float:
    """Microseconds an echo, with so many sockets that echo at once, each in a task of its own."""
    message, count = os.urandom(64), max(5, 2000 // sockets)

    async def some(send: Send, receive: Receive) -> None:
        await echo_some(send, receive, message, count)

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(bench.open("echo")) for _ in range(sockets)]
        jobs = [partial(some, send, receive) for send, receive in opened]
        await bench.runner.together(jobs)
        started = time.perf_counter()
        await bench.runner.together(jobs)
        return (time.perf_counter() - started) / sockets / count * 1e6


async def per_socket(bench: Bench, sockets: int) -> float:
    """Kilobytes a socket that does nothing."""
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(bench.open("echo"))
        before = memory()
        for _ in range(sockets):
            await stack.enter_async_context(bench.open("echo"))
        return (memory() - before) / sockets / 1000


async def per_listener(bench: Bench, listeners: int) -> float:
    """Microseconds a message that goes to so many listeners, each with a task that reads it; none: `receive`."""
    from trio_socket_task import SocketTask, connect_socket

    count = 4000

    async def read(task: SocketTask) -> None:
        received = 0
        async with task.on_message() as messages:
            ready.append(None)
            async for event in messages:
                check(event.data, bytes(64))
                received += 1
                if received == count:
                    return

    ready: list[None] = []
    async with connect_socket(f"ws://127.0.0.1:{bench.ports['plain']}/flood") as task:
        async with trio.open_nursery() as nursery:
            for _ in range(listeners):
                nursery.start_soon(read, task)
            while len(ready) < listeners:
                await trio.lowlevel.checkpoint()
            started = time.perf_counter()
            await task.send(b"64 %d" % count)
            for _ in range(0 if listeners else count):
                check(await task.receive(), bytes(64))
        return (time.perf_counter() - started) / count * 1e6


async def per_size(bench: Bench, size: int) -> float:
    """Microseconds an echo of this size."""
    message, count = os.urandom(size), max(3, min(200, 2**22 // size))

    async def some(send: Send, receive: Receive) -> float:
        started = time.perf_counter()
        await echo_some(send, receive, message, count)
        return (time.perf_counter() - started) / count * 1e6

    async with bench.open("echo") as (send, receive):
        await some(send, receive)
        return await some(send, receive)


CURVES = {
    "memory": Curve(
        "The memory of an idle socket, as there are more",
        "sockets",
        "kilobytes a socket",
        {count: partial(per_socket, sockets=count) for count in (50, 100, 200)},
        rounds=1,
    ),
    "messages": Curve(
        "A message, as more are received on one socket",
        "messages",
        "microseconds a message",
        {10**power: partial(per_message, count=10**power) for power in range(3, 7)},
    ),
    "sockets": Curve(
        "An echo, as more sockets echo at once",
        "sockets",
        "microseconds an echo",
        {count: partial(per_echo, sockets=count) for count in (1, 5, 20, 50, 100, 200)},
    ),
    "listeners": Curve(
        "A message, as more listeners have it",
        "listeners (0: receive)",
        "microseconds a message",
        {count: partial(per_listener, listeners=count) for count in (0, 1, 2, 4, 8)},
    ),
    "sizes": Curve(
        "An echo, as messages grow",
        "bytes",
        "microseconds an echo",
        {4**power: partial(per_size, size=4**power) for power in range(13)},
    ),
}


def measure(curve: Curve, ports: dict[str, int], context: ssl.SSLContext) -> dict[int, float]:
    """Measure a curve; where memory is counted, each point has a process of its own."""
    taken: dict[int, list[float]] = {across: [] for across in curve.points}
    for _ in range(curve.rounds):
        for across, point in curve.points.items():

            async def run(point: Point = point) -> float:
                async with trio_socket_task(context) as connect:
                    return await point(Bench(connect, ON_TRIO, ports))

            taken[across].append(_in_child(run) if curve.rounds == 1 else float(str(ON_TRIO.run(run))))
    return {across: median(values) for across, values in taken.items()}


def _in_child(run: Callable[[], Coroutine[None, None, float]]) -> float:
    """Run in a fork, whose memory nobody has used before."""
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, str(ON_TRIO.run(run)).encode())
        os._exit(0)
    os.wait()
    return float(os.read(reading, 100))


def main() -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description="Measure what a message and a socket cost as there are more of them.")
    parser.add_argument("--output", type=Path, required=True)
    output: Path = parser.parse_args().output
    curves = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (ports, certificate):
        context = ssl.create_default_context(cafile=certificate)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for name, curve in CURVES.items():
            points = measure(curve, json.loads(ports)[SHARING], context)
            print(f"{curve.title}: " + ", ".join(f"{across}: {value:.1f}" for across, value in points.items()))
            curves[name] = {"title": curve.title, "across": curve.across, "up": curve.up, "points": points}
    output.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
