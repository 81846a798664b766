"""What the README prints runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

import trio_socket_task
from trio_socket_task.testing import Script, SocketServer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_the_programs_run(socket_server: SocketServer, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Against a server that answers, or greets where nothing is sent, and closes."""
    script = Script().expect("hello") if "send(" in program else Script()
    socket_server.handler = script.send("hi there").close()
    source = re.sub(r"wss://example\.org/\w+", socket_server.url, program).replace("trio.run(main)", "")
    names: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 (it is our own)
    main = names["main"]
    assert callable(main)
    with trio.fail_after(30):
        await main()
    assert "hi there" in capsys.readouterr().out


def test_it_is_short() -> None:
    """At most 100 lines, a whole program within the first ten or so."""
    assert len(README.splitlines()) <= 100
    assert README.splitlines()[2] == "```python"


def test_its_links_lead_somewhere() -> None:
    """Inside the project."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_the_errors_it_names_exist() -> None:
    """Every name in code that looks like a class of the package is one."""
    for name in re.findall(r"`([A-Z]\w+Error|[A-Z]\w+Event)`", README):
        assert hasattr(trio_socket_task, name), name
