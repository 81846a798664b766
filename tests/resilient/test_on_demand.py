"""`_on_demand`: tasks that exist only while they have something to do."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from trio_socket_task._resilient._on_demand import OnDemand


async def test_what_runs_ends_with_aclose_and_not_with_the_nursery() -> None:
    """Whether it was asked for before there was a nursery, or in one that is cancelled."""
    tasks, left = OnDemand(), list[str]()

    async def early() -> None:
        await trio.sleep_forever()

    async def late() -> None:
        await trio.sleep_forever()

    tasks.ensure(early)
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.cancel()
        tasks.open(nursery)
        tasks.ensure(late)
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            left += [task.name.rpartition(".")[2] for task in nursery.child_tasks]
            await tasks.aclose()
            assert not nursery.child_tasks
    assert left == ["_run", "_run"]


async def test_nothing_begins_after_aclose() -> None:
    """What is asked for then is not done."""
    tasks, done = OnDemand(), list[str]()

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        done.append("work")

    async with trio.open_nursery() as nursery:
        tasks.open(nursery)
        await tasks.aclose()
        tasks.ensure(work)
        await wait_all_tasks_blocked()
    assert not done
