"""The command line, as a person runs it: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from conftest import ServeTcp
from peer import CLOSE, Peer, close_frame, frame

from trio_socket_task.__main__ import main
from trio_socket_task.testing import Script, SocketServer

COMMAND = [sys.executable, "-P", "-m", "trio_socket_task"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_demo() -> None:
    """Some twenty lines that show the library at work."""
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert 15 <= len(lines) <= 25
    for words in (
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
        assert words in done.stdout


async def talk(url: str, lines: str) -> subprocess.CompletedProcess[bytes]:
    """Run `connect` with lines on its standard input."""
    with trio.fail_after(60):
        return await trio.run_process(
            [*COMMAND, "connect", url], stdin=lines.encode(), capture_stdout=True, capture_stderr=True, check=False
        )


async def test_connect_sends_lines_and_prints_messages(serve_tcp: ServeTcp) -> None:
    """Text as it is, binary in hexadecimal; at the end of the input it closes."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        while (item := await peer.read_frame())[0] != CLOSE:
            await peer.send(frame(1, item[1]), frame(2, item[1][:2]))
        await peer.send(close_frame(1000))
        await peer.stream.aclose()

    url = await serve_tcp(script)
    done = await talk(url, "hello\nwörld\n")
    assert done.stdout.decode() == "hello\n68 65\nwörld\n77 c3\n"
    assert done.stderr.decode() == f"open: {url}\nclosed: 1000\n"
    assert done.returncode == 0


@pytest.mark.parametrize("end", ["drop", "close"])
async def test_connect_tells_of_a_lost_connection(socket_server: SocketServer, end: str) -> None:
    """The exit code is 1, the code and reason are printed, and input that cannot be sent is no traceback."""
    script = Script().expect("x")
    socket_server.handler = script.close(4001, "go away") if end == "close" else script.drop()
    done = await talk(socket_server.url, "x\n" * 1000)
    assert done.stderr.decode().splitlines()[-1] == ("closed: 4001 go away" if end == "close" else "closed: 1006")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("url", "code", "words"), [("http://a/", 2, "url must be absolute"), ("ws://127.0.0.1:1/", 1, "cannot connect")]
)
def test_errors_are_sentences(url: str, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """2 for a wrong argument, 1 for a connection that failed; no traceback."""
    assert main(["connect", url]) == code
    assert words in capsys.readouterr().err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """130, as shells expect."""

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trio, "run", interrupt)
    assert main(["demo"]) == 130


def test_the_package_is_typed() -> None:
    """The marker of PEP 561 is installed with it."""
    import trio_socket_task  # noqa: PLC0415

    assert (Path(trio_socket_task.__file__).parent / "py.typed").exists()
