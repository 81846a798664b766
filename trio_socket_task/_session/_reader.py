"""Who reads the stream: the program that waits for a message, or a task in the background."""

from __future__ import annotations

from enum import Enum
from time import perf_counter
from typing import Protocol, final

import trio

from trio_socket_task._stream._wire import Wire, receive_arrived, run_pending_streams

from ._busy_poll import BusyPoll
from ._wakeup import Wakeup

GRACE = 0.005
"""Seconds that a program may be away between two messages before the background task reads on. A program that
answers each message at once keeps reading for itself, which saves a task switch a message."""

_READ = 64 * 1024
"""Bytes read at once: larger pieces fall out of the processor's cache before they are joined."""
_TURN = 1024 * 1024
"""Bytes of a large message read before other tasks run: about a millisecond."""
_LOOK, _LOOK_SECONDS = 8 * 2**20, 0.1
"""Bytes read at most at a deadline, more than the kernel keeps for a socket, and for how long: a flood ends, too."""


class Consumer(Protocol):
    """What takes the bytes that are read, in order."""

    def receive_data(self, data: bytes, *, read_was_full: bool) -> bool:
        """Take the next bytes; return whether it is worth to read again at once."""

    def is_full(self) -> bool:
        """Whether nothing more is to be read for now."""

    def is_failing(self) -> bool:
        """Whether nothing more is to be read until that has had its consequences."""

    def write_pending_output(self) -> None:
        """Write what the wire has to send before it can read on."""


@final
class _Reads(Enum):
    """Who is reading."""

    NOBODY = "nobody"
    PROGRAM = "a program that waits for a message"
    BACKGROUND = "the background task, or whoever looks at a deadline"


@final
class Reader:
    """One connection's input.

    A program that waits in `wait_for_data` reads the stream itself; others wait for what it reads. While no program
    does, the background task reads, so that pings are answered and the peer's close is seen.
    """

    __slots__ = (
        *("_busy_poll", "_consumer", "_handed_at", "_patience", "_program_was_here", "_reads", "_received_at"),
        *("_waiting", "_wakeup", "_wire", "error", "is_timed", "over", "paused_until"),
    )

    def __init__(
        self,
        wire: Wire,
        consumer: Consumer,
        wakeup: Wakeup,
        waiting: trio.lowlevel.ParkingLot,
        busy_poll: BusyPoll | None = None,
    ) -> None:
        self._wire = wire
        self._busy_poll = busy_poll if wire.reads_now else None
        self._consumer = consumer
        self._wakeup = wakeup  # of the background task: there is room again, or nobody else is to be waited for
        self._waiting = waiting  # programs that wait for a message while somebody else reads
        self._reads = _Reads.NOBODY
        self._program_was_here = False  # whether a program has read since the background task last looked
        self._patience: trio.CancelScope | None = None  # of the background task, for a program that waits for long
        self._handed_at = -float("inf")  # when the background task last read for a program that waits
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
        """Read in the background, until there is no more, or the consumer is failing."""
        while not self.over and not self._consumer.is_failing():
            if self._consumer.is_full():
                self.paused_until = float("inf")
                await self._wakeup.wait()
                self.paused_until = trio.current_time()
            elif self._program_was_here or self._reads is not _Reads.NOBODY:
                await self._stand_by()
            else:
                self._reads = _Reads.BACKGROUND
                try:
                    await self._read()
                finally:
                    self._release()

    @trio.lowlevel.enable_ki_protection
    async def wait_for_data(self) -> None:
        """Wait until something was read, by whomever; a checkpoint.

        It may return early, so ask again. If it is cancelled, nothing is lost.
        """
        if self._reads is not _Reads.NOBODY or self.over or self._consumer.is_full():
            await self._waiting.park()
            return
        self._reads = _Reads.PROGRAM
        if self._patience is not None:
            self._patience.deadline = float("inf")
        others = None if self._busy_poll is None else self._busy_poll.waiting
        if others is not None:
            others.count += 1
        try:
            await self._read()
        finally:
            if others is not None:
                others.count -= 1
            self._program_was_here = True
            if self._patience is not None:
                self._patience.deadline = trio.current_time() + GRACE
            self._release()

    def look_for_answer(self) -> bool:
        """Read the answer to what was just sent, where it comes at once; return whether anything came."""
        poll = self._busy_poll
        if poll is None or self._reads is not _Reads.NOBODY or self.over or self._consumer.is_full():
            return False
        end = poll.begin()
        while (data := self._wire.receive_now(_READ)) is None and perf_counter() < end:
            pass
        poll.learn(end, found=data is not None)
        if data is None:
            return False
        self._program_was_here = True
        self._accept(data)
        return True

    def _release(self) -> None:
        """Leave the reading to another program, if one waits."""
        self._reads = _Reads.NOBODY
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
        if self._reads is not _Reads.NOBODY:
            await run_pending_streams()
            return
        self._reads = _Reads.BACKGROUND
        try:
            left, end = _LOOK, trio.current_time() + _LOOK_SECONDS
            while left > 0 and trio.current_time() < end and not self.over and not self._consumer.is_full():
                data = await receive_arrived(self._wire, _READ)
                if data is None:
                    break
                left -= len(data)
                self._accept(data)
            self._consumer.write_pending_output()
        except Exception as error:  # noqa: BLE001 - as in _read
            self._end(error)
        finally:
            self._release()

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
            self._end(error)
            return
        if data is None:
            self._consumer.write_pending_output()
        else:
            self._accept(data)

    def _accept(self, data: bytes) -> None:
        if self.over:
            return  # it came while somebody else ended the connection
        if data:
            if self.is_timed:
                self._received_at = trio.current_time()
            if self._waiting and self._is_busy():
                self._program_was_here = True
            if self._consumer.receive_data(data, read_was_full=len(data) == _READ):
                self._read_on()
        else:
            self._end(None)

    def _is_busy(self) -> bool:
        """Whether messages follow one another within the grace, so that a program is expected back at once.

        Where they come now and then, to stand by for a program after each costs more than all else.
        """
        before, self._handed_at = self._handed_at, trio.current_time()
        return self._handed_at < before + GRACE

    def _read_on(self) -> None:
        """Read what is there already of a large message, or of the end: to wait for it costs more than to read it."""
        left, expects_more = _TURN, True
        while left > 0 and not self.over and expects_more:
            data = self._wire.receive_now(_READ)
            if data is None:
                return
            if not data:
                self._end(None)
                return
            left -= len(data)
            if self.is_timed:
                self._received_at = trio.current_time()
            expects_more = self._consumer.receive_data(data, read_was_full=len(data) == _READ)

    async def _stand_by(self) -> None:
        """Leave the reading to a program until it is away for longer than the grace."""
        self._program_was_here = False
        with trio.move_on_after(GRACE):
            await self._wakeup.wait()
            self._program_was_here = False
            return
        if self._reads is _Reads.PROGRAM and not self._program_was_here:
            # It has waited for longer than the grace, and may do so each time: its comings and goings move a deadline,
            # which costs less than to be woken up by them.
            with trio.CancelScope() as self._patience:
                await self._wakeup.wait()
            self._patience = None
            self._program_was_here = False

    def read_in_background(self) -> None:
        """Make the background task read at once: the program waits for something else than a message."""
        self._program_was_here = False
        self._wakeup.set()

    def _end(self, error: Exception | None) -> None:
        """Note that there is no more to read; the first reason stands."""
        if not self.over:
            self.over = True
            self.error = error
            self._wakeup.set()

    def end(self) -> None:
        """Read no more: the connection is over."""
        self.over = True
