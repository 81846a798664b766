"""What `serve` does to those who connect, one fault after another."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
import trio.testing

from trio_socket_task import HandshakeError, SocketTaskError, connect_socket
from trio_socket_task._cli._serve import FAULTS, _echo, _misbehave, _serve_badly, _serve_well
from trio_socket_task.testing import ServerConnection, open_memory_server


@pytest.mark.parametrize("words", FAULTS)
async def test_each_fault_ends_the_conversation(autojump_clock: trio.testing.MockClock, words: str) -> None:
    """After what was said before it."""

    async def handler(connection: ServerConnection) -> None:
        await _echo(connection, 1)
        await FAULTS[words](connection)

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
    async with open_memory_server(_serve_badly) as server:
        with suppress(SocketTaskError):
            async with connect_socket(server.url, dial=server.dial) as task:
                for _ in range(5):
                    await task.send("hello")
                    await task.receive()
        if draw == 0.0:
            with pytest.raises(HandshakeError, match="503"):
                async with connect_socket(server.url, dial=server.dial):
                    pass
    words = "is refused with 503" if draw == 0.0 else "connected; after 2 messages it drops the connection"
    assert words in capsys.readouterr().err


async def test_good_days(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Echoes, for as long as the client wants."""
    async with open_memory_server(_serve_well) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            for _ in range(50):
                await task.send("hello")
                assert await task.receive() == "hello"
    assert capsys.readouterr().err == "/ connected\n"


@pytest.mark.parametrize("words", FAULTS)
async def test_a_client_that_has_left_is_spared(autojump_clock: trio.testing.MockClock, words: str) -> None:
    """And the server goes on."""

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        await _misbehave(connection, FAULTS[words])

    async with open_memory_server(handler) as server:
        async with connect_socket(server.url, dial=server.dial):
            pass
        await trio.sleep(1)
