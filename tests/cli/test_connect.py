"""The command `connect`, in this process and in virtual time."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_socket_task import ConnectOptions, Dial
from trio_socket_task._cli._connect import Settings, run_connect
from trio_socket_task._cli._input import Line, Lines
from trio_socket_task._cli._output import Output
from trio_socket_task.testing import Script, ServerConnection, in_turn, open_memory_server

URL = "ws://memory.test/"


class Typed:
    """An input that is there from the beginning."""

    def __init__(self, lines: Iterable[bytes], *, pause: float = 0.0, endless: bool = False) -> None:
        self._lines = list(lines)
        self._pause = pause
        self._endless = endless

    async def next(self) -> Line | None:
        await trio.sleep(self._pause)
        if self._lines:
            line = self._lines.pop(0)
            return Line(line, len(line))
        if self._endless:
            await trio.sleep_forever()
        return None

    def rest(self) -> tuple[int, int]:
        return len(self._lines), sum(map(len, self._lines))


def settings(dial: Dial, *lines: bytes, as_json: bool = False, **more: object) -> Settings:
    """Return what is asked for: to send these lines."""
    asked: dict[str, object] = {
        "source": Typed(lines),
        "binary": False,
        "count": None,
        "keep": False,
        "statistics": False,
        "pong": 5.0,
        "delivery": 10.0,
        **more,
    }
    options = ConnectOptions(dial=dial, close_timeout=5)
    return Settings(url=URL, options=options, output=Output(as_json=as_json), **asked)  # type: ignore[arg-type]


class Unreachable:
    """A server that is not there, but for those who come back often enough."""

    def __init__(self, dial: Dial | None = None, refusals: float = float("inf")) -> None:
        self._dial = dial
        self._refusals = refusals

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self._refusals -= 1
        if self._dial is None or self._refusals >= 0:
            raise ConnectionRefusedError
        return await self._dial(host, port)


async def test_keep_delivers_when_the_server_comes(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was piped while the server was down."""
    async with open_memory_server() as server:
        assert await run_connect(settings(Unreachable(server.dial, 3).dial, b"important", keep=True)) == 0
        assert server.connections[0].received == ["important"]
    written = capsys.readouterr()
    assert written.out == "important\n"
    assert written.err.startswith("connecting: attempt 1\nwaiting: cannot connect to ws://memory.test/: ")
    assert written.err.endswith("connected: connection 1\nclosed: 1000\n")


async def test_keep_ends_where_it_is_connected(autojump_clock: trio.testing.MockClock) -> None:
    """And everything is delivered."""
    async with open_memory_server() as server:
        assert await run_connect(settings(server.dial, source=Typed([b"a", b"b"], pause=1.0), keep=True)) == 0
        assert server.connections[0].received == ["a", "b"]


async def test_keep_says_what_is_not_delivered(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the end of the time that delivery may take; what was never open is not told to be closed."""
    assert await run_connect(settings(Unreachable().dial, b"important", b"also", keep=True, as_json=True)) == 1
    assert 10 <= trio.current_time() < 11
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0] == {"event": "connecting", "words": "attempt 1", "attempt": 1}
    assert events[1]["event"] == "waiting"
    assert 0 < events[1]["delay"] < 1
    errors = [event["words"] for event in events if event["event"] == "error"]
    assert errors == ["not connected within 10 s after the end of the input"]
    assert [event["messages"] for event in events if event["event"] == "undelivered"] == [2]
    assert "close" not in [event["event"] for event in events]


async def test_keep_without_proof(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is connected, and shows not to have read, is not waited for any longer."""

    async def deaf(connection: ServerConnection) -> None:
        await connection.accept()
        connection.stall()
        await trio.sleep(60)

    async with open_memory_server(deaf) as server:
        assert await run_connect(settings(server.dial, b"important", keep=True, delivery=3.0)) == 1
    assert "undelivered: 1 message, as nothing shows that the server has read it\n" in capsys.readouterr().err


async def test_a_loss_is_told_when_it_happens(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """And counts, although the next connection is good."""

    async def drop(connection: ServerConnection) -> None:
        await connection.accept()
        connection.stall()
        await trio.sleep(1)
        await connection.drop()

    async with open_memory_server(in_turn(drop, Script().sleep(2).close(1000))) as server:
        assert await run_connect(settings(server.dial, source=Typed([b"x", b"y"], endless=True), keep=True)) == 1
    lines = capsys.readouterr().err.splitlines()
    (told,) = [line for line in lines if line.startswith("undelivered: ")]
    assert told == "undelivered: 2 messages, as nothing shows that the server has read them"
    assert lines.index(told) < lines.index("connected: connection 2")


async def test_keep_gives_up_once(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is printed once, and for a program with the refusal's status and body."""
    refusal = Script().reject(403, body=b'{"error": "no"}')
    async with open_memory_server(in_turn(refusal, refusal)) as server:
        assert await run_connect(settings(server.dial, source=None, keep=True)) == 1
        text = capsys.readouterr().err
        assert await run_connect(settings(server.dial, source=None, keep=True, as_json=True)) == 1
    assert text.count("the server answered 403") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [event for event in events if event["event"] == "error"]
    assert (error["kind"], error["status"], error["body"]) == ("GaveUpError", 403, '{"error": "no"}')
    assert "stopped" in [event["event"] for event in events]


async def test_what_the_server_did_not_want(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It closes normally, but there was more to send: that is said, and the exit code is not 0."""
    block = b"x" * 2**20
    async with open_memory_server(Script().expect("x").close(1000, "enough")) as server:
        many = [b"x", *[block] * 20]
        assert await run_connect(settings(server.dial, *many)) == 1
        lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"open: {URL}"
    assert lines[1].startswith("unsent: ")
    assert lines[2:] == ["closed: 1000 enough"]


async def test_what_the_server_does_not_read(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is not taken for sent, though this side has closed normally."""

    async def deaf(connection: ServerConnection) -> None:
        await connection.accept()
        connection.stall()
        await trio.sleep(60)

    async with open_memory_server(deaf) as server:
        assert await run_connect(settings(server.dial, b"x" * 2**20)) == 1
    assert "unsent: " in capsys.readouterr().err


async def test_count_leaves_the_rest_of_the_input(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Because enough has come, as was asked for."""
    async with open_memory_server() as server:
        assert await run_connect(settings(server.dial, *[b"x" * 2**20] * 30, count=2)) == 0
    assert "unsent" not in capsys.readouterr().err


async def test_listening(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """For as long as the server likes, without an input."""
    async with open_memory_server(Script().sleep(1000).send("late").close(1000)) as server:
        assert await run_connect(settings(server.dial, source=None)) == 0
    assert capsys.readouterr().out == "late\n"


async def test_statistics_without_pongs(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """They come every second all the same, also as JSON; so they do before there is a connection."""

    async def deaf(connection: ServerConnection) -> None:
        await connection.accept()
        await connection.send("hello")
        connection.stall()
        await trio.sleep(5.2)
        await connection.drop()

    async with open_memory_server(deaf) as server:
        assert await run_connect(settings(server.dial, source=None, statistics=True, as_json=True)) == 1
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        figures = [event for event in events if event["event"] == "statistics"]
        assert [event["rtt"] for event in figures] == [None] * 5
        assert figures[-1]["messages_received"] == 1
        with trio.move_on_after(3.5):
            await run_connect(settings(Unreachable().dial, source=None, statistics=True, keep=True))
    assert capsys.readouterr().err.count("rtt -") == 3


async def test_statistics_with_pongs(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The latest round trip."""
    async with open_memory_server(Script().sleep(2.5).close()) as server:
        assert await run_connect(settings(server.dial, source=None, statistics=True, keep=True)) == 0
    assert capsys.readouterr().err.count("rtt 0.0 ms") == 2


async def test_the_protocol_is_told(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the server has chosen one; the URL without its query."""
    async with open_memory_server(Script().close(4000, "no")) as server:
        asked = settings(server.dial, source=None, as_json=True)
        options = ConnectOptions(dial=server.dial, protocols=["chat"])
        asked_for = Settings(
            url=URL + "?token=secret",
            options=options,
            output=asked.output,
            source=None,
            binary=False,
            count=None,
            keep=False,
            statistics=False,
            pong=1,
            delivery=1,
        )
        assert await run_connect(asked_for) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "open", "words": URL + "?***", "protocol": "chat"},
        {"event": "close", "code": 4000, "reason": "no"},
    ]


@pytest.mark.needs("folders as files")
async def test_input_that_cannot_be_read(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Is told, and is no success."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        async with open_memory_server() as server:
            assert await run_connect(settings(server.dial, source=Lines(folder))) == 1
    finally:
        os.close(folder)
    assert f"error: cannot read standard input: {os.strerror(errno.EISDIR)}\n" in capsys.readouterr().err
