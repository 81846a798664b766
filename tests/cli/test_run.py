"""The command that runs a mini program's JavaScript."""

from __future__ import annotations

import importlib
import signal
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme
from cli.command import run
from cli.terminal import COMMAND, ENVIRONMENT
from conftest import ServeTcp
from peer import Peer, echo

from trio_socket_task.testing import SocketServer

pytestmark = pytest.mark.needs("javascript")

CHAT = """
const task = wx.connectSocket({ url: 'wss://example.test/chat' })
task.onOpen(() => task.send({ data: 'hello' }))
task.onMessage(res => { console.log(res.data); console.warn('a\\nb'); task.close() })
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return the path of a script that says hello."""
    path = tmp_path / "app.js"
    path.write_text(CHAT, encoding="utf-8")
    return path


async def test_a_script_runs_to_its_end(socket_server: SocketServer, app: Path) -> None:
    """What it logs is standard output, what it warns of standard error."""
    done = await run("run", str(app), "--map", f"wss://example.test={socket_server.url}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"a\nb\n")


async def test_files_run_one_after_another(tmp_path: Path) -> None:
    """As pages of one program."""
    (tmp_path / "app.js").write_text("App({ globalData: 'shared' })")
    (tmp_path / "page.js").write_text("Page({ onLoad () { console.log(getApp().globalData, typeof wx, typeof qq) } })")
    files = [str(tmp_path / "app.js"), str(tmp_path / "page.js")]
    done = await run("run", *files, "--vendor", "qq", "--strict")
    assert (done.returncode, done.stdout) == (0, b"shared undefined object\n")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a script and returns its path."""

    def write(source: str) -> str:
        path = tmp_path / "app.js"
        path.write_text(source, encoding="utf-8")
        return str(path)

    return write


async def test_tls_with_an_authority_of_its_own(
    serve_tcp: ServeTcp, script: Callable[[str], str], tmp_path: Path
) -> None:
    """By --cafile; without it the script is told that it cannot connect."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))

    async def answer(peer: Peer) -> None:
        try:
            await echo(peer)
        except Exception:  # noqa: BLE001 (TLS has failed, which the client tells)
            await peer.stream.aclose()

    url = await serve_tcp(answer, context)
    app = script(CHAT.replace("wss://example.test/chat", url) + "\ntask.onError(res => console.log(res.errMsg))")
    done = await run("run", app, "--cafile", str(tmp_path / "authority.pem"))
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    done = await run("run", app)
    assert done.stdout.startswith(b"connectSocket:fail WebSocket connection failed: ")
    done = await run("run", app, "--cafile", app)
    assert (done.returncode, b"--cafile must be a PEM file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("source", "seconds", "code", "error"),
    [
        ("\nnothing", "60", 1, "Uncaught ReferenceError: nothing is not defined\n    at <anonymous> (app.js:2:1)\n"),
        ("\nlet let", "60", 1, "SyntaxError: 'let' is not a valid lexical identifier\n    at app.js:2:5\n"),
        ("setInterval(() => {}, 1000)", "0.1", 124, ""),
    ],
)
async def test_how_it_ends(script: Callable[[str], str], source: str, seconds: str, code: int, error: str) -> None:
    """The exit code says what was wrong."""
    done = await run("run", script(source), "--timeout", seconds)
    assert (done.returncode, done.stderr.decode()) == (code, error)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--map", "wss://a.test"], "--map must be FROM=TO"),
        (["--map", "wss://a.test=b.test"], "--map must map ws or wss URLs to such"),
        (["--map", "wss://a.test/?token=hunter2=ws://b:x/"], "must have a port from 1 to 65535, not 'ws://b:***/'"),
        (["--base-library", "x"], "--base-library must be"),
        (["--timeout", "0"], "--timeout must be"),
        (["nothing.js"], "FILE must be a file that exists and can be reached, not 'nothing.js'"),
    ],
)
async def test_wrong_arguments(app: Path, arguments: list[str], error: str) -> None:
    """Are refused before anything runs."""
    done = await run("run", str(app), *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert error in done.stderr.decode()


async def test_without_the_engine(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to install it."""

    def fail(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", fail)
    done = await run("run", str(app))
    assert done.returncode == 1
    assert b'pip install "trio-socket-task[javascript]"' in done.stderr


@pytest.mark.needs("signals")
async def test_ctrl_c_closes_the_sockets(socket_server: SocketServer, script: Callable[[str], str]) -> None:
    """With 1000, before the process ends; listeners of the close still run."""
    app = script(
        f"const task = wx.connectSocket({{ url: '{socket_server.url}' }})\n"
        "task.onOpen(() => console.log('open')); task.onClose(res => console.log(res.code))"
    )
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([*COMMAND, "run", app], stdout=subprocess.PIPE, env=ENVIRONMENT)
        assert process.stdout is not None
        async with process.stdout as stdout:
            printed = await stdout.receive_some()
            process.send_signal(signal.SIGINT)
            async for chunk in stdout:
                printed += chunk
        assert await process.wait() == 130
    assert printed == b"open\n1000\n"
    assert socket_server.connections[0].close_code == 1000
