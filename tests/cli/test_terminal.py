"""The command line at a terminal."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import trio
from cli.terminal import COLUMNS, at_terminal, render

from trio_socket_task.testing import Script, ServerConnection, SocketServer, in_turn

pytestmark = pytest.mark.needs("terminal")


@pytest.mark.needs("prompt")
async def test_a_conversation(socket_server: SocketServer) -> None:
    """A prompt, time stamps, and nothing that is left over at the end."""
    with trio.fail_after(60):
        async with at_terminal("connect", socket_server.url) as terminal:
            await terminal.until("open: ws[^>]*> ")
            terminal.type(b"hello\n")
            await terminal.until(r"< hello[^>]*> ")
            terminal.type(b"\x04")
            assert await terminal.end() == 0
            rows = [re.sub(r"^\d\d:\d\d:\d\d", "TIME", row) for row in terminal.rows()]
            assert rows == [f"TIME open: {socket_server.url}", "> hello", "TIME < hello", "TIME closed: 1000", ""]
            assert "> > " not in terminal.written


@pytest.mark.needs("prompt")
async def test_messages_come_above_what_is_typed(socket_server: SocketServer) -> None:
    """Also where that is longer than a row."""
    typed = "a" * 100
    with trio.fail_after(60):
        async with at_terminal("connect", socket_server.url) as terminal:
            connection = await socket_server.wait_connection()
            await terminal.until("> ")
            terminal.type(typed.encode())
            await terminal.until("a" * 15 + "$")
            while sum(row.count("a") for row in terminal.rows()) < 100:
                await terminal.until(f"{re.escape(terminal.written)}.")
            await connection.send("first")
            await terminal.until("< first[^>]*> a{100}")
            assert [row for row in terminal.rows() if "aaa" in row] == ["> " + "a" * 78, "a" * 22]
            terminal.type(b"\n")
            await terminal.until("< a{100}")


@pytest.mark.needs("prompt")
async def test_the_server_closes_while_a_line_is_typed(socket_server: SocketServer) -> None:
    """The half line is not lost silently, and no prompt is left."""
    with trio.fail_after(60):
        async with at_terminal("connect", socket_server.url) as terminal:
            connection = await socket_server.wait_connection()
            await terminal.until("> ")
            terminal.type(b"impor")
            await terminal.until("impor")
            await connection.close(1000, "bye")
            assert await terminal.end() == 1
            rows = terminal.rows()
            assert rows[-3:-1] == [rows[-3][:8] + " unsent: 1 line of 5 bytes", rows[-2][:8] + " closed: 1000 bye"]
            assert rows[-1] == ""


@pytest.mark.needs("prompt")
async def test_the_server_closes_at_once(socket_server: SocketServer) -> None:
    """While the prompt is about to appear."""
    socket_server.handler = Script().send("hi").close(1000)
    with trio.fail_after(60):
        async with at_terminal("connect", socket_server.url) as terminal:
            assert await terminal.end() == 0
            assert [row[9:14] for row in terminal.rows()] == ["open:", "< hi", "close", ""]


@pytest.mark.needs("prompt")
async def test_statistics_stand_above_the_prompt(socket_server: SocketServer) -> None:
    """In one row, within the width of the terminal."""
    with trio.fail_after(60):
        async with at_terminal("connect", "--stats", socket_server.url) as terminal:
            await terminal.until(r"sent 0/s[^>]*> $")
            terminal.type(b"x" * 3)
            await terminal.until("xxx$")  # readline shows what is typed without a word to anybody
            connection = await socket_server.wait_connection()
            await connection.send("hello")
            await terminal.until(r"< hello[\s\S]*sent [^>]*> xxx$")
            rows = terminal.rows()
            assert [row[:8] for row in rows if "sent" in row] == ["sent 0/s"]
            assert rows[-2].endswith(" B")
            assert rows[-1] == "> xxx"
            assert len(rows[-2]) < COLUMNS
            terminal.type(b"y" * 2 * COLUMNS + b"\n")
            await terminal.until(r"< x+y+[\s\S]*sent [^>]*> $")
            *typed, answer, _, _ = [row.strip("y") for row in terminal.rows()[2:] if row.strip("y")]
            assert (typed, answer[8:]) == (["> xxx"], " < xxx")  # no figures are left above what was typed
            terminal.type(b"\x15\x04")
            await terminal.end()
            assert not any("sent" in row for row in terminal.rows())


async def test_statistics_without_a_prompt(socket_server: SocketServer) -> None:
    """Below what comes."""
    with trio.fail_after(60):
        async with at_terminal("connect", "--stats", "--listen", socket_server.url) as terminal:
            await terminal.until("sent 0/s")
            connection = await socket_server.wait_connection()
            await connection.send("hello")
            await terminal.until("< hello\r\n.*sent 0/s")
            assert [len(row) < COLUMNS for row in terminal.rows() if "sent" in row] == [True]
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.end() == 130
            assert [row[9:15] for row in terminal.rows()] == ["open: ", "< hell", "closed", ""]


@pytest.mark.parametrize("missing", ["readline", "termios", "a terminal that can erase"])
async def test_plain_lines(socket_server: SocketServer, tmp_path: Path, missing: str) -> None:
    """Are typed without a prompt where there can be none, as on Windows."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{missing!r}] = None")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    arguments = ("connect", "--binary", "--stats", socket_server.url)
    environment = {"PYTHONPATH": path, "TERM": "dumb" if " " in missing else "xterm"}
    with trio.fail_after(60):
        async with at_terminal(*arguments, environment=environment) as terminal:
            await terminal.until("open: ws")
            terminal.type(b"zz\n00ff\n\x04")
            assert await terminal.end() == 1
            assert "refused: line must be hexadecimal with --binary" in terminal.written
            assert "< 00 ff" in terminal.written
            assert "> " not in terminal.written
            assert (" " in missing) <= ("\x1b" not in terminal.written)


@pytest.mark.needs("prompt")
async def test_keep_at_a_terminal(socket_server: SocketServer) -> None:
    """The states come above the prompt."""

    async def echo_once(connection: ServerConnection) -> None:
        await connection.send(await connection.receive())
        await connection.drop()

    socket_server.handler = in_turn(echo_once, Script().expect("two").close(1000))
    with trio.fail_after(60):
        async with at_terminal("connect", "--keep", socket_server.url) as terminal:
            await terminal.until("connected: connection 1")
            terminal.type(b"one\n")
            await terminal.until("connected: connection 2")
            terminal.type(b"two\n")
            assert await terminal.end() in {0, 1}  # whether the drop overtakes the proof of the first is a race
            assert not [row for row in terminal.rows()[1:] if row.count("> ") > 1]


def test_the_terminal_of_the_tests() -> None:
    """Rows, erasing, wrapping."""
    assert render("ab\r\nc\x1b[1A\rX\x1b[J") == ["X"]
    assert render("a" * 81) == ["a" * 80, "a"]
    assert render("ab\b\x1b[Kc\x1b[?2004l") == ["ac"]
