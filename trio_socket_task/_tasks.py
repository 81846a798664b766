"""Which tasks wait for the one that calls."""

from __future__ import annotations

from collections.abc import Iterator

import trio


def waiting_tasks() -> Iterator[tuple[trio.lowlevel.Task, trio.Nursery | None]]:
    """Yield the task that calls and those that wait for its end, the nearest first, each with the nursery it is in."""
    task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
    while task is not None:
        nursery = task.parent_nursery
        yield task, nursery
        task = None if nursery is None else nursery.parent_task
