"""The command `serve`: a server to try things against, which echoes, and misbehaves when asked to."""

from __future__ import annotations

import errno
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from trio_socket_task._text import mask_url
from trio_socket_task.testing import MisuseError, ServerConnection, open_test_server

from ._error_text import ServeError
from ._output import Output

_PATIENCE: Final = 20  # messages, at most, before something goes wrong
_STALL: Final = 60.0
_CLOSE_TIMEOUT: Final = 1.0
"""Seconds that clients may take to answer the Close frames of a server that ends."""


async def _echo(connection: ServerConnection, count: int = sys.maxsize) -> None:
    for _ in range(count):
        await connection.send(await connection.receive())
        connection.received.clear()


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


@final
class EchoServer:
    """What clients meet."""

    def __init__(self, output: Output, *, chaos: bool) -> None:
        self._output = output
        self._behave = self._serve_badly if chaos else self._serve_well
        self._connections: set[ServerConnection] = set()

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one client to its end; that it leaves in the middle of anything is not reported."""
        self._connections.add(connection)
        try:
            await self._behave(connection)
        except MisuseError:
            if not connection.closed:  # else it says that there is nobody to misbehave to
                raise
        finally:
            self._connections.remove(connection)

    async def close(self) -> None:
        """Close what is open with 1001."""
        with trio.move_on_after(_CLOSE_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for connection in self._connections:
                    nursery.start_soon(_close_going_away, connection)

    def _note(self, connection: ServerConnection, text: str) -> None:
        self._output.note(f"{mask_url(connection.path)} {text}")

    async def _serve_well(self, connection: ServerConnection) -> None:
        self._note(connection, "connected")
        await _echo(connection)

    async def _serve_badly(self, connection: ServerConnection) -> None:
        """Refuse one in six; of the others echo some messages, then do something bad."""
        dice = random.SystemRandom()
        if dice.random() < 1 / 6:
            self._note(connection, "is refused with 503")
            await connection.reject(503, {"Retry-After": "1"}, b"chaos")
            return
        connection.delay(dice.random() / 2)
        count = dice.randrange(1, _PATIENCE)
        description, fault = dice.choice(list(FAULTS.items()))
        self._note(connection, f"connected; after {count} messages it {description}")
        await _echo(connection, count)
        await fault(connection)


async def _close_going_away(connection: ServerConnection) -> None:
    try:
        await connection.close(1001, "the server ends")
    except (MisuseError, trio.BrokenResourceError):
        await trio.lowlevel.checkpoint()  # it is misbehaving, or its client has left


async def serve(port: int, output: Output, serving: trio.CancelScope, *, tls: bool, chaos: bool) -> int:
    """Serve until interrupted, or until `serving` is cancelled; then clients are told 1001."""
    echo, server = EchoServer(output, chaos=chaos), None
    try:
        async with open_test_server(echo.handle, tls=tls, port=port) as server:
            insecure = " (its certificate is its own: connect with --insecure)" if tls else ""
            output.line(f"serving on {server.url}{insecure}")
            try:
                with serving:
                    await server.serve_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await echo.close()
    except ModuleNotFoundError as error:
        raise ServeError("--tls needs the package trustme; install trio-socket-task[testing]") from error
    except OSError as error:
        if server is not None:
            raise
        raise ServeError(_describe_port(port, error)) from error
    return 0


def _describe_port(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program; choose another one with --port, or --port 0 for any free one"
    if error.errno == errno.EACCES:
        return f"port {port} is not for this user; choose one from 1024 up with --port"
    return f"cannot listen on port {port}: {error.strerror or error}"
