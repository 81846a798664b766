"""The hazards of the command line, as processes on pipes and on pseudo-terminals where that is the point.

Ids such as V3 are rows of the tables in `docs/explanation/reliability.md`; more cases of each are in `tests/cli`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from functools import partial

import pytest
import trio
from cli.command import run
from cli.terminal import COMMAND, ENVIRONMENT, at_terminal
from conftest import ServeTcp
from needs import with_newlines
from peer import CLOSE, PONG, TEXT, Peer, close_frame, echo, frame

from trio_socket_task._cli._output import Output
from trio_socket_task._cli._parser import main
from trio_socket_task._cli._probe import probe
from trio_socket_task.testing import Script, ServerConnection, SocketServer

EVIL = "\x1b]52;c;cm0gLXJmIH4=\x07 \x1b[2J \x9b31m \r\n12:00:00 < forged\x7f"
SHOWN = r"\x1b]52;c;cm0gLXJmIH4=\x07 \x1b[2J \x9b31m \x0d\x0a12:00:00 < forged\x7f"
IDS = ("v3", "v4", "e4", "e5")
Completed = subprocess.CompletedProcess[bytes]


async def run_process(*arguments: str, lines: bytes, environment: dict[str, str]) -> Completed:
    """Run the command line to its end in a process of its own; no traceback ever."""
    with trio.fail_after(60):
        done: Completed = await trio.run_process(
            [*COMMAND, *arguments],
            stdin=lines,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=ENVIRONMENT | environment,
        )
    assert b"Traceback" not in done.stderr
    return with_newlines(done)


async def run_in_shell(command: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command line in a shell, where `command` says so by "$@"; return what the shell does."""
    with trio.fail_after(60):
        done: Completed = await trio.run_process(
            ["bash", "-c", command, "bash", *COMMAND, *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=ENVIRONMENT,
        )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def events(output: bytes | str) -> list[dict[str, object]]:
    """Read lines of JSON."""
    return [json.loads(line) for line in output.splitlines()]


async def evil(peer: Peer) -> None:
    """Send control characters in every place that reaches a person."""
    await peer.accept("X-Evil: a\x9b2J", then=frame(TEXT, EVIL.encode()) + close_frame(4000, EVIL))
    await peer.read_close()
    await peer.stream.aclose()


async def refuse(peer: Peer) -> None:
    """Refuse with control characters, and a body that explains."""
    await peer.read_request()
    body = b'{"error": "token expired"}'
    head = "HTTP/1.1 403 no\x9b2Jway\r\nContent-Type: application/json\r\nLocation: x\x9b\r\n"
    await peer.stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)
    await peer.read_end()


async def never_pong(peer: Peer) -> None:
    """Answer nothing but the handshake."""
    await peer.accept()
    await peer.read_end()


# V3: control characters to a person's terminal


@pytest.mark.needs("terminal")
async def test_v3_nobody_else_writes_to_a_terminal(serve_tcp: ServeTcp) -> None:
    """Messages and close reasons are shown, not obeyed, and make one line each."""
    url = await serve_tcp(evil)
    with trio.fail_after(60):
        async with at_terminal("connect", url) as terminal:
            assert await terminal.end() == 1
            assert [row[9:] for row in terminal.rows() if "forged" in row] != []
            joined = "".join(terminal.rows())
            assert f"< {SHOWN}" in joined
            assert f"closed: 4000 {SHOWN}" in joined
            assert "\x9b" not in terminal.written
            assert "\x1b]" not in terminal.written
            assert "\x1b[2J" not in terminal.written


async def test_v3_nor_to_a_pipe_that_ends_at_one(serve_tcp: ServeTcp) -> None:
    """Unless messages are asked for as they are; header fields and refusals are shown, too."""
    url, refusing = await serve_tcp(evil), await serve_tcp(refuse)
    done = await run("connect", "--listen", url)
    assert done.stdout.decode() == SHOWN + "\n"
    assert done.stderr.decode() == f"open: {url}\nclosed: 4000 {SHOWN}\n"
    done = await run("connect", "--listen", "--raw", url)
    assert done.stdout == EVIL.encode() + b"\n"
    assert done.stderr.decode() == f"open: {url}\nclosed: 4000 {SHOWN}\n"
    done = await run("probe", url)
    assert "    X-Evil: a\xc2\\x9b2J\n" in done.stdout.decode()
    done = await run("connect", refusing)
    assert "the server answered 403 no\\x9b2Jway; it points to x\\x9b" in done.stderr.decode()


async def test_v3_json_has_no_control_characters(serve_tcp: ServeTcp) -> None:
    """Because it may end at a terminal, too; a program reads the very same text."""
    done = await run("connect", "--listen", "--json", await serve_tcp(evil))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout.decode())
    assert events(done.stdout)[1:] == [
        {"event": "message", "text": EVIL},
        {"event": "close", "code": 4000, "reason": EVIL},
    ]


# V4: whatever a user or a server does


async def test_v4_input_is_not_lost_when_the_server_is_down() -> None:
    """`--keep` waits for it, and says what was not delivered."""
    done = await run("connect", "--keep", "--timeout", "0.5", "ws://127.0.0.1:1/", lines=b"important\n")
    assert done.returncode == 1
    words = done.stderr.decode()
    assert "error: not connected within 0.5 s after the end of the input\n" in words
    assert "undelivered: 1 message, as nothing shows that the server has read it\n" in words


async def test_v4_a_ping_without_a_pong(serve_tcp: ServeTcp, capsys: pytest.CaptureFixture[str]) -> None:
    """`probe` says so after `--timeout`, closes, and prints the rest."""
    with trio.fail_after(60):
        assert await probe(await serve_tcp(never_pong), {"close_timeout": 0.1}, Output(), 0.1) == 1
        assert await probe(await serve_tcp(echo), {"close_timeout": 5}, Output(), 5) == 0

        async def one_pong(peer: Peer) -> None:
            await peer.accept()
            await peer.send(frame(PONG, (await peer.read_frame())[1]), close_frame(1013, "later"))
            while (await peer.read_frame())[0] != CLOSE:
                pass

        assert await probe(await serve_tcp(one_pong), {"close_timeout": 5}, Output(), 5) == 1
    first, second, third = re.split(r"(?m)^(?=ws:)", capsys.readouterr().out)[1:]
    assert "no pong within 0.1 s to ping 1\n" in first
    assert re.search(r"close +\d+\.\d\d ms  no answer\n", first)
    assert re.search(r"close +\d+\.\d\d ms  answered with 1000\n", second)
    assert "round trip         -     the peer closed the socket with 1013 (try again later): later" in third
    assert "the server closed with 1013 later\n" in third


@pytest.mark.needs("shell")
@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.needs("full device"))])
async def test_v4_streams_that_are_closed_or_full(socket_server: SocketServer, *, full: bool) -> None:
    """Lead to an exit code and a sentence where somebody can read it."""

    async def check(redirection: str, code: int, out: str, err: str | None) -> None:
        done = await run_in_shell(redirection, "connect", socket_server.url)
        assert done[:2] == (code, out), redirection
        assert err is None or (err in done[2] if code else err == done[2]), redirection

    closed = f"open: {socket_server.url}\nclosed: 1000\n"
    cannot_write = f"cannot write to standard output: {os.strerror(errno.ENOSPC)}\n"
    async with trio.open_nursery() as nursery:  # in which they run at the same time
        if full:
            nursery.start_soon(check, 'echo hi | "$@" >/dev/full', 1, "", cannot_write)
            nursery.start_soon(check, 'echo hi | "$@" 2>/dev/full', 0, "hi\n", None)
            nursery.start_soon(check, '(echo hi; sleep 0.5) | "$@" | true; exit ${PIPESTATUS[1]}', 141, "", None)
        else:
            nursery.start_soon(check, '"$@" <&-', 0, "", closed)
            nursery.start_soon(check, '"$@" </dev/null', 0, "", closed)
            nursery.start_soon(check, 'echo hi | "$@" >&-', 0, "", closed)
            nursery.start_soon(check, 'echo hi | "$@" 2>&-', 0, "hi\n", None)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
async def test_v4_any_locale(socket_server: SocketServer, encoding: str) -> None:
    """What cannot be encoded is written as an escape; what cannot be decoded is refused, and the rest is sent."""
    lines = "é漢\n".encode() + b"\xff\xfe\x81\n"
    done = await run_process("connect", socket_server.url, lines=lines, environment={"PYTHONIOENCODING": encoding})
    (connection,) = socket_server.connections
    sent, printed = {
        "ascii": ("é漢", r"\xe9\u6f22"),
        "cp1252": ("é漢".encode().decode("cp1252"), "é漢".encode().decode("cp1252")),
    }[encoding]
    assert connection.received[0] == sent
    assert done.stdout.decode(encoding).startswith(printed)
    assert (done.returncode, done.stderr.count(b"refused: line must be text in")) == (1, 1)


@pytest.mark.needs("prompt")
async def test_v4_invalid_input_at_the_prompt(socket_server: SocketServer) -> None:
    """In an ASCII locale as well."""
    plain = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    with trio.fail_after(60):
        async with at_terminal("connect", socket_server.url, environment=plain) as terminal:
            await terminal.until("open: ws[^>]*> ")
            terminal.type(b"\xff\xfe\n")
            await terminal.until("refused: line must be text in [^>]*> ")
            terminal.type("é\n".encode())
            await terminal.until(r"< \\xe9[^>]*> $")  # before it, readline would not take the end for one
            terminal.type(b"\x04")
            assert await terminal.end() == 1
            assert terminal.rows()[-1] == ""


async def test_v4_one_header_twice(socket_server: SocketServer) -> None:
    """Both go out: as one field, whose values are joined as the field has it."""
    fields = ["Cookie: a=1", "cookie: b=2", "X-Id: 1", "x-id: 2"]
    arguments = [word for field in fields for word in ("--header", field)]
    await run("connect", *arguments, socket_server.url)
    header = socket_server.connections[0].header
    assert (header["cookie"], header["x-id"]) == ("a=1; b=2", "1, 2")


async def test_v4_json_from_the_first_event_to_the_last(socket_server: SocketServer) -> None:
    """States, messages, what was not sent, and the close with code and reason; nothing on standard error."""
    socket_server.handler = Script().expect("x").send("a").close(3000, "no more")
    done = await run("connect", "--json", socket_server.url, lines=b"x\n" * 9)
    found = events(done.stdout)
    assert found[:2] == [{"event": "open", "words": socket_server.url}, {"event": "message", "text": "a"}]
    assert found[-1] == {"event": "close", "code": 3000, "reason": "no more"}
    socket_server.handler = Script().expect("x").close(1000, "done")
    done = await run("connect", "--json", "--keep", socket_server.url, lines=b"x\n")
    names = [event["event"] for event in events(done.stdout)]
    assert names[:2] + names[-1:] == ["connecting", "connected", "close"]
    assert done.stderr == b""


def test_v4_json_of_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where there was no connection, or no attempt."""
    assert main(["connect", "--json", "ws://127.0.0.1:1/?token=secret"]) == 1
    assert main(["connect", "--json", "http://a/"]) == 2
    assert main(["connect", "--json", "--timeout", "nan", "ws://a/"]) == 2
    refused, wrong, endless = events(capsys.readouterr().out)
    assert (refused["event"], refused["kind"]) == ("error", "ConnectError")
    assert "ws://127.0.0.1:1/?***" in str(refused["words"])
    assert str(wrong["words"]).startswith("URL must be absolute")
    assert str(endless["words"]).startswith("--timeout must be a positive, finite number")


async def test_v4_listening_without_input(socket_server: SocketServer) -> None:
    """`--listen` prints until the server closes, though standard input is at its end."""
    socket_server.handler = Script().sleep(0.6).send("late").close(1000)
    done = await run("connect", "--listen", socket_server.url)
    assert (done.returncode, done.stdout) == (0, b"late\n")


@pytest.mark.parametrize("port", ["-1", "65536", "99999999999999999999"])
def test_v4_a_port_out_of_range(capsys: pytest.CaptureFixture[str], port: str) -> None:
    """Is refused before anything else."""
    assert main(["serve", "--port", port]) == 2
    assert f"--port must be from 0 to 65535, not {port}" in capsys.readouterr().err


def test_v4_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """Is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"trio-socket-task: port {port} is taken by another program; choose another one with --port, "
        "or --port 0 for any free one\n"
    )


async def end_by(number: signal.Signals, arguments: Sequence[str], ready: bytes, meanwhile: object = None) -> int:
    """Start a command that is to run for ever, and end it by a signal once it has printed something."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT
    )
    assert process.stdout is not None
    printed = b""
    while ready not in printed:
        data = await process.stdout.receive_some()
        assert data, (printed, "the command has ended")
        printed += data
    if isinstance(meanwhile, partial):
        await meanwhile(printed)
    process.send_signal(number)
    while data := await process.stdout.receive_some():
        printed += data
    assert b"Traceback" not in printed
    return await process.wait()


@pytest.mark.needs("signals")
async def test_v4_signals_close_the_connection(socket_server: SocketServer) -> None:
    """With 1001, and with the exit code that shells expect."""

    async def check(name: str) -> None:
        number = signal.Signals[name]
        assert await end_by(number, ["connect", socket_server.url + name], b"open: ") == 128 + number, name

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:  # in which they run at the same time
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                nursery.start_soon(check, name)
        for connection in socket_server.connections:
            await connection.wait_closed()
    closes = {connection.path: connection.close_code for connection in socket_server.connections}
    assert closes == {"/SIGINT": 1001, "/SIGTERM": 1001, "/SIGHUP": 1001}


@pytest.mark.needs("signals")
async def test_v4_a_server_ends_well() -> None:
    """On SIGTERM its clients are told 1001; clients that reset or babble have not harmed it."""
    closes: list[int] = []

    async def meet(printed: bytes) -> None:
        port = int(printed.decode().rstrip("/\n").rpartition(":")[2])
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", request + b"\xff" * 99):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            if data:
                await stream.send_all(data)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
        nursery.start_soon(listen, await trio.open_tcp_stream("127.0.0.1", port))
        await connected.wait()

    async def listen(stream: trio.SocketStream) -> None:
        await stream.send_all(request)
        received = b""
        while data := await stream.receive_some():
            received += data
            connected.set()
            if b"\x88" in received:
                closes.append(int.from_bytes(received.partition(b"\x88")[2][1:3], "big"))
                await stream.aclose()
                return

    connected = trio.Event()
    request = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            assert await end_by(signal.SIGTERM, ["serve", "--port", "0"], b"serving on ", partial(meet)) == 143
    assert closes == [1001]


@pytest.mark.needs("prompt")
async def test_v4_one_prompt(socket_server: SocketServer) -> None:
    """Before, between and after messages; none is left when the server has closed."""

    async def greet(connection: ServerConnection) -> None:
        for number in range(20):
            await connection.send(f"message {number}")
        await connection.receive()
        await connection.close(1000)

    socket_server.handler = greet
    with trio.fail_after(60):
        async with at_terminal("connect", "--stats", socket_server.url) as terminal:
            await terminal.until(r"message 19[^>]*> [^>]*sent [^>]*> $")
            assert [row for row in terminal.rows() if row.startswith("> ")] == ["> "]
            assert all(len(row) <= 80 for row in terminal.rows())
            terminal.type(b"bye\n")
            assert await terminal.end() == 0
            assert [row for row in terminal.rows() if "> " in row] == ["> bye"]
            assert terminal.rows()[-2].endswith("closed: 1000")


def test_v4_what_may_be_a_secret_is_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """Where quotes or the command were forgotten, or a rule is broken; what to do is said all the same."""
    field, key = "Authorization: Bearer hunter2", "-----BEGIN PRIVATE KEY-----\nhunter2"
    needs_quotes, unknown = 'with a blank needs quotes, as in --header "NAME: VALUE"', "arguments are unknown: "
    for arguments, words in (
        (["connect", "--header", "Authorization:", "Bearer", "hunter2", "ws://a/"], needs_quotes),
        (["connect", "--header", "Authorization:", "Bearer hunter2"], needs_quotes),
        (["connect", "bearer hunter2 ws://a/"], needs_quotes),
        (["connect", "--token=hunter2", "ws://a/"], unknown + "--token; "),
        (["connect", f"--he={field}", "ws://a/"], unknown + "--he; "),
        (["connect", f"--he={field}"], unknown + "--he; "),
        (["connect", "--he=hunter2", "ws://a/"], unknown + "--he; "),
        (["run", "--ma=hunter2 b", "a.js"], unknown + "--ma; "),
        (["--header", field, "ws://a/"], "the command comes first, and is one of connect, probe, run, serve, demo"),
        (["connect", "ws://a/", "--timeout", "Bearer hunter2"], "argument --timeout: invalid float value; see trio-"),
        (["connect", "ws://a/", "--count", "it's hunter2"], "argument --count: invalid int value; see trio-"),
        (["connect", "ws://a/", "--json=hunter2"], "argument --json: ignored explicit argument; see trio-"),
        (["connect", "--raw", "--json", "ws://a/?hunter2"], "argument --json: not allowed with argument --raw"),
        (["run", "--vendor", "hunter2", "a.js"], "argument --vendor: invalid choice; see trio-"),
        (["probe", "--key", key, "wss://a/"], "argument --key: must be the name of a file"),
        (["probe", "--header", "hunter2", "ws://a/"], '--header must be "NAME: VALUE"'),
        (["probe", "--header", "A: hunter2\x1b", "ws://a/"], "--header must"),
        (["probe", "ws://me:hunter2@a/"], "put credentials into --header"),
    ):
        try:
            code: object = main(arguments)
        except SystemExit as done:
            code = done.code
        written = capsys.readouterr()
        assert (code, written.out) == (2, ""), arguments
        assert "hunter2" not in written.err, arguments
        assert words in written.err, arguments


@pytest.mark.parametrize("option", ["--cafile", "--cert", "--key"])
def test_v4_a_file_without_a_name(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """As of a variable of the shell that is empty: it would be as if the option were not there."""
    with pytest.raises(SystemExit):
        main(["connect", option, "", "wss://a/"])
    assert f"argument {option}: must be the name of a file, neither empty" in capsys.readouterr().err


def test_v4_a_file_that_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """Because no file can have such a name."""
    assert main(["run", "x" * 5000]) == 2
    assert "FILE must be a file that exists and can be reached, not 'xxx" in capsys.readouterr().err


# E4 and E5: what is said


async def test_e4_the_body_of_a_refusal_is_printed_once(serve_tcp: ServeTcp) -> None:
    """As a field for a program; for a person in the sentence, be there another attempt or not."""
    url = await serve_tcp(refuse)
    done = await run("connect", "--json", url)
    (error,) = events(done.stdout)
    assert (error["event"], error["status"], error["body"]) == ("error", 403, '{"error": "token expired"}')
    for arguments in ([], ["--keep"]):
        done = await run("connect", *arguments, url)
        assert (done.returncode, done.stderr.count(b"the server answered 403")) == (1, 1)
        assert done.stderr.count(b"token expired") <= 1


def test_e5_time_outs_name_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    """And every other rule that names an argument of a program."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        assert main(["connect", "--timeout", "0.1", url]) == 1
    written = capsys.readouterr().err
    assert "--timeout" in written
    assert "timeout=" not in written


async def test_e5_a_message_that_is_too_big(socket_server: SocketServer) -> None:
    """Names the option that lets it in."""
    socket_server.handler = Script().send("x" * 100)
    done = await run("connect", "--listen", "--max-size", "10", socket_server.url)
    assert done.returncode == 1
    assert b"raise --max-size to receive it" in done.stderr
    done = await run("connect", "--listen", "--max-size", "100", "--count", "1", socket_server.url)
    assert done.returncode == 0


def test_every_hazard_of_the_command_line_has_a_test() -> None:
    """By its id in a name of this file."""
    found = {name.split("_")[1] for name in globals() if name.startswith("test_")}
    assert found >= set(IDS)
