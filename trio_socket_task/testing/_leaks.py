"""What a test leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import final

import trio

from trio_socket_task._connect import SocketBlock
from trio_socket_task._members import Members
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._resilient._open import ResilientBlock
from trio_socket_task._text import mask_url
from trio_socket_task.miniprogram._program import ProgramBlock

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

    # No registry of sockets burdens the programs that are not tested. Types are compared, because isinstance would ask
    # a proxy of somebody's what it is.
    for thing in gc.get_objects():
        if type(thing) is Members and "_room" in vars(thing):  # PyPy keeps one for a while that was half made
            yield from _of_members(thing, stays)
            continue
        is_block = type(thing) is SocketBlock or type(thing) is ResilientBlock or type(thing) is ProgramBlock
        if is_block and stays(thing.nursery):
            yield from _of_block(thing)


def _of_block(block: SocketBlock | ResilientBlock | ProgramBlock) -> Iterator[tuple[object, str]]:
    if isinstance(block, SocketBlock):
        assert block.member is not None  # noqa: S101 (it has a nursery)
        task = block.member.task
        yield block.nursery, f"the socket to {mask_url(task.url)}, {task.ready_state.name}, in a block that lives on"
    elif isinstance(block, ResilientBlock):
        yield from _of_resilient(block)
    else:
        yield block.nursery, "a mini program, in a block that lives on"


def _of_members(members: Members, stays: Callable[[trio.Nursery | None], bool]) -> Iterator[tuple[object, str]]:
    if stays(members.nursery):
        yield members, "a manager whose block lives on"
        for listener in members.listeners:
            yield listener, f"a listener {listener.name}() of a manager that lives on"
    for member in members:
        url = mask_url(member.task.url)
        if stays(member.nursery) and member.nursery is members.nursery:
            is_closing = member.task.ready_state is ReadyState.CLOSING
            state = "which is still closing: `await task.aclose()`, " if is_closing else ""
            yield member, f"the socket to {url} and its task, {state}in a manager that lives on"
        if stays(member.nursery):
            for kind, mailbox in member.session.subscriptions.channels():
                yield mailbox, f"a listener {kind}() of the socket to {url}"


def _of_resilient(block: ResilientBlock) -> Iterator[tuple[object, str]]:
    states = block.supervisor.states
    name = f"the resilient socket to {mask_url(states.label.url)}"
    yield block.nursery, f"{name}, {states.current.state.name}, in a block that lives on"
    for kind, mailbox in block.supervisor.channels():
        yield mailbox, f"a listener {kind}() of {name}"


def _with_descendants(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    tasks = [task]
    while tasks:
        task = tasks.pop()
        yield task
        tasks.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
