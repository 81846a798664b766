"""The command `serve`: a server to try things against, which echoes, and has bad days when asked to."""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trio_socket_task.testing import ServerConnection, open_test_server

_PATIENCE = 20  # messages, at most, before something goes wrong
_STALL = 60.0


def _note(connection: ServerConnection, words: str) -> None:
    print(f"{connection.path} {words}", file=sys.stderr, flush=True)


async def _echo(connection: ServerConnection, count: int = sys.maxsize) -> None:
    for _ in range(count):
        await connection.send(await connection.receive())
        connection.received.clear()


async def _serve_well(connection: ServerConnection) -> None:
    _note(connection, "connected")
    await _echo(connection)


async def _stall(connection: ServerConnection) -> None:
    connection.stall()
    await trio.sleep(_STALL)


async def _garble(connection: ServerConnection) -> None:
    connection.garble()
    await connection.send("garbled")


FAULTS: Final[dict[str, Callable[[ServerConnection], Awaitable[object]]]] = {
    "drops the connection": ServerConnection.drop,
    "stalls for a minute": _stall,
    "breaks the protocol": _garble,
    "closes with 1012": lambda connection: connection.close(1012, "restarting"),
    "closes with 1011": lambda connection: connection.close(1011, "something went wrong"),
    "ends its direction": ServerConnection.half_close,
}


async def _serve_badly(connection: ServerConnection) -> None:
    """Refuse one in six; of the others echo some messages, then do something bad."""
    dice = random.SystemRandom()
    if dice.random() < 1 / 6:
        _note(connection, "is refused with 503")
        await connection.reject(503, {"Retry-After": "1"}, b"chaos")
        return
    connection.delay(dice.random() / 2)
    count = dice.randrange(1, _PATIENCE)
    words, fault = dice.choice(list(FAULTS.items()))
    _note(connection, f"connected; after {count} messages it {words}")
    await _echo(connection, count)
    await _misbehave(connection, fault)


async def _misbehave(connection: ServerConnection, fault: Callable[[ServerConnection], Awaitable[object]]) -> None:
    """Do something bad to a client that has not left meanwhile: the kit takes a fault for nobody for a mistake."""
    if not connection.closed:
        await fault(connection)


async def serve(port: int, *, tls: bool, chaos: bool) -> int:
    """Serve until interrupted."""
    async with open_test_server(_serve_badly if chaos else _serve_well, tls=tls, port=port) as server:
        insecure = " (its certificate is its own: connect with --insecure)" if tls else ""
        print(f"serving on {server.url}{insecure}", flush=True)
        await server.serve_forever()
    return 0  # pragma: no cover (only an interrupt ends it, and that raises)
