"""`--trace` and `--show-body`: a person sees why a server does not do what he wants."""

from __future__ import annotations

import json
import logging
import re

import pytest
from cli.command import run
from conftest import ServeTcp
from peer import PING, TEXT, Peer, frame

from trio_socket_task._cli._parser import main
from trio_socket_task.testing import Script, SocketServer

SECRET = "top-secret"  # noqa: S105 (it is none)


async def test_a_stomp_server_that_closes(socket_server: SocketServer) -> None:
    """What it said before, and with what code; nothing of the header is shown."""
    socket_server.handler = (
        Script().expect("CONNECT").send("ERROR\nmessage:a frame ends with NUL\n\n\x00").close(1002, "bad frame")
    )
    done = await run(
        "connect", "--trace", "--header", f"Authorization: {SECRET}", socket_server.url, lines=b"CONNECT\n"
    )
    told = done.stderr.decode()
    assert done.returncode == 1
    for line in (
        r"trace: #\d+ \d+\.\d ms: connecting to ws://127\.0\.0\.1:\d+/\n",
        r"trace: #\d+ \d+\.\d ms: resolved to 127\.0\.0\.1\n",
        r"trace: #\d+ \d+\.\d ms: connected from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+\n",
        r"trace: #\d+ \d+\.\d ms: handshake done: protocol none, fields Upgrade, Connection, Sec-WebSocket-Accept\n",
        r"trace: #\d+ > TEXT 7 bytes, FIN MASK: CONNECT\n",
        r"trace: #\d+ < TEXT \d+ bytes, FIN: ERROR\\x0amessage:a frame ends with NUL\\x0a\\x0a\\x00\n",
        r"trace: #\d+ < CLOSE 11 bytes, FIN: 1002 bad frame\n",
        r"trace: #\d+ > CLOSE 2 bytes, FIN MASK: 1002\n",
        r"trace: #\d+ \d+\.\d ms: closed with 1002 bad frame; the peer with 1002 bad frame\n",
    ):
        assert re.search(line, told), (line, told)
    assert SECRET not in told


async def test_a_trace_in_json(socket_server: SocketServer) -> None:
    """A line for each, on standard output; and the log is as it was before, afterwards."""
    logger = logging.getLogger("trio_socket_task")
    before = (logger.level, list(logger.handlers))
    done = await run("connect", "--trace", "--json", socket_server.url, lines=b"hello\n")
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.stderr == b""
    words = [event["words"] for event in events if event["event"] == "trace"]
    assert any("> TEXT 5 bytes, FIN MASK: hello" in line for line in words)
    assert (logger.level, logger.handlers) == before


async def test_without_it_nothing_is_traced(socket_server: SocketServer) -> None:
    """Only what happens to the connection is told."""
    done = await run("connect", socket_server.url, lines=b"hello\n")
    assert done.stderr.decode() == f"open: {socket_server.url}\nclosed: 1000\n"


@pytest.mark.parametrize("command", ["connect", "probe"])
async def test_the_body_of_a_refusal(socket_server: SocketServer, command: str) -> None:
    """Line by line, with what a terminal obeys made visible, where it is asked for."""
    socket_server.handler = Script().reject(403, body=b"<h1>No</h1>\r\n\x1b[2Jtoken expired\n")
    shown = await run(command, "--show-body", socket_server.url)
    assert (shown.returncode, shown.stdout) == (1, b"")
    assert shown.stderr.decode().splitlines()[1:] == ["<h1>No</h1>", "\\x1b[2Jtoken expired"]
    hidden = await run(command, socket_server.url)
    assert len(hidden.stderr.splitlines()) == 1


async def test_a_heartbeat(serve_tcp: ServeTcp) -> None:
    """The server is pinged while nothing is typed."""
    pings: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        opcode, payload = await peer.read_frame()
        assert opcode == PING
        pings.append(payload)
        await peer.send(frame(TEXT, b"enough"))
        await peer.echo()

    url = await serve_tcp(script)
    done = await run("connect", "--listen", "--heartbeat", "0.05", "--count", "1", url)
    assert (done.returncode, done.stdout, len(pings)) == (0, b"enough\n", 1)


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan"])
def test_a_heartbeat_is_a_time(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Positive and finite."""
    assert main(["connect", "--heartbeat", value, "ws://127.0.0.1:1/"]) == 2
    assert "--heartbeat must be a positive, finite number of seconds" in capsys.readouterr().err
