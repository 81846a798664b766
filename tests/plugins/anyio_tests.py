"""Tests of anyio, on either loop, in a project that has the kit. `nox -s plugins` runs them."""

from __future__ import annotations

import pytest
import sniffio

from trio_socket_task.testing import MisuseError, SocketServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_socket_leaks")]
NOT_ON_TRIO = pytest.mark.xfail(raises=MisuseError)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Give both loops, one after the other."""
    return request.param


async def test_without_the_kit(anyio_backend: str) -> None:
    """It is left alone."""
    assert sniffio.current_async_library() == anyio_backend


@NOT_ON_TRIO
async def test_memory_socket_server(anyio_backend: str, memory_socket_server: SocketServer) -> None:
    """Only pytest-trio can run the fixture, whose block lives in a task of its own."""
