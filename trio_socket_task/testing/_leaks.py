"""What a test leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import final

import trio

from trio_socket_task._connect import _SocketBlock
from trio_socket_task._manager import SocketManager
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._resilient._socket import _ResilientBlock
from trio_socket_task._resilient._supervisor import Keeper
from trio_socket_task._service_nursery import Block
from trio_socket_task._text import mask_url
from trio_socket_task.miniprogram._program import _ProgramBlock

from ._misuse import LeakError


@final
class LeakWatch:
    """Remembers what there was before a test, and finds what is there after it.

    What lives in a block or a nursery of the test is gone with it, or about to be. What can stay is what lives in those
    of fixtures: sockets with the tasks that serve them, blocks that were not left, and listeners.
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
    """Return what is alive in nurseries that outlive the current task: things, and their names.

    A block is known by its nursery, because it may have connection after connection.
    """
    own = set(_with_descendants(trio.lowlevel.current_task()))

    def stays(nursery: trio.Nursery | None) -> bool:
        return nursery is not None and nursery.parent_task not in own and nursery in nursery.parent_task.child_nurseries

    # No registry of sockets burdens the programs that are not tested.
    for thing in gc.get_objects():
        if type(thing) is SocketManager:
            yield from _of_manager(thing, stays)
        elif type(thing) is _SocketBlock and thing._driver is not None and stays(nursery := _nursery(thing._block)):
            state = thing._driver.life.ready_state.name
            yield nursery, f"the socket to {mask_url(thing._url)}, {state}, in a block that lives on"
        elif type(thing) is _ResilientBlock and thing._keeper is not None and stays(nursery := _nursery(thing._block)):
            yield from _of_resilient(thing._keeper, nursery)
        elif type(thing) is _ProgramBlock and stays(nursery := _nursery(thing._block)):
            yield nursery, "a mini program, in a block that lives on"


def _nursery(block: Block) -> trio.Nursery | None:
    return getattr(block, "_nursery", None)  # none before it is entered


def _of_manager(manager: SocketManager, stays: Callable[[trio.Nursery | None], bool]) -> Iterator[tuple[object, str]]:
    if stays(manager._nursery):
        yield manager, "a manager whose block lives on"
        for listener in manager._listeners:
            yield listener, f"a listener {listener.name}() of a manager that lives on"
    for member in manager._members:
        url = mask_url(member.task.url)
        if stays(member.nursery) and member.nursery is manager._nursery:
            is_closing = member.task.ready_state is ReadyState.CLOSING
            state = "which is still closing: `await task.aclose()`, " if is_closing else ""
            yield member, f"the socket to {url} and its task, {state}in a manager that lives on"
        if stays(member.nursery):
            for kind, mailbox in member.driver.listeners.channels():
                yield mailbox, f"a listener {kind}() of the socket to {url}"


def _of_resilient(keeper: Keeper, nursery: object) -> Iterator[tuple[object, str]]:
    name = f"the resilient socket to {mask_url(keeper.states.url)}"
    yield nursery, f"{name}, {keeper.states.current.state.name}, in a block that lives on"
    for mailbox in keeper.states._topic.mailboxes:
        yield mailbox, f"a listener on_state() of {name}"
    for reader in keeper._mail.undelivered._readers:
        yield reader, f"a listener on_undelivered() of {name}"


def _with_descendants(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    tasks = [task]
    while tasks:
        task = tasks.pop()
        yield task
        tasks.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
