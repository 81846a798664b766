"""`_block`: a nursery that lets its body's exception pass."""

from __future__ import annotations

import pytest
import trio

from trio_socket_task._service_nursery import Block


class Tasks:
    """What a block's tasks do when they are told to end."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.release = trio.Event()

    async def run(self) -> None:
        with trio.CancelScope(shield=True):
            await self.release.wait()

    async def close(self) -> None:
        self.said.append("close")
        await trio.lowlevel.checkpoint()
        self.release.set()

    def abort(self) -> None:
        self.said.append("abort")
        self.release.set()


async def entered() -> tuple[Block, Tasks, trio.Nursery]:
    """Give an entered block with one task."""
    block, tasks = Block(), Tasks()
    nursery = await block.enter()
    nursery.start_soon(tasks.run)
    return block, tasks, nursery


async def test_a_body_that_succeeds_closes() -> None:
    """And waits."""
    block, tasks, nursery = await entered()
    assert await block.leave(None, tasks.close, tasks.abort) is False
    assert tasks.said == ["close"]
    assert not nursery.child_tasks


async def test_a_body_that_raises_aborts() -> None:
    """Its exception is not swallowed."""
    block, tasks, _ = await entered()
    assert await block.leave(KeyError(), tasks.close, tasks.abort) is False
    assert tasks.said == ["abort"]


async def test_a_close_that_is_cancelled_is_followed_by_an_abort() -> None:
    """And trio.Cancelled goes on."""
    with trio.CancelScope() as scope:
        block, tasks, nursery = await entered()
        scope.cancel()
        with pytest.raises(trio.Cancelled):
            await block.leave(None, tasks.close, tasks.abort)
    assert tasks.said == ["close", "abort"]
    assert not nursery.child_tasks


@pytest.mark.parametrize("caught", [True, False])
async def test_a_task_that_raises_is_a_bug_to_report(*, caught: bool) -> None:
    """Whether the body lets its cancellation through or not."""
    block, tasks, nursery = await entered()

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    nursery.start_soon(fail)
    with pytest.raises(trio.Cancelled) as cancelled:
        await trio.sleep_forever()
    with pytest.raises(BaseExceptionGroup) as group:
        await block.leave(None if caught else cancelled.value, tasks.close, tasks.abort)
    assert group.group_contains(ZeroDivisionError)
    assert tasks.said == ["abort"]
