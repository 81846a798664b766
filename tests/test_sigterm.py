"""SIGTERM, with what the page tells a program to do about it."""

from __future__ import annotations

import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from runpy import run_path

import pytest
import trio
from peer import URL

from trio_socket_task import connect_socket, open_resilient_socket, open_socket_manager
from trio_socket_task.miniprogram import open_mini_program
from trio_socket_task.testing import SocketServer

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "cancellation.md"
MAKERS = ("connect_socket", "open_mini_program", "open_resilient_socket", "open_socket_manager")


def blocks(server: SocketServer) -> dict[str, AbstractAsyncContextManager[object]]:
    """Return a block of each kind."""
    return {
        "connect_socket": connect_socket(URL, dial=server.dial),
        "open_mini_program": open_mini_program(dial=server.dial),
        "open_resilient_socket": open_resilient_socket(URL, dial=server.dial),
        "open_socket_manager": open_socket_manager(dial=server.dial),
    }


@pytest.mark.parametrize(
    "maker", ["connect_socket", "open_mini_program", "open_resilient_socket", "open_socket_manager"]
)
async def test_every_block_ends_with_1001(memory_socket_server: SocketServer, tmp_path: Path, maker: str) -> None:
    """And the program goes on behind what was cancelled."""
    source = re.search(r"<!-- module: service -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert source is not None
    (tmp_path / "service.py").write_text(source[1], encoding="utf-8")
    run_until_told: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
    run_until_told = run_path(str(tmp_path / "service.py"))["run_until_told"]

    async def main() -> None:
        async with blocks(memory_socket_server)[maker] as given:
            if maker == "open_mini_program":
                given.connectSocket(url=URL)  # type: ignore[attr-defined]
            elif maker == "open_socket_manager":
                given.connect_socket(URL)  # type: ignore[attr-defined]
            await memory_socket_server.wait_connection()
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()

    with trio.fail_after(60):
        await run_until_told(main)
        (connection,) = memory_socket_server.connections
        await connection.wait_closed()
        assert connection.close_code == 1001
