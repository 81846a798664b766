"""What a piece of work costs, counted and not timed, because counts do not depend on the machine."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import attrs
import pytest
import trio

PACKAGE, KIT = "trio_socket_task.", "trio_socket_task.testing."


@attrs.define
class Costs:
    """What was counted: of the program's task, of the package's own tasks, and of both."""

    program: int = 0
    """Steps of the task that measures."""
    socket: int = 0
    """Steps of the tasks of sockets."""
    scopes: int = 0
    """Cancel scopes entered by either."""
    reads: int = 0
    writes: int = 0
    """System calls on plain sockets; those of the kit's server are others."""
    calls: int = 0
    """Functions of this package that were called, or went on."""
    objects: int = 0
    """Objects that are left, of those that the garbage collector walks."""

    def exceeds(self, allowed: dict[str, float], times: int) -> dict[str, float]:
        """Give what is more than allowed for each time."""
        each = {name: count / times for name, count in attrs.asdict(self).items()}
        return {name: each[name] for name, most in allowed.items() if each[name] > most}


class Meter(trio.abc.Instrument):
    """Counts while it is in use; what the test does `aside` is no cost of the program's."""

    def __init__(self) -> None:
        self.costs = Costs()
        self._program = trio.lowlevel.current_task()
        self._is_aside = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do something that no program does, such as to move a clock."""
        self._is_aside = True
        try:
            yield
        finally:
            self._is_aside = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step."""
        self.costs.program += task is self._program and not self._is_aside
        self.costs.socket += self._is_of_socket(task)

    def enter_scope(self) -> None:
        """Count a scope."""
        task = trio.lowlevel.current_task()
        self.costs.scopes += task is self._program or self._is_of_socket(task)

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count a call."""
        name = str(frame.f_globals.get("__name__"))
        self.costs.calls += event == "call" and name.startswith(PACKAGE) and not name.startswith(KIT)

    def _is_of_socket(self, task: trio.lowlevel.Task) -> bool:
        return task.name.startswith(PACKAGE) and not task.name.startswith(KIT)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what happens in the block."""
    meter = Meter()
    read, write, enter = os.read, os.write, trio.CancelScope.__enter__

    def counting_read(descriptor: int, size: int) -> bytes:
        meter.costs.reads += 1
        return read(descriptor, size)

    def counting_write(descriptor: int, data: bytes) -> int:
        meter.costs.writes += 1
        return write(descriptor, data)

    def counting_enter(scope: trio.CancelScope) -> trio.CancelScope:
        meter.enter_scope()
        return enter(scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", counting_read)
        patch.setattr(os, "write", counting_write)
        patch.setattr(trio.CancelScope, "__enter__", counting_enter)
        gc.collect()
        gc.disable()
        before = len(gc.get_objects())
        trio.lowlevel.add_instrument(meter)
        profile = sys.getprofile()
        sys.setprofile(meter.profile)
        try:
            yield meter
        finally:
            sys.setprofile(profile)
            trio.lowlevel.remove_instrument(meter)
            meter.costs.objects = len(gc.get_objects()) - before
            gc.enable()


async def count_turns(turns: list[None]) -> None:
    """Run as often as others let this run."""
    while True:
        await trio.lowlevel.checkpoint()
        turns.append(None)
