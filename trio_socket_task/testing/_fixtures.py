"""The fixtures. pytest-trio runs each in a task of its own, so they may yield inside a block."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TypeVar

import pytest
import trio
from pytest_trio import trio_fixture  # type: ignore[import-untyped]

from trio_socket_task._manager import SocketManager, open_socket_manager
from trio_socket_task.javascript import JavaScriptProgram, open_javascript
from trio_socket_task.miniprogram import MiniProgram, open_mini_program

from ._handlers import echo
from ._leaks import LeakWatch
from ._misuse import MisuseError
from ._server import PortBlock, ServerBlock, SocketServer

_T = TypeVar("_T")
_SURROUNDING = {"no_socket_leaks", "socket_server", "memory_socket_server"}
_START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_FAILED = pytest.StashKey[bool]()
"""Whether the test's own function has raised."""


@pytest.fixture
def no_socket_leaks() -> None:
    """Fail a test that leaves a socket, its task or a listener behind, and name it; also by ``usefixtures``."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run the checks around the test's own function: after all fixtures are set up, before any is torn down."""
    if isinstance(item, pytest.Function) and not _SURROUNDING.isdisjoint(item.fixturenames):
        item.obj = _surrounded(item)
    return (yield)


def _surrounded(item: pytest.Function) -> Callable[..., Awaitable[None]]:
    """Return an async test with the checks around it.

    Those of Hypothesis stay as they are: each is called many times with the same fixtures, which no server survives.
    """
    function: Callable[..., Awaitable[None]] = item.obj
    if not inspect.iscoroutinefunction(function) or hasattr(function, "hypothesis"):
        return function

    @functools.wraps(function)
    async def surrounded(*arguments: object, **fixtures: object) -> None:
        watch = LeakWatch() if "no_socket_leaks" in item.fixturenames and _is_on_trio() else None
        try:
            await function(*arguments, **fixtures)
        except BaseException:
            item.stash[_FAILED] = True
            raise
        if watch is not None:
            await watch.check()

    return surrounded


def _is_on_trio() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def _fixture(function: Callable[..., AsyncIterator[object]]) -> object:
    """Make a fixture that pytest-trio alone runs: the generator that a plain function returns.

    An async function would be adopted by other plugins, such as pytest-asyncio in auto mode.
    """
    definition: object = trio_fixture(function)
    return definition


@pytest.fixture
def socket_kit_on_trio(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    """Refuse the kit's fixtures to a test that does not run on Trio."""
    # Before pytest-trio does, whose own refusal in the fixture's setup makes pytest 9 stumble over all later uses.
    if request.node.get_closest_marker("trio") is None:
        raise MisuseError(
            f"{request.node.name} asks for a fixture that runs on Trio, and does not run on Trio itself; "
            "make it an async test with pytest.mark.trio, or set trio_mode = true"
        )
    return request


@_fixture
def socket_server(socket_kit_on_trio: pytest.FixtureRequest) -> AsyncIterator[SocketServer]:
    """Open a WebSocket server on a free loopback port; it echoes, until its ``handler`` is changed."""
    return _serve(socket_kit_on_trio, PortBlock(echo))


@_fixture
def memory_socket_server(socket_kit_on_trio: pytest.FixtureRequest) -> AsyncIterator[SocketServer]:
    """Open a WebSocket server in memory; it echoes, until its ``handler`` is changed."""
    return _serve(socket_kit_on_trio, ServerBlock(echo))


async def _serve(request: pytest.FixtureRequest, block: ServerBlock) -> AsyncIterator[SocketServer]:
    async with block as server:
        try:
            yield server
        finally:  # a test that has failed, or was skipped, owes no script
            block.requires_scripts = not request.node.stash.get(_FAILED, False)


@_fixture
def socket_manager(memory_socket_server: SocketServer) -> AsyncIterator[SocketManager]:
    """Open a manager whose sockets reach `memory_socket_server`, whatever their URL says."""
    return _enter(open_socket_manager(dial=memory_socket_server.dial))


@_fixture
def mini_program(request: pytest.FixtureRequest, memory_socket_server: SocketServer) -> AsyncIterator[MiniProgram]:
    """Open a ``wx``, or the vendor given by indirect parametrization, that reaches `memory_socket_server`."""
    return _enter(open_mini_program(getattr(request, "param", "wx"), dial=memory_socket_server.dial))


@_fixture
def javascript(request: pytest.FixtureRequest, memory_socket_server: SocketServer) -> AsyncIterator[JavaScriptProgram]:
    """Open a mini program in JavaScript that reaches `memory_socket_server`, whatever its URLs say.

    Its ``Date`` begins with 2026 and its ``Math.random`` is the same in every run. An error that nobody caught fails
    the test, unless it takes it out of ``errors``. By indirect parametrization: the options of `open_javascript`.
    """
    return _run_javascript(
        open_javascript(
            **{
                "map": {"*": memory_socket_server.url},
                "dial": memory_socket_server.dial,
                "start_time": _START,
                "seed": 0,
                **getattr(request, "param", {}),
            }
        )
    )


async def _run_javascript(block: AbstractAsyncContextManager[JavaScriptProgram]) -> AsyncIterator[JavaScriptProgram]:
    async with block as program:
        yield program
    if program.errors:
        raise program.errors[0]


async def _enter(block: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
    async with block as entered:
        yield entered
