"""The vendors' samples and other programs, unmodified but for their URL."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import trio

from trio_socket_task.javascript import open_javascript
from trio_socket_task.testing import ServerConnection, SocketServer, echo

pytestmark = pytest.mark.needs("javascript")

SCRIPTS = Path(__file__).parent / "scripts"
QUEUE = """
{word} socketOpen = false
{word} socketMsgQueue = []
{vendor}.connectSocket({{
  url: 'test.php'
}})

{vendor}.onSocketOpen(function (res) {{
  socketOpen = true
  for (let i = 0; i < socketMsgQueue.length; i++) {{
    sendSocketMessage(socketMsgQueue[i])
  }}
  socketMsgQueue = []
}})

function sendSocketMessage(msg) {{
  if (socketOpen) {{
    {vendor}.sendSocketMessage({{
      data: msg
    }})
  }} else {{
    socketMsgQueue.push(msg)
  }}
}}
"""
CONNECT = """
{vendor}.connectSocket({{
  url: 'test.php',
  header: {{
    'content-type': 'application/json'
  }},
  protocols: ['protocol1'],
  method: 'GET'
}})
"""
CLOSE = """
{vendor}.connectSocket({{
  url: 'test.php'
}})

{vendor}.onSocketOpen(function () {{
  {vendor}.closeSocket()
}})

{vendor}.onSocketClose(function (res) {{
  console.log('WebSocket 已关闭!')
}})
"""
URL = "wss://example.test/chat"
PRINTED = {
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
ERRORS = {
    "border": ["Error: a bug in an async listener"],
    "mistakes": ["TypeError: a bug of the script"],
}
STRICT = {
    "header_and_protocols": "returned true\nconnectSocket:ok 1\nprotocol1 undefined\n"
    '{"code":4000,"reason":"再见"} undefined\n',
    "several_tasks": "undefined\n" + PRINTED["several_tasks"].partition("\n")[2],
}


def test_every_script_is_run() -> None:
    """None lies about."""
    assert {path.stem for path in SCRIPTS.glob("*.js")} == set(PRINTED)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", PRINTED)
async def test_scripts_print_what_they_print_on_a_phone(
    socket_server: SocketServer, name: str, *, strict: bool
) -> None:
    """Unmodified but for the URL; a phone has no readyState; a view of a buffer is no data anywhere."""
    seen: list[ServerConnection] = []

    async def watch(connection: ServerConnection) -> None:
        seen.append(connection)
        await echo(connection)

    socket_server.handler = watch
    source = (SCRIPTS / f"{name}.js").read_text(encoding="utf-8").replace("'test.php'", repr(URL))
    vendor: Literal["wx", "qq"] = "qq" if "qq." in source else "wx"
    with trio.fail_after(60):
        async with open_javascript(vendor, strict=strict, map={URL: socket_server.url}) as program:
            await program.run(source=source)
            await program.wait_idle()
    printed = "".join(f"{text}\n" for level, text in program.console if level == "log")
    assert printed == (STRICT.get(name, PRINTED[name]) if strict else PRINTED[name])
    assert [error.message for error in program.errors] == ERRORS.get(name, [])
    if name == "header_and_protocols":
        assert seen[0].header["content-type"] == "application/json"
        assert "referer" not in {field.lower() for field in seen[0].header}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("vendor", ["wx", "qq"])
async def test_the_vendors_samples_run(socket_server: SocketServer, vendor: str, *, strict: bool) -> None:
    """In both modes; qq's own sample of the queue declares its variables as constants, of which it is told."""
    received: list[str | bytes] = []

    async def serve(connection: ServerConnection) -> None:
        await connection.accept("protocol1" if connection.protocols else None)
        if connection.path == "/queue" and vendor == "wx":
            received.append(await connection.receive())
        if connection.path != "/close":
            await connection.close(1000)
        await connection.wait_closed()

    socket_server.handler = serve
    printed, errors = [], []
    word = "let" if vendor == "wx" else "const"
    for name, sample in {"queue": QUEUE + "\nsendSocketMessage('hi')", "connect": CONNECT, "close": CLOSE}.items():
        source = sample.format(vendor=vendor, word=word).replace("test.php", f"wss://example.test/{name}")
        with trio.fail_after(60):
            async with open_javascript(
                "wx" if vendor == "wx" else "qq", strict=strict, map={"*": socket_server.url}
            ) as program:
                await program.run(source=source)
                await program.wait_idle()
        printed += [text for level, text in program.console if level == "log"]
        errors += [error.message for error in program.errors]
    assert printed == ["WebSocket 已关闭!"]
    assert received == (["hi"] if vendor == "wx" else [])
    assert errors == ([] if vendor == "wx" else ["TypeError: 'socketOpen' is read-only"])
