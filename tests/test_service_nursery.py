"""`_service_nursery`: a block that lets its body's exception pass."""

from __future__ import annotations

import pytest
import trio

from trio_socket_task._service_nursery import ServiceBlock


class Block(ServiceBlock[trio.Nursery]):
    """A block with one task, that notes how it is told to end."""

    maker = "open_block"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.release = trio.Event()

    async def run(self) -> None:
        with trio.CancelScope(shield=True):
            await self.release.wait()

    async def start(self, nursery: trio.Nursery) -> trio.Nursery:
        nursery.start_soon(self.run)
        await trio.lowlevel.checkpoint()
        return nursery

    async def finish(self) -> None:
        self.said.append("finish")
        await trio.lowlevel.checkpoint()
        self.release.set()

    def abort(self) -> None:
        self.said.append("abort")
        self.release.set()


async def test_a_body_that_succeeds_finishes() -> None:
    """And waits."""
    block = Block()
    async with block as nursery:
        pass
    assert block.said == ["finish"]
    assert not nursery.child_tasks


async def test_a_body_that_raises_aborts() -> None:
    """Its exception comes out as it is."""
    block = Block()
    with pytest.raises(KeyError):
        async with block:
            raise KeyError
    assert block.said == ["abort"]


async def test_a_start_that_raises_aborts() -> None:
    """As a body does."""
    block = Block()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with block:
            raise AssertionError("not reached")
    assert scope.cancelled_caught
    assert block.said == ["abort"]


async def test_a_finish_that_is_cancelled_is_followed_by_an_abort() -> None:
    """And trio.Cancelled goes on."""
    block = Block()
    with trio.CancelScope() as scope:
        async with block as nursery:
            scope.cancel()
    assert scope.cancelled_caught
    assert block.said == ["finish", "abort"]
    assert not nursery.child_tasks


@pytest.mark.parametrize("caught", [True, False])
async def test_a_task_that_raises_is_a_bug_to_report(*, caught: bool) -> None:
    """Whether the body lets its cancellation through or not."""
    block = Block()

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as group:
        async with block as nursery:
            nursery.start_soon(fail)
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                if not caught:
                    raise
    assert group.group_contains(ZeroDivisionError)
    assert block.said == ["abort"]


async def test_a_block_can_be_entered_once() -> None:
    """The error says what to call for another."""
    block = Block()
    async with block:
        with pytest.raises(RuntimeError, match=r"call open_block\(\) for each block"):
            await block.__aenter__()
