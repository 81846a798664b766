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

HAS_EPOLL = hasattr(select, "epoll")
"""Whether this system has a poller: Linux."""
GRACE = 0.005
"""Seconds that a program may be away between two messages before its socket is read in the background. A program that
answers each message at once keeps reading for itself, which saves a task switch a message."""
_MANY = 64
"""Sockets that the kernel is asked for at once."""
_TURN_SECONDS = 0.001
"""Seconds of reading before other tasks run."""


@final
class Poller:
    """Calls a function for each watched socket that can be read. `run` is its task, as long as there are sockets."""

    __slots__ = ("_away", "_scope", "epoll", "functions", "is_over")

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.functions: dict[int, Callable[[], None]] = {}
        """What is called, by file descriptor."""
        self.is_over: bool = False
        """Whether nothing is watched any more, for want of sockets or because the Trio run comes to its end."""
        self._away: list[Callable[[], bool]] = []
        self._scope = trio.CancelScope()  # of the wait, until it is to be asked who is away

    async def run(self) -> None:
        """Call functions until there are none; at the end of the run all of them, so that nobody waits in vain."""
        readable: deque[int] = deque()
        try:
            while not self.is_over:
                with self._scope:
                    await self._poll(readable)
                self._scope = trio.CancelScope()
                self._ask()
        finally:
            self.is_over = True
            self.epoll.close()
            self._call(deque(self.functions), float("inf"))

    async def _poll(self, readable: deque[int]) -> None:
        while True:
            if readable:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self.epoll.fileno())
                readable.extend(fd for fd, _ in self.epoll.poll(0, _MANY))
            self._call(readable, perf_counter() + _TURN_SECONDS)

    def _call(self, readable: deque[int], end: float) -> None:
        while readable and perf_counter() < end:
            function = self.functions.get(readable.popleft())
            if function is not None:
                function()

    def ask_later(self, is_here: Callable[[], bool]) -> None:
        """Ask in a while whether a program is still there, and again until it is not."""
        if not self._away:
            self._scope.deadline = trio.current_time() + GRACE
        self._away.append(is_here)

    def _ask(self) -> None:
        asked, self._away = self._away, []
        for is_here in asked:
            if is_here():
                self.ask_later(is_here)

    def forget(self, fd: int) -> None:
        """Call a function no more; after the last one the task ends."""
        del self.functions[fd]
        if not self.is_over:
            self.epoll.unregister(fd)
            if not self.functions:
                self.is_over = True
                self._scope.cancel()
                _poller.set(None)


@final
class Polled:
    """One socket, as far as the poller is concerned."""

    __slots__ = ("_fd", "_is_watched", "_poller")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poller: Poller | None = None  # which knows the socket
        self._is_watched = False

    @property
    def is_over(self) -> bool:
        """Whether it is watched no more, because the Trio run comes to its end."""
        return self._poller is not None and self._poller.is_over

    @trio.lowlevel.enable_ki_protection
    def watch(self, function: Callable[[], None]) -> bool:
        """Have a function, which must not raise, called while the socket can be read; return whether it will be."""
        if self._poller is None:
            poller = poller_of_this_run()
            if poller is None:
                return False
            try:
                poller.epoll.register(self._fd, select.EPOLLIN)
            except OSError:  # the kernel has no room for it
                return False
            poller.functions[self._fd] = function
            self._poller = poller
        elif self._poller.is_over:
            return False
        elif not self._is_watched:
            self._poller.epoll.modify(self._fd, select.EPOLLIN)
        self._is_watched = True
        return True

    @trio.lowlevel.enable_ki_protection
    def pause(self) -> None:
        """Have the function not called until the socket is watched again: somebody waits for it himself.

        Of a connection that was reset the kernel tells all the same, but once.
        """
        if self._is_watched and self._poller is not None and not self._poller.is_over:
            self._poller.epoll.modify(self._fd, select.EPOLLONESHOT)
        self._is_watched = False

    def ask_later(self, is_here: Callable[[], bool]) -> bool:
        """Ask in a while whether the program is still there, and again until it is not; return whether it will be."""
        if self._poller is None or self._poller.is_over:
            return False
        self._poller.ask_later(is_here)
        return True

    @trio.lowlevel.enable_ki_protection
    def end(self) -> None:
        """Watch the socket no more, before it is closed."""
        if self._poller is not None:
            self._poller.forget(self._fd)
            self._poller = None


_poller: trio.lowlevel.RunVar[Poller | None] = trio.lowlevel.RunVar("trio_socket_task.poller")


def poller_of_this_run() -> Poller | None:
    """Return the present run's poller; None where there is no file descriptor left for it, or the run ends."""
    poller = _poller.get(None)
    if poller is not None:
        return None if poller.is_over else poller
    try:
        poller = Poller()
    except OSError:
        return None
    try:
        trio.lowlevel.spawn_system_task(poller.run)
    except RuntimeError:  # an asynchronous generator is closed after the run's tasks
        poller.epoll.close()
        return None
    _poller.set(poller)
    return poller
