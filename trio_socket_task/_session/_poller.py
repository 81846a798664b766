"""One wait for all sockets of a Trio run whose programs are away.

A task for each socket, that waits for it while its program is away, would stand between the two when the program comes
back: it has the socket, and hands each message over. The poller only watches, and lets go by one system call.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import final

import trio

from ._clock import clock_of_this_run

GRACE = 0.005
"""Seconds that a program may be away between two messages before its socket is read in the background. A program that
answers each message at once keeps reading for itself, which saves a task switch a message."""
_MANY = 64
"""Sockets that the kernel is asked for at once."""
_TURN = 0.001
"""Seconds of reading before other tasks run."""


@final
class Poller:
    """Calls a function for each watched socket that can be read. `run` is its task."""

    __slots__ = ("_away", "epoll", "functions", "is_over")

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.functions: dict[int, Callable[[], None]] = {}
        """What is called, by file descriptor."""
        self.is_over: bool = False
        """Whether nothing is watched any more, because the Trio run comes to its end."""
        self._away: list[Callable[[], bool]] = []

    async def run(self) -> None:
        """Call functions, for as long as the run lasts; at its end all of them, so that nobody waits in vain."""
        readable: deque[int] = deque()
        try:
            while True:
                if readable:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(self.epoll.fileno())
                    readable.extend(fd for fd, _ in self.epoll.poll(0, _MANY))
                self._call(readable, perf_counter() + _TURN)
        finally:
            self.is_over = True
            self.epoll.close()
            self._call(deque(self.functions), float("inf"))

    def _call(self, readable: deque[int], end: float) -> None:
        while readable and perf_counter() < end:
            function = self.functions.get(readable.popleft())
            if function is not None:
                function()

    def ask_later(self, is_here: Callable[[], bool]) -> None:
        """Ask in a while whether a program is still there, and again until it is not."""
        if not self._away:
            clock_of_this_run().call_later(GRACE, self._ask)
        self._away.append(is_here)

    def _ask(self) -> None:
        asked, self._away = self._away, []
        for is_here in asked:
            if is_here():
                self.ask_later(is_here)


@final
class Polled:
    """One socket, as far as the poller is concerned."""

    __slots__ = ("_fd", "_is_watched", "poller")

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self._fd: int | None = None  # as the poller knows it
        self._is_watched = False

    @trio.lowlevel.enable_ki_protection
    def watch(self, fd: int, function: Callable[[], None]) -> bool:
        """Have a function, which must not raise, called while the socket can be read; return whether it will be."""
        poller = self.poller
        if self._is_watched or poller.is_over:
            return self._is_watched
        if self._fd is not None:
            poller.epoll.modify(fd, select.EPOLLIN)
        else:
            try:
                poller.epoll.register(fd, select.EPOLLIN)
            except OSError:  # the kernel has no room for it
                return False
            poller.functions[fd] = function
            self._fd = fd
        self._is_watched = True
        return True

    @trio.lowlevel.enable_ki_protection
    def pause(self) -> None:
        """Have the function not called until the socket is watched again: somebody waits for it himself.

        Of a connection that was reset the kernel tells all the same, but once.
        """
        if self._is_watched and self._fd is not None and not self.poller.is_over:
            self.poller.epoll.modify(self._fd, select.EPOLLONESHOT)
        self._is_watched = False

    @trio.lowlevel.enable_ki_protection
    def end(self) -> None:
        """Watch the socket no more, before it is closed."""
        if self._fd is not None:
            del self.poller.functions[self._fd]
            if not self.poller.is_over:
                self.poller.epoll.unregister(self._fd)
            self._fd = None


_poller: trio.lowlevel.RunVar[Poller | None] = trio.lowlevel.RunVar("trio_socket_task.poller")


def poller_of_this_run() -> Poller | None:
    """Return the present run's poller; None where the system has no epoll, or no descriptor left for it."""
    try:
        return _poller.get()
    except LookupError:
        poller = _start_poller()
        _poller.set(poller)
        return poller


def _start_poller() -> Poller | None:
    if not hasattr(select, "epoll"):
        return None
    try:
        poller = Poller()
    except OSError:
        return None
    trio.lowlevel.spawn_system_task(poller.run)
    return poller
