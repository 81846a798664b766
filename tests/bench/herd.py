"""A fleet that is dropped at once comes back: ``python herd.py docs/benchmarks/herd.svg`` draws how, in virtual time.

Two hundred clients are connected when the server goes down for half a minute. With full jitter they come back spread
out; without, in step.
"""

from __future__ import annotations

import logging
import random
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import trio
from trio.testing import MockClock

from trio_socket_task import Backoff, Coexist, open_resilient_socket, open_socket_manager
from trio_socket_task.testing import ServerConnection, open_memory_server

CLIENTS = 200
DOWN_AT, UP_AT, SECONDS = 10.0, 40.0, 130


def jittered(number: int) -> Backoff:
    """Give a client's delays, with dice of its own."""
    return Backoff(random=random.Random(number).random)  # noqa: S311 (not for secrets)


def in_step(_number: int) -> Backoff:
    """Give the delays of a fleet that has no dice."""
    return Backoff(random=lambda: 1.0)


async def attempts(backoff: Callable[[int], Backoff], clients: int = CLIENTS) -> list[float]:
    """Run a fleet, and give when it knocked at the server after that went down."""
    knocks: list[float] = []

    async def serve(connection: ServerConnection) -> None:
        if trio.current_time() >= DOWN_AT:
            knocks.append(trio.current_time())
        if DOWN_AT <= trio.current_time() < UP_AT:
            await connection.reject(500)
            return
        await connection.accept()
        if trio.current_time() < DOWN_AT:
            await trio.sleep_until(DOWN_AT)
            await connection.drop()
        else:
            await connection.wait_closed()

    async def client(number: int) -> None:
        async with open_resilient_socket("ws://a.test/", manager=manager, backoff=backoff(number), heartbeat=None):
            await trio.sleep_until(SECONDS)

    async with open_memory_server(serve) as server, open_socket_manager(Coexist(None), dial=server.dial) as manager:
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(client, number)
    return knocks


def per_second(knocks: list[float]) -> list[int]:
    """Count knocks in each second after the server went down."""
    counts = Counter(int(knock - DOWN_AT) for knock in knocks)
    return [counts[second] for second in range(SECONDS - int(DOWN_AT))]


def draw(path: str) -> None:
    """Draw both fleets, and say of each what the server meets when it is up again."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 (the test does not draw)

    logging.disable()  # each loss has a line, which is hundreds
    figure, axes = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(5, 4.4), layout="constrained", facecolor="w")
    down = UP_AT - DOWN_AT
    for axis, backoff, title in zip(
        axes, (jittered, in_step), ("Full jitter, as here", "The same delays without jitter"), strict=True
    ):
        counts = per_second(trio.run(partial(attempts, backoff), clock=MockClock(autojump_threshold=0)))
        colours = ["#b0b8bd" if second < down else "#b5380a" for second in range(len(counts))]
        axis.bar(range(len(counts)), counts, width=1.0, align="edge", color=colours)
        axis.axvspan(0, down, color="#eeeeee", zorder=0)
        axis.text(down / 2, 222, "the server is down", ha="center", fontsize=9)
        most = max(counts[int(down) :])
        axis.set_title(f"{title}: a server that is up again\nmeets at most {most} in a second", loc="left", fontsize=10)
        axis.set_ylabel("attempts a second")
        axis.set_xlim(0, 90)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("seconds after all of 200 were dropped")
    plt.rcParams["svg.hashsalt"] = "trio-socket-task"  # the same picture from the same seeds
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(sys.argv[1])
