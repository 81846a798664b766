"""What a test leaves behind."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from typing import final

import trio

from trio_socket_task._manager import SocketManager

from ._misuse import LeakError


@final
class LeakWatch:
    """Remembers what there was before a test, and finds what is there after it.

    What lives in a block or a nursery of the test is gone with it, or about to be. What can stay is what managers hold
    that live longer, such as those of fixtures: sockets with the tasks that serve them, and listeners.
    """

    def __init__(self) -> None:
        self._before = _alive()

    def check(self) -> None:
        """Compare.

        Raises:
            LeakError: Something is left; the text names it.
        """
        left = _alive() - self._before
        if left:
            named = "\n".join(f"  {count} x {words}" for (_, words), count in left.items())
            raise LeakError(f"the test left behind:\n{named}\nclose it in the test")


def _alive() -> Counter[tuple[int, str]]:
    """Count what is alive in the nurseries of managers that outlive the current task, by identity and name."""
    alive: Counter[tuple[int, str]] = Counter()
    own = set(_with_descendants(trio.lowlevel.current_task()))
    # No registry of managers burdens the programs that are not tested.
    for manager in [thing for thing in gc.get_objects() if type(thing) is SocketManager]:
        if manager._nursery is None or manager._nursery.parent_task in own:
            continue
        for member in manager._members:
            if not member.has_block:
                url = member.task.url
                alive[id(member), f"the socket to {url} and its task, in a manager that lives on"] = 1
                for kind, count in member.driver.listeners.counts().items():
                    alive[id(member), f"a listener {kind}() of the socket to {url}"] += count
        for listener in manager._listeners:
            alive[id(manager), f"a listener {listener.name}() of a manager that lives on"] += 1
    return alive


def _with_descendants(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _with_descendants(child)
