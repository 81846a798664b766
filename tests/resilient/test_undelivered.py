"""`_undelivered`: reports to listeners, and how senders wait for those who read them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_socket_task import Outbox
from trio_socket_task._resilient._label import SocketLabel
from trio_socket_task._resilient._on_demand import OnDemand
from trio_socket_task._resilient._queue import MessageQueue, QueuedMessage
from trio_socket_task._resilient._undelivered import Undelivered


@pytest.mark.parametrize("reads", [True, False])
async def test_a_reader_that_is_behind_is_waited_for_as_long_as_it_reads(*, reads: bool) -> None:
    """One report taken is enough; one that takes none is waited for no more."""
    undelivered = Undelivered(MessageQueue(Outbox(max_messages=1, max_bytes=10)), SocketLabel("ws://x/"), OnDemand())
    listener = undelivered.listen()
    undelivered.report([QueuedMessage("x", 1, 0.0)] * 1024, "lost")
    assert undelivered.is_behind(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(undelivered.wait_for_readers, 1)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert nursery.child_tasks, "it has some turns"
        if reads:
            await listener.receive()
    await wait_all_tasks_blocked()
    assert not undelivered.is_behind(1)
    assert undelivered.dropped == 0
    undelivered.report([QueuedMessage("x", 1, 0.0)], "lost")
    assert undelivered.is_behind(1) is reads, "who reads is waited for again"


@pytest.mark.parametrize(("size", "room"), [(1, 3000), (2**20, 4)])
async def test_a_listener_has_room_for_twice_the_outbox(size: int, room: int) -> None:
    """In messages, and in bytes; for one more the oldest report makes room."""
    limits = Outbox(max_messages=1500, max_bytes=2 * 2**20)
    undelivered = Undelivered(MessageQueue(limits), SocketLabel("ws://x/"), OnDemand())
    undelivered.listen()
    messages = [QueuedMessage("x", size, 0.0)] * room
    undelivered.report(messages, "lost")
    assert undelivered.dropped == 0
    undelivered.report(messages[:1], "lost")
    assert undelivered.dropped == 1
