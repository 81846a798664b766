"""What newcomers try: each mistake is met by a sentence that says what to do."""

from __future__ import annotations

import asyncio
import pydoc
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import cast

import pytest
from peer import URL
from trio.testing import MockClock

from trio_socket_task import (
    Heartbeat,
    InvalidOptionsError,
    ResilientSocket,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
    testing,
)
from trio_socket_task._functions import call_async
from trio_socket_task._mistakes import BLOCK_NAMES, CHANNEL_NAMES, NO_WAIT, SOCKET_NAMES, none_if_nothing
from trio_socket_task._options import list_defaults
from trio_socket_task._service_nursery import ServiceBlock
from trio_socket_task.miniprogram import open_mini_program
from trio_socket_task.miniprogram._callbacks import PendingCallback
from trio_socket_task.testing import Script, ScriptError, SocketServer, open_memory_server, open_test_server

MAKERS: dict[str, Callable[[], AbstractAsyncContextManager[object]]] = {
    "connect_socket": lambda: connect_socket(URL),
    "open_mini_program": open_mini_program,
    "open_resilient_socket": lambda: open_resilient_socket(URL),
    "open_socket_manager": open_socket_manager,
    "open_test_server": lambda: open_test_server(testing.echo),
}
EACH = pytest.mark.parametrize("maker", MAKERS)


@EACH
async def test_a_block_is_awaited(maker: str) -> None:
    """It says how it is entered."""
    block = cast("Awaitable[object]", MAKERS[maker]())
    with pytest.raises(TypeError, match=rf"^{maker}\(\) .* `await`; write `async with {maker}\(\.\.\.\) as \.\.\.:`$"):
        await block


@EACH
def test_a_block_is_entered_synchronously(maker: str) -> None:
    """It says how it is entered, and Python does not leave what it has not entered."""
    with pytest.raises(TypeError, match=rf"^{maker}\(\) .* `with`; write `async with {maker}\(\.\.\.\) as \.\.\.:`$"):
        with MAKERS[maker]():  # type: ignore[attr-defined]
            pass


@EACH
def test_a_block_is_never_entered(maker: str) -> None:
    """What it has not got is what its block gives."""
    with pytest.raises(AttributeError, match=r"'send'; use that of what `async with \.\.\. as \.\.\.:` gives"):
        MAKERS[maker]().send  # type: ignore[attr-defined]  # noqa: B018 (it is looked for)


@EACH
def test_without_trio(maker: str) -> None:
    """Under asyncio, and under nothing at all."""

    async def main() -> None:
        async with MAKERS[maker]():
            pass

    def step(coroutine: Coroutine[object, object, None]) -> None:
        coroutine.send(None)

    for run in (asyncio.run, step):
        with pytest.raises(RuntimeError, match=rf"^{maker}\(\) needs a Trio run.*start the program with trio\.run"):
            run(main())


async def test_a_close_is_awaited(memory_socket_server: SocketServer, autojump_clock: MockClock) -> None:
    """It has begun, and the sentence says what waits for its end."""
    server = memory_socket_server
    async with open_socket_manager(dial=server.dial) as manager, open_resilient_socket(URL, dial=server.dial) as socket:
        await socket.wait_connected()
        await manager.connect_socket(URL).wait_open()
        async with connect_socket(URL, dial=server.dial) as task:
            for close in (task.close, socket.close, manager.close_socket):
                with pytest.raises(TypeError, match=r"only starts closing; .* `await task.aclose"):
                    await close()  # type: ignore[misc]
            assert (await task.wait_closed()).code == 1000


def test_what_close_returns_counts_as_none() -> None:
    """Where it is looked at, and where a program's function returns it."""
    assert not NO_WAIT
    assert repr(NO_WAIT) == "None"
    assert none_if_nothing(NO_WAIT) is None
    assert none_if_nothing(0) == 0
    assert Heartbeat(answer=lambda _data: NO_WAIT).answer_to("x") is None


async def test_close_in_the_place_of_a_function() -> None:
    """A plain one stays one, though what it returns has a sentence for those who await it."""
    with pytest.raises(InvalidOptionsError, match="must be an async function"):
        call_async("on_connected", cast("Callable[[], Awaitable[object]]", lambda: NO_WAIT))
    assert PendingCallback(lambda _result: NO_WAIT, {"errMsg": ""}).call() is None
    with pytest.raises(ScriptError):
        async with open_memory_server(Script().expect(lambda _data: cast("bool", NO_WAIT))) as server:
            async with connect_socket(URL, dial=server.dial) as task:
                await task.send("x")
                await task.wait_closed()


@pytest.mark.parametrize(
    ("kind", "names"), [(SocketTask, SOCKET_NAMES), (ResilientSocket, CHANNEL_NAMES), (ServiceBlock, BLOCK_NAMES)]
)
def test_names_of_other_libraries(kind: type, names: dict[str, str]) -> None:
    """None is hidden by one, none is shown by `dir`, and what is to be used instead exists."""
    handle = object.__new__(kind) if kind is not ServiceBlock else connect_socket(URL)
    for name, instead in names.items():
        assert not hasattr(handle, name)
        assert name not in dir(handle)
        with pytest.raises(AttributeError, match=f"has no '{name}'; use {re.escape(instead)}") as caught:
            getattr(handle, name)
        assert (caught.value.name, caught.value.obj) == (name, handle)
        used = re.match(r"(\w+)(?=$|\(| and|,)", instead)
        assert used is None or hasattr(kind, used[1])


@pytest.mark.needs("docstrings")
def test_help_shows_every_option() -> None:
    """With the default that it really has, in lines that fit."""
    plain = " ".join(pydoc.plain(pydoc.render_doc(connect_socket)).split())
    for default in list_defaults():
        assert f" {default}" in plain
    assert max(len(line) for line in (connect_socket.__doc__ or "").splitlines()) <= 120


@pytest.mark.needs("cpython")
def test_no_help_without_docstrings() -> None:
    """As ``python -OO`` has it; the package is there all the same."""
    script = "import trio_socket_task as t; raise SystemExit(t.connect_socket.__doc__ is not None)"
    assert subprocess.run([sys.executable, "-OO", "-c", script], check=False).returncode == 0
