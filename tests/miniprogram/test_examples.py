"""The vendors' programs, in Python and in JavaScript, against a real server on a real port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from needs import with_newlines

from trio_socket_task.testing import ServerConnection, SocketServer, echo

TESTS = Path(__file__).parent
EXAMPLES = TESTS.parent.parent / "docs" / "examples"


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


SCRIPTS = {
    "queue": """\
waiting ["first","second"]
answer first
answer second
{"errMsg":"closeSocket:ok"}
closed {"code":1000,"reason":""}
""",
    "close_on_open": """\
closeSocket:fail WebSocket is not connected
WebSocket 已关闭! 1000
""",
    "header_and_protocols": """\
returned true
connectSocket:ok 1
protocol1 1
{"code":4000,"reason":"再见"} 3
""",
    "several_tasks": """\
3
5 connectSocket:fail fail reach max websocket connect count 5
SocketTask.send:fail SocketTask.readyState is not OPEN
all closed
""",
    "binary": """\
sendSocketMessage:fail data must be string or ArrayBuffer
sendSocketMessage:fail data must be string or ArrayBuffer
ArrayBuffer(4) [0,1,128,255]
ArrayBuffer(2) [1,2]
and text with é
""",
    "border": """\
NaN -Infinity 10 Symbol(s) undefined null true [Function named]
{"data":ArrayBuffer(2),"list":[Uint8Array [3],"text"],"not":undefined}
TypeError: words a\0b half �
{"name":"circle","self":[Circular]} [unreadable]
connectSocket:fail header must be an object
connectSocket:fail protocols must be an array
connectSocket:fail invalid timeout
connectSocket:fail header must be an object
connectSocket:fail parameter error: parameter.url should be String instead of Object;
sendSocketMessage:fail data must be string or ArrayBuffer
sendSocketMessage:fail data must be string or ArrayBuffer
closeSocket:fail invalid code
{"errMsg":"sendSocketMessage:ok"}
awaited
rejected {"errMsg":"closeSocket:fail invalid code"}
{"code":1000,"reason":""}
""",
    "mistakes": """\
connectSocket:fail invalid url "test.php?relative"
connectSocket:fail invalid url "test.php?relative"
connectSocket:fail parameter error: parameter.url should be String instead of Undefined;
connectSocket:fail parameter error: parameter.url should be String instead of Function;
connectSocket:fail invalid url "inherited.php"
connectSocket:fail parameter error: parameter.url should be String instead of Undefined;
SocketTask.send:fail SocketTask.readyState is not OPEN
settled
sendSocketMessage:fail data must be string or ArrayBuffer
closeSocket:fail invalid code
closeSocket:fail invalid code
sendSocketMessage:fail data must be string or ArrayBuffer
closeSocket:fail reason must not exceed 123 UTF-8 bytes
1000 string undefined null
""",
}


def test_every_script_is_run() -> None:
    """None lies about."""
    assert {path.stem for path in (TESTS / "scripts").glob("*.js")} == set(SCRIPTS)


@pytest.mark.needs("javascript")
@pytest.mark.parametrize("name", SCRIPTS)
async def test_scripts_print_what_they_print_on_a_phone(socket_server: SocketServer, tmp_path: Path, name: str) -> None:
    """Unmodified but for the URL."""
    seen: list[ServerConnection] = []

    async def watch(connection: ServerConnection) -> None:
        seen.append(connection)
        await echo(connection)

    socket_server.handler = watch
    script = tmp_path / "script.js"
    source = (TESTS / "scripts" / f"{name}.js").read_text(encoding="utf-8")
    script.write_text(source.replace("'test.php'", repr(socket_server.url)), encoding="utf-8")
    done = await run("-X", "utf8", EXAMPLES / "javascript.py", script)
    complaints = done.stderr.decode()
    assert done.stdout.decode() == SCRIPTS[name], complaints
    assert ("TypeError: a bug of the script" in complaints) == (name == "mistakes")
    assert ("the script rejected: Error: a bug in an async listener" in complaints) == (name == "border")
    assert (complaints == "") == (name not in {"mistakes", "border"})
    if name == "header_and_protocols":
        assert seen[0].header["content-type"] == "application/json"
        assert "referer" not in {field.lower() for field in seen[0].header}


@pytest.mark.needs("javascript")
async def test_one_connection_before_1_5_0(socket_server: SocketServer, tmp_path: Path) -> None:
    """The older base library, by the example's option."""
    script = tmp_path / "script.js"
    script.write_text(
        f"""
        const old = wx.connectSocket({{url: '{socket_server.url}'}})
        old.onClose(res => console.log(res.reason))
        old.onOpen(() => {{
          const task = wx.connectSocket({{url: '{socket_server.url}'}})
          task.onOpen(() => task.close())
        }})
        """,
        encoding="utf-8",
    )
    done = await run(EXAMPLES / "javascript.py", script, "--base-library", "1.4.4")
    assert done.stdout == b"replaced by a new connection\n", done.stderr.decode()
