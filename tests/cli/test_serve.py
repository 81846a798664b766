"""What `serve` does to those who connect, one fault after another."""

from __future__ import annotations

import errno
import random
from contextlib import suppress

import pytest
import trio
import trio.testing

from trio_socket_task import HandshakeError, SocketTaskError, connect_socket
from trio_socket_task._cli._error_text import ServeError
from trio_socket_task._cli._output import Output
from trio_socket_task._cli._serve import FAULTS, EchoServer, _echo, serve
from trio_socket_task.testing import MisuseError, ServerConnection, SocketServer, open_memory_server


@pytest.mark.parametrize("text", FAULTS)
async def test_each_fault_ends_the_conversation(autojump_clock: trio.testing.MockClock, text: str) -> None:
    """After what was said before it."""

    async def handler(connection: ServerConnection) -> None:
        await _echo(connection, 1)
        await FAULTS[text](connection)

    async with open_memory_server(handler) as server:
        with trio.fail_after(1000):
            async with connect_socket(server.url, dial=server.dial, close_timeout=1, receive_timeout=100) as task:
                await task.send("hello")
                assert await task.receive() == "hello"
                with pytest.raises((SocketTaskError, trio.EndOfChannel)):
                    await task.receive()


class Dice:
    """Falls as a test wants."""

    def __init__(self, draw: float) -> None:
        self._draw = draw

    def random(self) -> float:
        return self._draw

    def randrange(self, start: int, stop: int) -> int:
        return min(start + 1, stop)

    def choice(self, options: list[object]) -> object:
        return options[0]


@pytest.mark.parametrize("draw", [0.0, 0.9])
async def test_bad_days(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    draw: float,
) -> None:
    """A refusal, or some echoes and then a fault; each is told."""
    monkeypatch.setattr(random, "SystemRandom", lambda: Dice(draw))
    async with open_memory_server(EchoServer(Output(), chaos=True).handle) as server:
        with suppress(SocketTaskError):
            async with connect_socket(server.url, dial=server.dial) as task:
                for _ in range(5):
                    await task.send("hello")
                    await task.receive()
        if draw == 0.0:
            with pytest.raises(HandshakeError, match="503"):
                async with connect_socket(server.url, dial=server.dial):
                    pass
    text = "is refused with 503" if draw == 0.0 else "connected; after 2 messages it drops the connection"
    assert text in capsys.readouterr().err


async def test_good_days(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Echoes, for as long as the client wants."""
    async with open_memory_server(EchoServer(Output(), chaos=False).handle) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            for _ in range(50):
                await task.send("hello")
                assert await task.receive() == "hello"
    assert capsys.readouterr().err == "/ connected\n"


async def test_a_client_that_has_left_is_no_news(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was about to be done to it; a mistake in the server is."""
    monkeypatch.setattr(random, "SystemRandom", lambda: Dice(0.9))
    echo = EchoServer(Output(), chaos=True)

    async def handle_late(connection: ServerConnection) -> None:
        await connection.wait_closed()
        await echo.handle(connection)

    async with open_memory_server(handle_late) as server:
        async with connect_socket(server.url, dial=server.dial):
            pass
        await trio.sleep(1)

    async def misuse(connection: ServerConnection) -> None:
        connection.delay(-1)

    monkeypatch.setattr(echo, "_behave", misuse)
    with pytest.raises(MisuseError, match="delay"):
        async with open_memory_server(echo.handle) as server, connect_socket(server.url, dial=server.dial):
            await trio.sleep(1)


async def test_a_farewell(autojump_clock: trio.testing.MockClock) -> None:
    """Clients hear 1001, those that are stalled nothing; nobody is waited for longer than a second."""
    echo = EchoServer(Output(), chaos=False)
    async with open_memory_server(echo.handle) as server:
        async with connect_socket(server.url, dial=server.dial) as first:
            async with connect_socket(server.url, dial=server.dial, close_timeout=1):
                stalled = await server.wait_connection(2)
                stalled.stall()
                await echo.close()
                assert (await first.wait_closed()).code == 1001
                assert trio.current_time() <= 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "port 80 is taken by another program"),
        (PermissionError(errno.EACCES, "denied"), "port 80 is not for this user"),
        (OSError(errno.EADDRNOTAVAIL, "no such address"), "cannot listen on port 80: no such address"),
        (ModuleNotFoundError("trustme"), "--tls needs the package trustme"),
    ],
)
async def test_a_server_that_cannot_begin(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    """Says why, in a sentence that names the option."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("trio_socket_task._cli._serve.open_test_server", refuse)
    with pytest.raises(ServeError, match=text):
        await serve(80, Output(), trio.CancelScope(), tls=True, chaos=False)


async def test_an_error_of_the_network_is_none_of_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it serves."""

    async def fail(_server: SocketServer) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("odd")

    monkeypatch.setattr(SocketServer, "serve_forever", fail)
    with pytest.raises(OSError, match="odd"):
        await serve(0, Output(), trio.CancelScope(), tls=False, chaos=False)
