"""What the tutorial's steps print."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import trio
from needs import with_newlines

from trio_socket_task import connect_socket
from trio_socket_task.testing import (
    Handler,
    Script,
    ServerConnection,
    echo,
    hold,
    in_turn,
    open_memory_server,
    open_test_server,
)

pytestmark = pytest.mark.once

pytest_plugins = ["pytester"]

Run = Callable[[int, str], Awaitable[tuple[int, str, str]]]
"""How a step is run: its number and a URL; the exit code, what it printed, and what it complained of."""
DOCS = Path(__file__).parent.parent / "docs"
STEPS = DOCS / "examples" / "tutorial"
PAGE = (DOCS / "tutorial" / "index.md").read_text(encoding="utf-8")


async def run_process(step: int, url: str) -> tuple[int, str, str]:
    """Run a step as a reader does; return its exit code, what it printed, and what it complained of."""
    with trio.fail_after(60):
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [sys.executable, str(STEPS / f"step{step}.py"), url], capture_stdout=True, capture_stderr=True, check=False
        )
    done = with_newlines(done)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def run(step: int, url: str) -> tuple[int, str, str]:
    """Run the main function of a step in this process; return the same."""
    printed, complaint, code = io.StringIO(), "", 0
    with trio.fail_after(60), redirect_stdout(printed):
        try:
            await load(step).main(url)
        except SystemExit as end:
            complaint, code = f"{end.code}\n", 1
    return code, printed.getvalue(), complaint


async def meet(step: int, handler: Handler, run: Run = run) -> tuple[int, str, str]:
    """Run a step against a server."""
    async with open_test_server(handler) as server:
        return await run(step, server.url)


def load(step: int) -> ModuleType:
    """Import a step, to run it in virtual time."""
    spec = spec_from_file_location(f"step{step}", STEPS / f"step{step}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_step_1() -> None:
    """It hears what it said."""
    assert (await meet(1, echo, run_process))[:2] == (0, "heard: hello\n")


async def test_step_1_without_a_server() -> None:
    """It ends with a traceback whose last line is the library's sentence."""
    async with open_test_server() as server:
        pass
    code, _, complaint = await run_process(1, server.url)
    assert code == 1
    assert complaint.splitlines()[-1].startswith(f"trio_socket_task.ConnectError: cannot connect to {server.url}: ")


async def test_step_2() -> None:
    """It hears everything, closes, and says how."""
    printed = "heard: hello\nheard: how are you?\nheard: bye\nclosed: 1000 all is said\n"
    assert (await meet(2, echo, run_process))[:2] == (0, printed)
    assert printed in PAGE


@pytest.mark.parametrize("step", [2, 3])
async def test_a_server_that_closes(step: int) -> None:
    """It ends the loop without an error."""
    code, printed, complaint = await meet(step, Script().expect("hello").send("good night").close(1000, "closing time"))
    assert (code, complaint) == (0, "")
    assert printed.startswith("heard: good night\n")


async def test_step_3() -> None:
    """It hears everything, and has no complaint."""
    assert await meet(3, echo, run_process) == (0, "heard: hello\nheard: how are you?\nheard: bye\n", "")


async def test_step_3_with_a_wrong_url() -> None:
    """It says the rule."""
    complaint = "wrong argument: url must be absolute, starting with ws:// or wss://, not 'http://127.0.0.1:8000/'\n"
    assert await run(3, "http://127.0.0.1:8000/") == (1, "", complaint)
    assert complaint in PAGE


async def test_step_3_without_a_server() -> None:
    """It says that it was never open."""
    async with open_test_server() as server:
        pass
    code, _, complaint = await run(3, server.url)
    assert code == 1
    assert complaint.startswith(f"never open: cannot connect to {server.url}: all attempts to connect to 127.0.0.1:")


async def test_step_3_with_a_refusal() -> None:
    """It says the status."""
    code, _, complaint = await meet(3, Script().reject(403))
    assert code == 1
    assert complaint.startswith("never open: cannot connect to ws://127.0.0.1:")
    assert "403" in complaint


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (Script().expect("hello").drop(), "lost: the connection was lost: "),
        (
            Script().expect("hello").close(1011, "out of memory"),
            "lost: the peer closed the socket with 1011 (internal error): out of memory\n",
        ),
    ],
)
async def test_step_3_with_a_loss(script: Script, words: str) -> None:
    """It says what happened to the connection."""
    code, _, complaint = await meet(3, script)
    assert code == 1
    assert complaint.startswith(words)
    assert words in PAGE


async def test_step_3_with_a_silent_server(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after ten seconds."""
    step = load(3)
    async with open_memory_server(hold) as server:
        monkeypatch.setattr(step, "connect_socket", partial(connect_socket, dial=server.dial))
        began = trio.current_time()
        with pytest.raises(SystemExit, match="too slow: the talk took more than ten seconds"):
            await step.main(server.url)
    assert trio.current_time() - began == pytest.approx(10, abs=1)


async def test_step_4(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It hears its twenty lines while it says them."""
    step = load(4)
    async with open_memory_server() as server:
        monkeypatch.setattr(step, "connect_socket", partial(connect_socket, dial=server.dial))
        await step.main(server.url)
    assert capsys.readouterr().out == "".join(f"heard: line {number}\n" for number in range(1, 21))


async def test_step_4_with_a_server_that_closes() -> None:
    """It ends at once, without an error."""
    script = Script().expect("line 1").send("line 1").close()
    assert await meet(4, script, run_process) == (0, "heard: line 1\n", "")


async def test_step_4_with_a_loss() -> None:
    """It says so, by itself and not as a group."""
    code, _, complaint = await meet(4, Script().expect("line 1").drop())
    assert code == 1
    assert complaint.startswith("ended: the connection was lost: ")
    assert len(complaint.splitlines()) == 1


async def test_step_4_with_a_link_that_is_half_open(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat notices."""
    step = load(4)
    async with open_memory_server(Script().expect("line 1").stall()) as server:
        monkeypatch.setattr(step, "connect_socket", partial(connect_socket, dial=server.dial))
        with pytest.raises(SystemExit) as caught:
            await step.main(server.url)
    assert caught.value.code == "ended: the connection was lost: no pong within 5 seconds"
    assert str(caught.value.code) in PAGE


async def echo_once(connection: ServerConnection) -> None:
    """Let the client join, and echo a line of it."""
    for _ in range(2):
        await connection.send(await connection.receive())


async def crash(connection: ServerConnection) -> None:
    """Do so, and crash."""
    await echo_once(connection)
    await connection.drop()


async def test_step_5() -> None:
    """It comes back after a crash, and ends quietly when the server closes."""
    code, printed, complaint = await meet(5, in_turn(crash, echo_once))
    assert code == 0
    assert "ended: " not in complaint  # though the log may tell of a line that the server has not read
    assert printed.startswith("connecting: \nconnected: \n")
    assert printed.count("connected: ") == 2
    assert "waiting: the connection was lost: " in printed


async def test_step_5_where_it_is_not_welcome() -> None:
    """It gives up, and says why."""
    code, _, complaint = await meet(5, Script().reject(403), run_process)
    assert code == 1
    assert "ended: gave up connecting: cannot connect to ws://127.0.0.1:" in complaint


def test_the_test_of_step_5(pytester: pytest.Pytester) -> None:
    """It passes in a project of its own."""
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    for name in ("step5.py", "test_step5.py"):
        shutil.copy(STEPS / name, pytester.path)
    pytester.syspathinsert()
    pytester.runpytest_inprocess().assert_outcomes(passed=4)


def test_the_page_has_every_step() -> None:
    """Each file that there is."""
    for path in STEPS.glob("*.py"):
        assert f"{{literalinclude}} ../examples/tutorial/{path.name}\n" in PAGE
