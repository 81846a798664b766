"""The package's loggers: whatever a filter or a handler of the program's raises, sockets go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from trio_socket_task import Backoff, ConnectionState, Outbox, connect_socket, open_resilient_socket
from trio_socket_task._log import SafeLogger
from trio_socket_task.testing import SocketServer


@pytest.fixture
def failures() -> Iterator[list[logging.LogRecord]]:
    """What was logged while a filter raises for each line."""
    lines: list[logging.LogRecord] = []

    def fail(record: logging.LogRecord) -> bool:
        lines.append(record)
        raise ValueError("a filter of the program's")

    loggers = [logging.getLogger(name) for name in ("trio_socket_task", "trio_socket_task.frames")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addFilter(fail)
        logger.setLevel(logging.DEBUG)
    yield lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeFilter(fail)
        logger.setLevel(level)


async def test_a_resilient_socket_goes_on(
    autojump_clock: MockClock, memory_socket_server: SocketServer, failures: list[logging.LogRecord]
) -> None:
    """It connects again, reports what was lost, and its block is left."""

    def broken(_data: str | bytes) -> bool:
        raise RuntimeError

    server = memory_socket_server
    with trio.fail_after(100):
        async with open_resilient_socket(
            server.url, dial=server.dial, backoff=Backoff(random=lambda: 0.01), outbox=Outbox(max_messages=2)
        ) as socket:
            await socket.wait_connected()
            connection = await server.wait_connection()
            connection.stall()
            socket.send_nowait("lost")
            await connection.drop()
            async with socket.on_state() as states:
                async for event in states:
                    if event.state is ConnectionState.CONNECTED and event.generation == 2:
                        break
            await socket.send("again")
            assert await socket.receive() == "again"
    assert {"trio_socket_task", "trio_socket_task.frames"} == {record.name for record in failures}


async def test_a_socket_goes_on(memory_socket_server: SocketServer, failures: list[logging.LogRecord]) -> None:
    """Through opening, messages, a reader that is behind, and its close."""
    server = memory_socket_server
    async with (
        connect_socket(server.url, dial=server.dial, receive_buffer=1) as task,
        task.on_message() as behind,
    ):
        await task.send("a")
        await task.send("b")
        assert (await behind.receive()).data == "a"
    assert failures


def test_a_line_is_that_of_who_asks_for_it(caplog: pytest.LogCaptureFixture) -> None:
    """Not of what makes it safe."""
    SafeLogger("trio_socket_task").warning("a %s", "line")
    (record,) = caplog.records
    assert (record.getMessage(), record.funcName) == ("a line", "test_a_line_is_that_of_who_asks_for_it")
