"""The command line from its arguments to what it prints and its exit code."""

from __future__ import annotations

import importlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
from cli.command import run
from cli.terminal import COMMAND, ENVIRONMENT
from conftest import ServeTcp
from deflated import CompressingPeer
from peer import Peer
from peer import echo as echo_peer

from trio_socket_task import CloseEvent, SocketTaskError
from trio_socket_task._cli._output import Output, WriteError
from trio_socket_task._cli._parser import exit_code, main
from trio_socket_task._cli._stats import describe
from trio_socket_task._session._statistics import Traffic
from trio_socket_task.testing import Script, ServerConnection, SocketServer, in_turn, open_test_server


def test_the_demo() -> None:
    """Some twenty lines that show the library at work, in a process of its own."""
    done = subprocess.run([*COMMAND, "demo"], capture_output=True, check=False, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert 15 <= len(lines) <= 25
    for text in (
        "x-served-by = demo, protocol = demo.v1",
        "received '你好, text'",
        "received b'\\x00\\xffbinary'",
        "refused: reason must not exceed 123 bytes of UTF-8 (it has 126)",
        "closed by this side: code 4001, reason of 123 bytes",
        "closed by the server: code 4000, reason 'as you asked'",
        "refused: 5 sockets exist and the policy admits no more",
        "at once: old CLOSING, new CONNECTING",
        "later:   old CLOSED, new OPEN",
    ):
        assert text in done.stdout.decode()


@pytest.mark.parametrize("command", [(), ("connect",), ("probe",), ("run",), ("serve",), ("demo",)])
def test_help_fits_a_screen(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Of 80 columns and 24 lines."""
    with pytest.raises(SystemExit) as done:
        main([*command, "--help"])
    assert done.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The installed one."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


async def test_lines_go_out_and_messages_come_in(socket_server: SocketServer) -> None:
    """Text as it is, binary in hexadecimal; at the end of the input it closes."""

    async def answer(connection: ServerConnection) -> None:
        async for data in connection:
            assert isinstance(data, str)
            await connection.send(data)
            await connection.send(data.encode()[:2])

    socket_server.handler = answer
    done = await run("connect", socket_server.url, lines="hello\nwörld\n".encode())
    assert done.stdout.decode() == "hello\n68 65\nwörld\n77 c3\n"
    assert done.stderr.decode() == f"open: {socket_server.url}\nclosed: 1000\n"
    assert done.returncode == 0


async def test_json(socket_server: SocketServer) -> None:
    """A line for each message and event."""
    socket_server.handler = Script().expect("x").send("text").send(b"\x00\xff").close(1000, "done")
    done = await run("connect", "--json", socket_server.url, lines=b"x\n")
    assert [json.loads(line) for line in done.stdout.decode().splitlines()] == [
        {"event": "open", "words": socket_server.url},
        {"event": "message", "text": "text"},
        {"event": "message", "binary": "AP8="},
        {"event": "close", "code": 1000, "reason": "done"},
    ]
    assert done.stderr == b""


async def test_binary(socket_server: SocketServer) -> None:
    """Lines are hexadecimal; what is not is refused, the rest goes on, and the exit code tells."""
    done = await run("connect", "--binary", "--count", "1", socket_server.url, lines=b"xyz\n00 ff\n")
    assert done.stdout == b"00 ff\n"
    assert "refused: line must be hexadecimal with --binary, not bytes of length 3" in done.stderr.decode()
    assert done.returncode == 1


async def test_count_waits_though_the_input_has_ended(socket_server: SocketServer) -> None:
    """And ends when enough has come."""
    socket_server.handler = Script().sleep(0.1).send("a").send("b").send("c")
    done = await run("connect", "--count", "2", socket_server.url)
    assert done.stdout == b"a\nb\n"
    assert done.returncode == 0


async def test_the_request(socket_server: SocketServer) -> None:
    """Header and subprotocol."""
    arguments = ("--header", "X-Id: 7", "--header", "Token:t", "--protocol", "chat")
    await run("connect", *arguments, socket_server.url)
    (connection,) = socket_server.connections
    assert (connection.header["x-id"], connection.header["token"], connection.protocols) == ("7", "t", ("chat",))


@pytest.mark.parametrize("end", ["drop", "close"])
async def test_a_lost_connection(socket_server: SocketServer, end: str) -> None:
    """The exit code is 1; why, what could not be sent, and the code and reason are printed."""

    async def end_early(connection: ServerConnection) -> None:
        assert await connection.receive() == "x"
        await (connection.close(4001, "go away") if end == "close" else connection.drop())

    socket_server.handler = end_early
    done = await run("connect", socket_server.url, lines=b"x\n" + (b"y" * 2**20 + b"\n") * 50)
    printed = done.stderr.decode().splitlines()
    assert re.match(r"unsent: \d+ lines? of \d{4,} bytes", printed[-2])
    assert printed[-1] == ("closed: 4001 go away" if end == "close" else "closed: 1006")
    assert len(printed) == (3 if end == "close" else 4)
    assert done.returncode == 1


async def test_keep_connects_again(socket_server: SocketServer) -> None:
    """And tells what it is doing, until the server says that it is done."""
    socket_server.handler = in_turn(
        Script().send("a").sleep(0.1).close(1012), Script().send("b").sleep(0.1).close(1000, "done")
    )
    done = await run("connect", "--keep", "--count", "3", socket_server.url)
    assert done.stdout == b"a\nb\n"
    text = done.stderr.decode()
    assert re.search(r"waiting: the server closed with 1012, again in \d\.\d s\n", text)
    assert "connected: connection 2\n" in text
    assert text.endswith("closed: 1000 done\n")
    assert done.returncode == 0


async def test_keep_gives_up(socket_server: SocketServer) -> None:
    """With the reason."""
    socket_server.handler = Script().reject(403)
    done = await run("connect", "--keep", "--count", "1", socket_server.url)
    assert "error: gave up connecting: cannot connect" in done.stderr.decode()
    assert done.returncode == 1


async def test_statistics(socket_server: SocketServer) -> None:
    """A line a second where there is no terminal."""
    socket_server.handler = Script().sleep(1.2).send("a")
    done = await run("connect", "--stats", "--count", "1", socket_server.url)
    assert re.search(r"sent 0/s 0\.0 kB/s, received 0/s 0\.0 kB/s, rtt \d+\.\d ms", done.stderr.decode())


def test_the_words_of_the_statistics() -> None:
    """Differences of a second."""
    now = attrs.evolve(
        Traffic().settled(), messages_sent=3, messages_received=5, bytes_sent=4000, bytes_received=6500, send_buffered=7
    )
    assert describe(Traffic().settled(), now, None) == (
        "sent 3/s 4.0 kB/s, received 5/s 6.5 kB/s, rtt -, buffered 7+0 B"
    )
    compressed = attrs.evolve(now, wire_bytes_sent=4100, wire_bytes_received=1300)
    assert describe(Traffic().settled(), compressed, None) == (
        "sent 3/s 4.0 kB/s, received 5/s 6.5 kB/s (1.3 on the line), rtt -, buffered 7+0 B"
    )


async def test_insecure() -> None:
    """A certificate that nobody knows is refused, unless told otherwise."""
    async with open_test_server(tls=True) as server:
        refused = await run("connect", server.url)
        assert refused.returncode == 1
        assert "certificate verify failed" in refused.stderr.decode()
        done = await run("connect", "--insecure", "--count", "1", server.url, lines=b"hello\n")
        assert (done.returncode, done.stdout) == (0, b"hello\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["connect", "http://a/"], 2, "URL must be absolute"),
        (["probe", "ws://a b/"], 2, "URL must not contain white space"),
        (["connect", "ws://127.0.0.1:1/"], 1, "cannot connect"),
        (
            ["connect", "--header", "nonsense", "ws://a/"],
            2,
            '--header must be "NAME: VALUE", not a text of 8 characters',
        ),
        (["connect", "--count", "0", "ws://a/"], 2, "--count must be a positive number"),
        (["connect", "--timeout", "-1", "ws://a/"], 2, "--timeout must be a positive"),
        (["connect", "--max-size", "0", "ws://a/"], 2, "--max-size must be a positive number"),
        (["probe", "--protocol", "a b", "ws://a/"], 2, "--protocol must contain tokens only"),
    ],
)
def test_errors_are_sentences(arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """2 for a wrong argument, 1 for a connection that failed; no traceback."""
    assert main(arguments) == code
    assert text in capsys.readouterr().err


def test_raw_is_not_for_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sends messages would write to it; nothing is connected to."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["connect", "--raw", "ws://127.0.0.1:1/"]) == 2
    assert "--raw needs standard output to be a file or a pipe" in capsys.readouterr().err


def test_what_nobody_expects_is_raised() -> None:
    """A bug is no exit code, also beside what is expected."""
    with pytest.raises(ExceptionGroup):
        exit_code(ExceptionGroup("several", [ValueError("one"), SocketTaskError()]), Output())


def test_an_interrupt_counts_most() -> None:
    """Whatever else happened while leaving."""
    error = BaseExceptionGroup("several", [ExceptionGroup("inner", [WriteError()]), KeyboardInterrupt()])
    assert exit_code(error, Output()) == 130


def test_the_module_can_be_imported() -> None:
    """Without running anything."""
    assert importlib.import_module("trio_socket_task.__main__")


@pytest.mark.needs("shell")
async def test_a_broken_pipe_is_quiet(socket_server: SocketServer) -> None:
    """As ``trio-socket-task connect ... | head -1``."""

    async def flood(connection: ServerConnection) -> None:
        while True:
            await connection.send("line")

    socket_server.handler = flood
    command = f"{' '.join(COMMAND)} connect --count 100000 {socket_server.url} | head -1; echo ${{PIPESTATUS[0]}}"
    with trio.fail_after(60):
        done = await trio.run_process(["bash", "-c", command], capture_stdout=True, capture_stderr=True, stdin=b"")
    assert done.stdout.decode().split() == ["line", "141"]
    assert done.stderr.decode().splitlines()[1:] in ([], ["closed: 1001"])


async def serving(*arguments: str, end: signal.Signals, use: Callable[[str], Awaitable[object]]) -> tuple[int, str]:
    """Run `serve`, use it, and end it by a signal; return its exit code and what it printed on standard error."""
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [*COMMAND, "serve", "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        printed = b""
        while not printed.endswith(b"\n"):
            data = await process.stdout.receive_some()
            assert data, "the server has ended"
            printed += data
        found = re.match(r"serving on (\S+)", printed.decode())
        assert found is not None
        await use(found[1])
        process.send_signal(end)
        notes = b""
        while data := await process.stderr.receive_some():
            notes += data
        return await process.wait(), notes.decode()


@pytest.mark.needs("signals")
async def test_serve_echoes() -> None:
    """To whoever connects, one after another; Ctrl-C is not lost, though a client has just left."""

    async def use(url: str) -> None:
        for _ in range(3):
            done = await run("connect", "--insecure", "--count", "1", url, lines=b"hello\n")
            assert done.stdout == b"hello\n"

    assert await serving("--tls", end=signal.SIGINT, use=use) == (130, "/ connected\n" * 3)


@pytest.mark.needs("signals")
async def test_serve_with_chaos() -> None:
    """It starts and ends as ever; what it does in between is drawn, and tested fault by fault beside this."""

    async def use(url: str) -> None:
        assert url.startswith("ws://127.0.0.1:")
        await trio.lowlevel.checkpoint()

    assert await serving("--chaos", end=signal.SIGINT, use=use) == (130, "")


@pytest.mark.parametrize("tls", [False, True])
async def test_probe(*, tls: bool) -> None:
    """Each part of a connection, and how long it took."""
    async with open_test_server(tls=tls) as server:
        arguments = ("--insecure", "--protocol", "chat")
        done = await run("probe", *arguments, server.url.replace("127.0.0.1", "localhost"))
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    for part in (
        r"resolution +\d+\.\d\d ms  .*127\.0\.0\.1",
        r"TCP +-?\d+\.\d\d ms",
        *([r"TLS +\d+\.\d\d ms  TLSv1\.3 TLS_"] if tls else []),
        r"handshake +\d+\.\d\d ms  protocol chat",
        r"(?i)sec-websocket-accept: ",
        r"round trip +\d+\.\d\d ms  median of 10 pings",
        r"close +\d+\.\d\d ms  answered with 1000",
    ):
        assert re.search(part, text), (part, text)


@pytest.mark.parametrize("agrees", [True, False])
async def test_probe_says_whether_messages_are_compressed(serve_tcp: ServeTcp, *, agrees: bool) -> None:
    """Where it was asked to offer that."""

    async def script(peer: Peer) -> None:
        if agrees:
            await CompressingPeer(peer).serve()
        else:
            await echo_peer(peer)

    done = await run("probe", "--compress", await serve_tcp(script))
    assert done.returncode == 0
    assert f"protocol none, {'' if agrees else 'not '}compressed" in done.stdout.decode()


def test_the_package_is_typed() -> None:
    """The marker of PEP 561 is installed with it."""
    import trio_socket_task  # noqa: PLC0415

    assert (Path(trio_socket_task.__file__).parent / "py.typed").exists()
    assert CloseEvent.__module__ == "trio_socket_task"
