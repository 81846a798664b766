"""The vendors' programs, in Python, against a real server on a real port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from needs import with_newlines

from trio_socket_task.testing import SocketServer

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"


async def run(*command: object) -> subprocess.CompletedProcess[bytes]:
    """Run a program of Python as a person does."""
    with trio.fail_after(60):
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [sys.executable, *map(str, command)], capture_stdout=True, capture_stderr=True, check=False
        )
    return with_newlines(done)


@pytest.mark.parametrize("vendor", ["wx", "qq"])
@pytest.mark.parametrize(
    ("example", "output"),
    [
        ("mini_program_queue.py", "queued\nqueued too\nsent at once\n"),
        ("mini_program_close.py", "closeSocket:fail WebSocket is not connected\nWebSocket has been closed!\n"),
        ("mini_program_connect.py", "protocol1\n"),
    ],
)
async def test_the_vendors_samples(socket_server: SocketServer, example: str, vendor: str, output: str) -> None:
    """Translated line by line."""
    done = await run(EXAMPLES / example, socket_server.url, vendor)
    assert (done.stdout.decode(), done.stderr) == (output, b"")
    assert all(connection.close_code == 1000 for connection in socket_server.connections)
