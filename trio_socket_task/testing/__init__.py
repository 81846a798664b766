"""Servers and faults for tests of what is built on this package; no network, no waiting, every fault.

async def test_a_reply() -> None:
    async with open_memory_server(Script().expect("hello").send("hi")) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            await task.send("hello")
            assert await task.receive() == "hi"
"""

from __future__ import annotations

from types import FunctionType

from ._assertions import assert_closed, collect, wait_all_delivered
from ._connection import ServerConnection
from ._handlers import Handler, echo, hold, in_turn
from ._misuse import LeakError, MisuseError, ScriptError
from ._script import Script
from ._server import SocketServer, open_memory_server, open_test_server

__all__ = [
    "Handler",
    "LeakError",
    "MisuseError",
    "Script",
    "ScriptError",
    "ServerConnection",
    "SocketServer",
    "assert_closed",
    "collect",
    "echo",
    "hold",
    "in_turn",
    "open_memory_server",
    "open_test_server",
    "wait_all_delivered",
]

for _public in (globals()[_name] for _name in __all__):
    if isinstance(_public, type | FunctionType):
        _public.__module__ = __name__
del _public
