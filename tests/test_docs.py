"""What the pages print runs.

A comment before a block says how: ``<!-- module: NAME -->`` saves it for the others of its page,
``<!-- pytest: passes -->`` and ``<!-- pytest: fails PATTERN -->`` run it as a test file,
``<!-- program: OUTPUT -->`` as a program against a server that answers; ``<!-- pytest: skip (REASON) -->`` does not.
"""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from runpy import run_path

import pytest
import trio

from trio_socket_task.testing import Script, ServerConnection, open_test_server

pytestmark = pytest.mark.once

pytest_plugins = ["pytester"]

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"(?:<!-- (\w+): (.*?) -->\n)?```python\n(.*?)```", re.DOTALL)
BLOCKS = [
    pytest.param(
        path,
        *found.groups(),
        id=f"{path.stem}-{number}",
        marks=[pytest.mark.needs("javascript")] if "javascript" in path.stem else [],
    )
    for path in sorted(DOCS.glob("*/*.md"))
    for number, found in enumerate(BLOCK.finditer(path.read_text(encoding="utf-8")), 1)
]


def modules(path: Path) -> dict[str, str]:
    """Give the modules of a page."""
    found = BLOCK.findall(path.read_text(encoding="utf-8"))
    return {name: source for kind, name, source in found if kind == "module"}


@pytest.mark.parametrize(("path", "kind", "how", "source"), BLOCKS)
def test_a_block_says_how_it_runs(path: Path, kind: str | None, how: str | None, source: str) -> None:
    """None lies about."""
    assert kind in {"module", "pytest", "program"}, f"say in a comment of {path} how this runs:\n{source}"


@pytest.mark.parametrize(
    ("path", "kind", "how", "source"),
    [block for block in BLOCKS if block.values[1] == "pytest" and not str(block.values[2]).startswith("skip (")],
)
def test_a_test_runs(pytester: pytest.Pytester, path: Path, kind: str, how: str, source: str) -> None:
    """With the outcome that the page says."""
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.makepyfile(**modules(path), test_page=source)
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess()
    if how == "passes":
        assert result.ret == 0, result.stdout.str()
    else:
        assert result.ret == 1
        assert re.search(how.removeprefix("fails "), result.stdout.str())


async def answer(connection: ServerConnection) -> None:
    """Answer the first message."""
    await connection.receive()
    await connection.send("hi there")
    await connection.wait_closed()


@pytest.fixture
def logs() -> Iterator[None]:
    """Leave the loggers as they were: a program sets them for its whole process, which other tests are in."""
    loggers = [logging.getLogger(name) for name in (None, "trio_socket_task", "trio_socket_task.frames")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize(("path", "kind", "how", "source"), [block for block in BLOCKS if block.values[1] == "program"])
@pytest.mark.usefixtures("logs")
async def test_a_program_runs(tmp_path: Path, path: Path, kind: str, how: str, source: str) -> None:
    """And prints what the page says."""
    async with open_test_server(answer) as server:
        program = re.sub(r"wss://example\.org/\w*", server.url, source)
        (tmp_path / "program.py").write_text(program, encoding="utf-8")
        printed = io.StringIO()
        with trio.fail_after(60), redirect_stdout(printed):  # in a thread, because it starts Trio
            await trio.to_thread.run_sync(partial(run_path, str(tmp_path / "program.py"), run_name="__main__"))
    assert how in printed.getvalue()


async def test_the_first_program_runs() -> None:
    """The one that the front page shows."""
    async with open_test_server(Script().expect("hello").send("hi there").close()) as server:
        with trio.fail_after(60):
            done: subprocess.CompletedProcess[bytes] = await trio.run_process(
                [sys.executable, str(DOCS / "examples" / "hello.py"), server.url], capture_stdout=True
            )
    assert done.stdout.decode().splitlines() == ["hi there"]
