"""Run socket libraries of mini programs in JavaScript, each as npm has it, against a real server; print a table.

    python tests/libraries/run.py FOLDER [NAME ...]

FOLDER is where `package.json` of this folder has been installed. Each program says what has come about, line by line;
whoever says anything else has failed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import trio

from trio_socket_task.javascript import ConsoleLine, open_javascript

HERE = Path(__file__).parent
MQTT = (
    *("connected", "subscribed 2", "echo/0 at most once", "echo/1 at least once", "large true", "connected again"),
    *("echo/2 exactly once", "ended"),
)

SOCKET_IO = (
    *("connected", 'echo ["text",{"nested":[1,null,true]}]', "acknowledged!", "lost: transport error"),
    *("connected again", "ended"),
)


def request(options: dict[str, Callable[[object], None]]) -> None:
    """Answer an HTTP request of LeanCloud's, which asks for news after it was offline: there are none."""
    options["success"]({"statusCode": 200, "header": {}, "data": {"notifications": [], "hasMore": False}})


HOST = {"request": request, "getStorageSync": lambda _key: "", "setStorageSync": lambda _key, _value: None}


@attrs.frozen(kw_only=True)
class Library:
    """A library, the server that it is tried with, and what its program says when all is well."""

    package: str
    file: str
    server: str
    program: str
    lines: tuple[str, ...]
    addition: str = ""
    """What is added to its file, which is made for a page of a browser."""


LIBRARIES = [
    Library(package="mqtt4", file="dist/mqtt.min.js", server="aedes", program="mqtt.js", lines=MQTT),
    Library(
        package="mqtt5",
        file="dist/mqtt.min.js",
        server="aedes",
        program="mqtt.js",
        lines=MQTT,
        addition="\nmodule.exports = mqtt.default || mqtt\n",
    ),
    Library(
        package="weapp.socket.io",
        file="lib/weapp.socket.io.js",
        server="socket.io",
        program="socket_io.js",
        lines=SOCKET_IO,
    ),
    Library(
        package="@hyoga/uni-socket.io",
        file="dist/uni-socket.io.js",
        server="socket.io",
        program="socket_io.js",
        lines=SOCKET_IO,
    ),
    Library(
        package="graphql-ws",
        file="umd/graphql-ws.min.js",
        server="graphql-ws",
        program="graphql.js",
        lines=("query 你好", "subscription 1,2,3", "lost: error", "query 你好, connection 2", "ended"),
    ),
    Library(
        package="@stomp/stompjs",
        file="bundles/stomp.umd.min.js",
        server="stomp-broker-js",
        program="stomp.js",
        lines=("connected 1.1", "message text", "connected again", "message again", "ended"),
    ),
    Library(
        package="leancloud-realtime",
        file="dist/realtime.weapp.min.js",
        server="leancloud",
        program="leancloud.js",
        lines=(
            *("opened Tom", "started conversation", "sent message", "received 文字", "received drop", "opened again"),
            "ended",
        ),
    ),
    Library(
        package="@microsoft/signalr",
        file="dist/browser/signalr.min.js",
        server="signalr",
        program="signalr.js",
        lines=(*("connected", "said 文字", "result 文字", "item 1", "item 2", "item 3", "connected again", "ended"),),
    ),
]


def title(modules: Path, package: str) -> str:
    """Give the name and the version of an installed package; what has none is a server of this folder."""
    path = modules / package / "package.json"
    if not path.exists():
        return "scripted"
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"{found['name']} {found['version']}"


async def run(library: Library, modules: Path) -> list[str]:
    """Run the library's program; give what it said."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path in (HERE / "programs").iterdir():
            shutil.copy(path, folder)
        source = (modules / library.package / library.file).read_text(encoding="utf-8")
        (folder / "library.js").write_text(source + library.addition, encoding="utf-8")
        async with trio.open_nursery() as nursery:
            server: trio.Process = await nursery.start(serve, library.server, modules.parent)
            assert server.stdout is not None
            port = int(await server.stdout.receive_some())
            url = {"wss://server.example.com": f"ws://127.0.0.1:{port}"}
            async with open_javascript("wx", map=url, host=HOST) as program:
                with trio.move_on_after(30) as scope:
                    await program.run(folder / library.program)
                    await program.wait_idle()
                lines = [said(line) for line in program.console]
                lines.append("stuck" if scope.cancelled_caught else "ended")
            nursery.cancel_scope.cancel()
    return lines


async def serve(
    name: str, folder: Path, *, task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run a server, whose standard input is held open: it ends with that."""
    command = ["node", str(HERE / "servers.js"), name]
    await trio.run_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, task_status=task_status)


def said(line: ConsoleLine) -> str:
    """Give a line of the console, with its level where that is not the usual one."""
    level, text = line
    return text if level == "log" else f"{level}: {text}"


async def main(folder: Path, names: list[str]) -> bool:
    """Run the libraries; print the table, and return whether all is well."""
    modules, well = folder / "node_modules", True
    print("| library | server | what came about |\n|---|---|---|")
    for library in LIBRARIES:
        if names and library.package not in names:
            continue
        lines = await run(library, modules)
        good = tuple(lines) == library.lines
        well = well and good
        what = ", ".join(lines).replace("|", "\\|") if good else f"FAILED: {lines}"
        print(f"| {title(modules, library.package)} | {title(modules, library.server)} | {what} |", flush=True)
    return well


if __name__ == "__main__":
    sys.exit(not trio.run(main, Path(sys.argv[1]), sys.argv[2:]))
