"""Tests on asyncio in a project that has the kit. `nox -s plugins` runs them, in pytest-asyncio's auto mode, too."""

from __future__ import annotations

import asyncio

import pytest

from trio_socket_task.testing import MisuseError, SocketServer

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_socket_leaks")]
NOT_ON_TRIO = pytest.mark.xfail(raises=MisuseError)


async def test_without_the_kit() -> None:
    """It is left alone."""
    await asyncio.sleep(0)


@NOT_ON_TRIO
async def test_memory_socket_server(memory_socket_server: SocketServer) -> None:
    """It is told what is wrong, in place of a server that breaks on another loop."""


@NOT_ON_TRIO
async def test_socket_server(socket_server: SocketServer) -> None:
    """As above."""
