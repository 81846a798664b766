"""What a test leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import final

import trio

from trio_socket_task._manager import Member, SocketManager
from trio_socket_task._state import ReadyState

from ._misuse import LeakError


@final
class LeakWatch:
    """Remembers what there was before a test, and finds what is there after it.

    What lives in a block or a nursery of the test is gone with it, or about to be. What can stay is what lives in those
    of fixtures: sockets with the tasks that serve them, and listeners.
    """

    def __init__(self) -> None:
        self._before = dict(_alive())  # with the things themselves, so that their identities are not given again

    async def check(self) -> None:
        """Compare.

        Raises:
            LeakError: Something is left; the text names it.
        """
        gc.collect()
        for _ in range(2):
            await trio.lowlevel.cancel_shielded_checkpoint()  # in which dropped listeners detach
        left = [words for thing, words in _alive() if thing not in self._before]
        if left:
            named = "\n".join(f"  {left.count(words)} x {words}" for words in dict.fromkeys(left))
            raise LeakError(f"the test left behind:\n{named}\nclose it in the test, and wait until it is closed")


def _alive() -> Iterator[tuple[object, str]]:
    """Give what is alive in nurseries that outlive the current task: things, and their names."""
    own = set(_with_descendants(trio.lowlevel.current_task()))
    # No registry of managers burdens the programs that are not tested.
    for manager in [thing for thing in gc.get_objects() if type(thing) is SocketManager]:
        for member in manager._members:
            if member.nursery is not None and member.nursery.parent_task not in own:
                yield _socket(member, manager)
                for kind, mailbox in member.driver.listeners.channels():
                    yield mailbox, f"a listener {kind}() of the socket to {member.task.url}"
        if manager._nursery is not None and manager._nursery.parent_task not in own:
            for listener in manager._listeners:
                yield listener, f"a listener {listener.name}() of a manager that lives on"


def _socket(member: Member, manager: SocketManager) -> tuple[object, str]:
    """Give a socket, or the block of a fixture that may have socket after socket."""
    where = "in a manager that lives on" if member.nursery is manager._nursery else "in a block that lives on"
    is_closing = member.task.ready_state is ReadyState.CLOSING
    state = "which is still closing: `await task.aclose()`, " if is_closing else ""
    thing = member if member.nursery is manager._nursery else member.nursery
    return thing, f"the socket to {member.task.url} and its task, {state}{where}"


def _with_descendants(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _with_descendants(child)
