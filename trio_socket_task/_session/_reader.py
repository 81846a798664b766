"""Who reads the stream: the program that waits for a message, or a task in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from trio_socket_task._stream._wire import Wire, let_streams_run, receive_arrived

GRACE = 0.005
"""Seconds that a program may be away between two messages before the background task reads on. A program that
answers each message at once keeps reading for itself, which saves a task switch a message."""

_READ = 64 * 1024
"""Bytes read at once: larger pieces fall out of the processor's cache before they are joined."""
_TURN = 1024 * 1024
"""Bytes of a large message read before other tasks run: about a millisecond."""
_LOOK, _LOOK_SECONDS = 8 * 2**20, 0.1
"""Bytes read at most at a deadline, more than the kernel keeps for a socket, and for how long: a flood ends, too."""


@final
class Reading:
    """One connection's input.

    A program that waits in `more` reads the stream itself (it leads); the others wait for what it reads. While nobody
    leads, the background task reads, so that pings are answered and the peer's close is seen. `take` is given every
    piece in order.
    """

    __slots__ = (
        *("_alarm", "_called", "_goes_on", "_is_full", "_leading", "_led", "_patience", "_reading", "_take"),
        *("_received_at", "_waiting", "_wire", "error", "is_timed", "over", "paused_until"),
    )

    def __init__(
        self,
        wire: Wire,
        take: Callable[[bytes], None],
        goes_on: Callable[[bool], bool],
        is_full: Callable[[], bool],
        waiting: trio.lowlevel.ParkingLot,
    ) -> None:
        self._wire = wire
        self._take = take
        self._goes_on = goes_on  # whether more is wanted at once, after a piece that was whole, or not
        self._is_full = is_full
        self._waiting = waiting  # programs that wait for a message while somebody else reads
        self._leading = False  # a program reads
        self._led = False  # a program has read since the background task last looked
        self._reading = False  # the background task reads
        self._patience: trio.CancelScope | None = None  # of the background task, for a leader that waits for long
        self._called = False  # the background task is to look at how things stand
        self._alarm: trio.Event | None = None  # what wakes it; none before it ever dozed, as on an idle socket
        self._received_at = trio.current_time()
        self.is_timed: bool = False
        """Whether `received_at` is asked for."""
        self.over: bool = False
        """Whether there is no more to read."""
        self.error: Exception | None = None
        """What ended it; None when the peer ended its side."""
        self.paused_until: float = -float("inf")
        """When reading last went on after a pause (Trio's clock); infinite while it pauses."""

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read in the background, until there is no more."""
        while not self.over:
            if self._is_full():
                self.paused_until = float("inf")
                await self._doze()
                self.paused_until = trio.current_time()
            elif self._leading or self._led or self._reading:  # by a program, or by a look at a deadline
                await self._stand_by()
            else:
                self._reading = True
                try:
                    await self._read()
                finally:
                    self._reading = False
                    if self._waiting:
                        self._waiting.unpark()

    @trio.lowlevel.enable_ki_protection
    async def more(self) -> None:
        """Wait until something was read, by whomever; a checkpoint.

        It may return early, so ask again. If it is cancelled, nothing is lost.
        """
        if self._leading or self._reading or self.over or self._is_full():
            await self._waiting.park()
            return
        self._leading = True
        if self._patience is not None:
            self._patience.deadline = float("inf")
        try:
            await self._read()
        finally:
            self._leading = False
            self._led = True
            if self._patience is not None:
                self._patience.deadline = trio.current_time() + GRACE
            if self._waiting:
                self._waiting.unpark()

    @property
    def received_at(self) -> float:
        """When bytes last came, or the connection opened (Trio's clock); as far as it `is_timed`."""
        return max(self._received_at, self._wire.incomplete_at)

    @property
    def incomplete_at(self) -> float:
        """When bytes last came of which nothing can be decrypted yet (Trio's clock)."""
        return self._wire.incomplete_at

    async def look(self) -> None:
        """Read what has come already, before anybody concludes from a clock that nothing has; a checkpoint."""
        if self._leading or self._reading:
            await let_streams_run()
            return
        self._reading = True
        try:
            left, end = _LOOK, trio.current_time() + _LOOK_SECONDS
            while left > 0 and trio.current_time() < end and not self.over and not self._is_full():
                data = await receive_arrived(self._wire, _READ)
                if data is None:
                    return
                left -= len(data)
                self._accept(data)
        except Exception as error:  # noqa: BLE001 - as in _read
            self.end(error)
        finally:
            self._reading = False
            if self._waiting:
                self._waiting.unpark()

    def read_arrived(self) -> bool:
        """Read what has come already, where that needs no waiting; return whether that was all, of a dead stream."""
        left, end = _LOOK, trio.current_time() + _LOOK_SECONDS
        while left > 0 and trio.current_time() < end and not self.over:
            data = self._wire.receive_now(_READ)
            if data is None:
                return self._wire.reads_now
            left -= len(data)
            self._accept(data)
        return self.over

    async def _read(self) -> None:
        try:
            data = await self._wire.receive(_READ)
        except Exception as error:  # noqa: BLE001 - whatever a foreign stream raises, it cannot be read any more
            self.end(error)
            return
        self._accept(data)

    def _accept(self, data: bytes) -> None:
        if self.over:
            return  # it came while somebody else ended the connection
        if data:
            if self.is_timed:
                self._received_at = trio.current_time()
            if self._waiting:
                self._led = True
            self._take(data)
            self._read_on(len(data))
        else:
            self.end(None)

    def _read_on(self, size: int) -> None:
        """Read what is there already of a large message, or of the end: to wait for it costs more than to read it."""
        left = _TURN
        while left > 0 and not self.over and self._goes_on(size == _READ):
            data = self._wire.receive_now(_READ)
            if data is None:
                return
            if not data:
                self.end(None)
                return
            size = len(data)
            left -= size
            if self.is_timed:
                self._received_at = trio.current_time()
            self._take(data)

    async def _stand_by(self) -> None:
        """Let a program read until it is away for longer than the grace."""
        self._led = False
        with trio.move_on_after(GRACE):
            await self._doze()
            return
        if self._leading and not self._led:
            # It has waited for longer than the grace, and may do so each time: its comings and goings move a deadline,
            # which costs less than to be woken up by them.
            with trio.CancelScope() as self._patience:
                await self._doze()
            self._patience = None
            self._led = False

    async def _doze(self) -> None:
        if not self._called:
            self._alarm = trio.Event()
            await self._alarm.wait()
        self._called = False

    def call(self) -> None:
        """Let the background task look at how things stand."""
        self._called = True
        if self._alarm is not None:
            self._alarm.set()

    def take_over(self) -> None:
        """Let the background task read at once: the program waits for something else than a message."""
        self._led = False
        self.call()

    def end(self, error: Exception | None) -> None:
        """Note that there is no more to read; the first reason stands."""
        if not self.over:
            self.over = True
            self.error = error
            del self._take, self._is_full  # not needed any more, and the driver's, which refers to this: a circle
            self.call()
