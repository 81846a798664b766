"""Fifty sockets against a server that drops, stalls, floods and closes at random: ``python soak.py --seconds 600``.

Every message carries the number of its connection and its own; each side checks that nothing is missing, repeated, out
of order or damaged between the opening and the end. At the end, tasks and file descriptors must be what they were.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from trio_socket_task import (
    Coexist,
    ConnectError,
    SocketClosedError,
    SocketLostError,
    SocketManager,
    SocketTask,
    open_socket_manager,
)
from trio_socket_task._session._clock import clock_of_this_run
from trio_socket_task.testing import ServerConnection, open_test_server

SOCKETS = 50
PAD = 2000
FATES = ["echo", "echo", "echo", "drop", "stall", "flood", "close", "refuse"]


@attrs.define
class Tally:
    """What happened."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    connections: int = 0
    refused: int = 0
    fates: Counter[str] = attrs.field(factory=Counter)
    ends: Counter[int] = attrs.field(factory=Counter)


def message(number: int) -> bytes:
    """Give a message whose every byte is known from its number."""
    return struct.pack(">I", number) + bytes([number % 251]) * (number * 7919 % PAD)


async def serve(connection: ServerConnection, tally: Tally, dice: random.Random) -> None:
    """Serve one connection, whose fate is drawn."""
    fate = dice.choice(FATES)
    tally.fates[fate] += 1
    if fate == "refuse":
        await connection.reject(503, body=b"later")
        return
    if fate == "flood":
        for number in range(2000):
            await connection.send(message(number))
        await connection.close(4000, "flooded")
        return
    patience = dice.randrange(1, 200)
    for number in range(patience if fate != "echo" else 10**9):
        data = await connection.receive()
        assert data == message(number), "a message came damaged, twice, or out of order"
        await connection.send(data)
    if fate == "stall":
        await trio.sleep(dice.random())
    if fate == "drop":
        await connection.drop()
    else:
        await connection.close(4000 + patience % 900, fate)


async def talk(task: SocketTask, tally: Tally, dice: random.Random) -> None:
    """Send numbered messages and check what comes back, until the socket ends or enough was said."""
    await task.wait_open()
    tally.connections += 1
    plenty = dice.randrange(1, 300)

    async def send() -> None:
        with suppress(SocketLostError, SocketClosedError):
            for number in range(plenty):
                await task.send(message(number))
                tally.sent += 1
                if dice.random() < 0.05:
                    await trio.sleep(dice.random() / 20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        number = 0
        try:
            async for data in task:
                if data != message(number):
                    tally.lost += 1
                number += 1
                tally.received += 1
                if number == plenty:
                    break
        except SocketLostError:
            pass
        nursery.cancel_scope.cancel()


async def client(manager: SocketManager, url: str, tally: Tally, dice: random.Random) -> None:
    """Connect again and again."""
    while True:
        task = manager.connect_socket(url, close_timeout=2, receive_buffer=200_000, send_buffer=50_000)
        with trio.move_on_after(5 if dice.random() < 0.9 else dice.random()):
            with suppress(ConnectError):
                await talk(task, tally, dice)
        if dice.random() < 0.5:
            await task.aclose(4999, "done")
        else:
            task.close()
            await task.wait_closed()
        event = task.close_event
        assert event is not None
        tally.ends[event.code] += 1
        assert len([one async for one in task.on_close()]) == 1


def descriptors() -> int:
    """Count this process's open file descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def soak(seconds: float, seed: int) -> int:
    """Run, and give the exit code."""
    tally = Tally()
    dice = random.Random(seed)  # noqa: S311 (not for secrets)
    clock_of_this_run()  # whose task is the run's own
    before = descriptors(), trio.lowlevel.current_statistics().tasks_living
    async with open_test_server(partial(serve, tally=tally, dice=dice)) as server:
        async with open_socket_manager(Coexist(SOCKETS)) as manager:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as clients:
                    for _ in range(SOCKETS):
                        clients.start_soon(client, manager, server.url, tally, dice)
        assert manager.sockets == ()
        server.connections.clear()
    after = descriptors(), trio.lowlevel.current_statistics().tasks_living
    print(f"connections {tally.connections}, fates {dict(tally.fates)}")
    print(f"sent {tally.sent}, received {tally.received}, lost {tally.lost}")
    print(f"file descriptors and tasks: {before} before, {after} after")
    return 0 if tally.lost == 0 and before == after and tally.connections > SOCKETS else 1


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fifty sockets against a hostile server.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 (printed, to be repeated)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    return trio.run(soak, arguments.seconds, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
