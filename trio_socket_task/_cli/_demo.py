"""The demo: what the library does, in twenty lines, against a server of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from trio_socket_task._connect import connect_socket
from trio_socket_task._errors import InvalidOptionsError, SocketLimitError
from trio_socket_task._manager import open_socket_manager
from trio_socket_task._policy import ReplacePrevious
from trio_socket_task.testing import ServerConnection, open_test_server

_PROTOCOL = "demo.v1"
_REASON_OF_123_BYTES = "汉" * 41
_REASON_OF_126_BYTES = "汉" * 42


async def _serve(connection: ServerConnection) -> None:
    """Echo, and close with 4000 when asked to."""
    await connection.accept(_PROTOCOL if _PROTOCOL in connection.protocols else None, {"X-Served-By": "demo"})
    async for message in connection:
        if message == "close, please":
            await connection.close(4000, "as you asked")
        else:
            await connection.send(message)


async def run_demo(report: Callable[[str], None]) -> int:
    """Start a server on a free loopback port, talk to it, and report what happens."""
    async with open_test_server(_serve) as server:
        await _show_messages(server.url, report)
        await _show_limit(server.url, report)
        await _show_replacement(server.url, report)
    return 0


async def _show_messages(url: str, report: Callable[[str], None]) -> None:
    report("One socket, for the length of a block")
    async with connect_socket(url, protocols=[_PROTOCOL]) as task:
        report(f"  {task}")
        report(f"  header: x-served-by = {task.header['X-Served-By']}, protocol = {task.protocol}")
        for data in ("你好, text", b"\x00\xffbinary"):
            await task.send(data)
            report(f"  sent {data!r}, received {await task.receive()!r}")
        try:
            task.close(4001, _REASON_OF_126_BYTES)
        except InvalidOptionsError as error:
            report(f"  refused: {error}")
        report(f"  still {task.ready_state.name}; now with a reason of 123 bytes")
        await task.aclose(4001, _REASON_OF_123_BYTES)
        event = await task.wait_closed()
        report(f"  closed by this side: code {event.code}, reason of {len(event.reason.encode())} bytes")
    async with connect_socket(url) as task:
        await task.send("close, please")
        event = await task.wait_closed()
        report(f"  closed by the server: code {event.code}, reason {event.reason!r}")


async def _show_limit(url: str, report: Callable[[str], None]) -> None:
    report("Five sockets coexist, as the vendors have it")
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(connect_socket(url))
        report("  five sockets are open; a sixth:")
        try:
            await stack.enter_async_context(connect_socket(url))
        except SocketLimitError as error:
            report(f"  refused: {error}")


async def _show_replacement(url: str, report: Callable[[str], None]) -> None:
    report("One socket at a time, as before base library 1.5.0")
    async with open_socket_manager(ReplacePrevious()) as manager:
        old = manager.connect_socket(url)
        await old.wait_open()
        new = manager.connect_socket(url)
        report(f"  at once: old {old.ready_state.name}, new {new.ready_state.name}")
        await new.wait_open()
        report(f"  later:   old {old.ready_state.name}, new {new.ready_state.name}")
        report(f"  the old one's event: {await old.wait_closed()}")
        report(f"  {manager}")
