"""The ends of a connection in memory, as streams."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_socket_task.testing._faulty_stream import FaultyStream
from trio_socket_task.testing._memory import memory_connection


async def make_streams() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Return the client's end, and the server's with its faults."""
    client, server = memory_connection()
    return client, FaultyStream(server)


async def test_it_is_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    """In all that Trio asks of a stream in one direction and the other."""
    client, server = await make_streams()
    for one, other in ((client, server), (server, client)):
        await one.wait_send_all_might_not_block()
        await one.send_all(b"abc")
        assert await other.receive_some(2) == b"ab"
        assert await other.receive_some() == b"c"
    await server.aclose()
    assert await client.receive_some() == b""


async def test_a_send_that_waits_breaks_when_the_other_end_closes(autojump_clock: trio.testing.MockClock) -> None:
    """What is on its way fills up first."""
    client, server = await make_streams()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_too_much, client)
        await trio.sleep(1)
        await server.aclose()


async def send_too_much(stream: trio.abc.Stream) -> None:
    """Send more than fits, in vain."""
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(bytes(1_000_000))
