"""What is done on one socket, or a few; each payload that comes back is checked."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
from clients import Connect, Receive, Runner, Send
from trades import TRADES, messages

SMALL, LARGE = 64, 1_000_000
SECONDS = 0.3
"""How long a measurement runs at least."""
PAGE = os.sysconf("SC_PAGE_SIZE")

Figures = dict[str, float]


@attrs.frozen
class Bench:
    """One client, and where the server is."""

    connect: Connect
    runner: Runner
    ports: dict[str, int]

    @asynccontextmanager
    async def open(
        self, path: str, server: str = "plain", heartbeat: float | None = None
    ) -> AsyncIterator[tuple[Send, Receive]]:
        """Connect; only for the benchmarks, which are not cancelled inside it."""
        scheme = "wss" if server == "tls" else "ws"
        async with self.connect(f"{scheme}://127.0.0.1:{self.ports[server]}/{path}", heartbeat) as connection:
            yield connection


Measurement = Callable[[Bench], Coroutine[None, None, Figures]]


def check(data: object, expected: bytes) -> None:
    """Fail where the wrong bytes come."""
    if data != expected:
        raise AssertionError(f"{data!r:.100} came instead of {expected!r:.100}")


async def repeat(
    job: Callable[[], Coroutine[None, None, int]], warm_up: Callable[[], Coroutine[None, None, int]] | None = None
) -> float:
    """Run a job again and again, and give how many it did in a second; a first time, or a warm-up, is not counted."""
    await (warm_up or job)()
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        done += await job()
    return done / elapsed


async def echo_some(send: Send, receive: Receive, message: bytes, count: int) -> int:
    """Send and receive, one in flight."""
    for _ in range(count):
        await send(message)
        check(await receive(), message)
    return count


async def echo(bench: Bench, *, size: int, count: int, server: str = "plain") -> Figures:
    """Messages a second, one in flight."""
    async with bench.open("echo", server) as (send, receive):
        return {"rate": await repeat(partial(echo_some, send, receive, os.urandom(size), count))}


async def latency(bench: Bench) -> Figures:
    """Microseconds of an echo, at the median and at the 99th percentile."""
    async with bench.open("echo") as (send, receive):
        return percentiles(await round_trips(send, receive, 2000))


async def round_trips(send: Send, receive: Receive, count: int) -> list[float]:
    """Measure single echoes."""
    message, times = os.urandom(SMALL), []
    await echo_some(send, receive, message, 100)
    for _ in range(count):
        started = time.perf_counter()
        await send(message)
        check(await receive(), message)
        times.append(time.perf_counter() - started)
    return times


def percentiles(times: list[float]) -> Figures:
    """Give p50 and p99 in microseconds."""
    cuts = statistics.quantiles(times, n=100)
    return {"p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6}


async def flood_some(send: Send, receive: Receive, size: int, count: int) -> int:
    """Let the server send, and receive it all."""
    expected = bytes(size)
    await send(b"%d %d" % (size, count))
    for _ in range(count):
        check(await receive(), expected)
    return count


async def flood(bench: Bench, *, size: int, count: int, server: str = "plain") -> Figures:
    """Messages received a second."""
    async with bench.open("flood", server) as (send, receive):
        some = partial(flood_some, send, receive, size)
        return {"rate": await repeat(partial(some, count), partial(some, count // 10))}


async def sink_some(send: Send, receive: Receive, message: bytes, count: int) -> int:
    """Send, and let the server say how many came."""
    for _ in range(count):
        await send(message)
    await send(b"end")
    check(await receive(), b"%d" % count)
    return count


async def sink(bench: Bench, *, size: int, count: int, server: str = "plain") -> Figures:
    """Messages sent a second."""
    async with bench.open("sink", server) as (send, receive):
        some = partial(sink_some, send, receive, bytes(size))
        return {"rate": await repeat(partial(some, count), partial(some, count // 10))}


async def sink_from_20_tasks(bench: Bench) -> Figures:
    """Messages sent a second by twenty tasks on one socket."""
    message = bytes(SMALL)

    async def send_some(send: Send, count: int) -> None:
        for _ in range(count):
            await send(message)

    async def job(each: int = 500) -> int:
        await bench.runner.together([partial(send_some, send, each)] * 20)
        await send(b"end")
        check(await receive(), b"%d" % (20 * each))
        return 20 * each

    async with bench.open("sink") as (send, receive):
        return {"rate": await repeat(job, partial(job, 50))}


async def five_sockets(bench: Bench) -> Figures:
    """Messages a second of five sockets that echo at once."""
    message = os.urandom(SMALL)

    async def echo_200(send: Send, receive: Receive) -> None:
        await echo_some(send, receive, message, 200)

    async def job() -> int:
        await bench.runner.together([partial(echo_200, send, receive) for send, receive in sockets])
        return 1000

    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(bench.open("echo")) for _ in range(5)]
        return {"rate": await repeat(job)}


async def open_and_close(bench: Bench, server: str = "plain") -> Figures:
    """Connections opened and closed a second."""

    async def job() -> int:
        for _ in range(20):
            async with bench.open("echo", server):
                pass
        return 20

    return {"rate": await repeat(job)}


def memory() -> int:
    """Give the bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


async def idle(bench: Bench) -> Figures:
    """Kilobytes and microseconds of CPU a second for each of 200 sockets that do nothing."""
    async with AsyncExitStack() as stack:
        for _ in range(10):  # what is paid once
            await stack.enter_async_context(bench.open("echo"))
        before = memory()
        for _ in range(200):
            await stack.enter_async_context(bench.open("echo"))
        await bench.runner.sleep(0.2)
        size, cpu = memory() - before, time.process_time()
        await bench.runner.sleep(1)
        return {"kilobytes": size / 200 / 1000, "cpu": (time.process_time() - cpu) / 200 * 1e6}


async def deflate_echo(bench: Bench, *, size: int = 500) -> Figures:
    """Messages of JSON a second, compressed both ways, one in flight."""
    sent = TRADES if size == 500 else messages("json", size, 5)

    async def job() -> int:
        for message in sent:
            await send(message)
            check(await receive(), message)
        return len(sent)

    async with bench.open("deflate/echo") as (send, receive):
        return {"rate": await repeat(job)}


async def deflate_flood(bench: Bench) -> Figures:
    """Messages of JSON received a second, compressed."""

    async def job(times: int = 50) -> int:
        await send(b"%d" % times)
        for _ in range(times):
            for message in TRADES:
                check(await receive(), message)
        return times * len(TRADES)

    async with bench.open("deflate/flood") as (send, receive):
        return {"rate": await repeat(job, partial(job, 5))}


async def fairness(bench: Bench) -> Figures:
    """Latency of one socket's echoes while another socket of the same program is flooded."""
    figures: list[Figures] = []
    finished: list[bool] = []

    async def be_flooded() -> None:
        async with bench.open("flood") as (send, receive):
            while not finished:
                await flood_some(send, receive, SMALL, 20_000)

    async def measure() -> None:
        try:
            async with bench.open("echo") as (send, receive):
                figures.append(percentiles(await round_trips(send, receive, 500)))
        finally:
            finished.append(True)

    await bench.runner.together([be_flooded, measure])
    return figures[0]


async def raw_echo(bench: Bench) -> Figures:
    """The limit: an echo of as many bytes as a frame of 64 bytes has, without frames."""
    message = os.urandom(SMALL + 6)
    async with bench.open("", "raw") as (send, receive):
        return {"rate": await repeat(partial(echo_some, send, receive, message, 100))}
