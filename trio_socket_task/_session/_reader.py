"""Who reads a connection: the program that waits for a message, or, while it is away, something in the background."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from time import perf_counter
from typing import final

import trio

from trio_socket_task._stream._wire import Wire, run_pending_streams

from ._busy_poll import BusyPoll
from ._input import NEVER, READ, Consumer, Input
from ._poller import GRACE, HAS_EPOLL, Polled
from ._wakeup import Wakeup


@final
class _Reads(Enum):
    """Who is reading."""

    NOBODY = "nobody"
    PROGRAM = "a program that waits for a message"
    BACKGROUND = "the background task, or whoever looks at a deadline"


@final
class Reader(Input):
    """One connection's input, and who reads it.

    A program that waits in `wait_for_data` reads the stream itself; others wait for what it reads. While no program
    does, it is read in the background, so that pings are answered and the peer's close is seen: by the run's poller
    where the kernel tells it what can be read, else by the background task, which is that of `run`.
    """

    __slots__ = (
        *(
            "_busy_poll",
            "_context",
            "_failure",
            "_handed_at",
            "_is_asked",
            "_is_new",
            "_left_at",
            "_must_read",
            "_patience",
            "_polled",
        ),
        *("_program_was_here", "_reads", "_waiting", "paused_until"),
    )

    def __init__(
        self,
        wire: Wire,
        consumer: Consumer,
        wakeup: Wakeup,
        waiting: trio.lowlevel.ParkingLot,
        busy_poll: BusyPoll | None = None,
    ) -> None:
        super().__init__(wire, consumer, wakeup)
        self._busy_poll = busy_poll if wire.reads_now else None
        self._waiting = waiting  # programs that wait for a message while somebody else reads
        self._reads = _Reads.NOBODY
        self._program_was_here = False  # whether a program has read since that was last asked
        self.paused_until: float = NEVER
        """When reading last went on after a pause (Trio's clock); infinite while it pauses."""
        # By the poller:
        fd = wire.polled_fd() if HAS_EPOLL else None
        self._polled = None if fd is None else Polled(fd)
        self._must_read = False  # whether the task is to read, because the poller cannot
        # Whether the task reads in the first instant: many a socket is closed before it is worth to tell the poller.
        self._is_new = self._polled is not None
        self._left_at = NEVER  # when a program last stopped reading
        self._is_asked = False  # whether the poller asks from time to time if a program is there
        self._context = trio.lowlevel.current_task().context  # which the program's functions see
        self._failure: BaseException | None = None  # of a function of the program's, which ends the task
        # By the task alone:
        self._patience: trio.CancelScope | None = None  # of the background task, for a program that waits for long
        self._handed_at = NEVER  # when the background task last read for a program that waits

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read in the background, or wait while others do, until there is no more, or the consumer is failing."""
        while not self.over and not self._consumer.is_failing():
            if self._consumer.is_full():
                self.paused_until = float("inf")
                await self._wakeup.wait()
                self.paused_until = trio.current_time()
            elif self._reads is _Reads.NOBODY and (self._must_read or self._is_left_to_task()):
                await self._read_once()
            elif self._reads is _Reads.NOBODY and self._is_new:
                self._is_new = False
                with trio.move_on_after(GRACE):
                    await self._read_once()
            elif self._polled is None:
                await self._stand_by()
            elif self._reads is _Reads.NOBODY and self._needs_task():
                self._must_read = True
            else:
                self._must_read = False
                self._watch()
                await self._wakeup.wait()
            if self._failure is not None:
                raise self._failure

    def _is_left_to_task(self) -> bool:
        return self._polled is None and not self._program_was_here

    async def _read_once(self) -> None:
        self._must_read = False
        self._reads = _Reads.BACKGROUND
        try:
            data = await self.receive()
            if data is not None:
                if self._waiting and self._is_busy():
                    self._program_was_here = True
                self.accept(data)
        finally:
            self._release()  # and `run` goes on

    @trio.lowlevel.enable_ki_protection
    async def wait_for_data(self) -> None:
        """Wait until something was read, by whomever; a checkpoint.

        It may return early, so ask again. If it is cancelled, nothing is lost.
        """
        if self._reads is not _Reads.NOBODY or self.over or self._consumer.is_full():
            await self._waiting.park()
            return
        self._reads = _Reads.PROGRAM
        self._unwatch()
        if self._patience is not None:
            self._patience.deadline = float("inf")
        others = None if self._busy_poll is None else self._busy_poll.waiting
        if others is not None:
            others.count += 1
        try:
            data = await self.receive()
            if data is not None:
                self.accept(data)
        finally:
            if others is not None:
                others.count -= 1
            self._program_was_here = True
            if self._patience is not None:
                self._patience.deadline = trio.current_time() + GRACE
            self._release()
            self._expect_program()

    def look_for_answer(self) -> bool:
        """Read the answer to what was just sent, where it comes at once; return whether anything came."""
        poll = self._busy_poll
        if poll is None or self._reads is not _Reads.NOBODY or self.over or self._consumer.is_full() or self._is_behind:
            return False
        end = poll.begin()
        while (data := self._wire.receive_now(READ)) is None and perf_counter() < end:
            pass
        poll.learn(end, found=data is not None)
        if data is None:
            return False
        self._program_was_here = True
        self.accept(data)
        if self._polled is not None and (self._is_behind or self._wire.has_rest):
            self._expect_program()
        return True

    def look_for_listeners(self) -> None:
        """Read the answer to what was just sent, where it comes at once, for who does not read by himself.

        What is left behind it is read in the background.
        """
        self.look_for_answer()
        if not self.over and (self._is_behind or self._wire.has_rest):
            self.read_in_background()

    async def look(self) -> None:
        """Read what has come already, before anybody concludes from a clock that nothing has; a checkpoint."""
        if self._reads is not _Reads.NOBODY:
            await run_pending_streams()
            return
        self._reads = _Reads.BACKGROUND
        try:
            await self.accept_arrived()
        finally:
            self._release()
            self._expect_program()

    def _release(self) -> None:
        """Leave the reading to another program, if one waits."""
        self._reads = _Reads.NOBODY
        if self._waiting:
            self._waiting.unpark()

    def _expect_program(self) -> None:
        """Have the poller watch the socket: at once, or in busy traffic once the program is away for the grace."""
        if self._polled is None or self.over:
            return
        now = trio.current_time()
        is_busy, self._left_at = now < self._left_at + GRACE, now
        if is_busy and not self._is_asked:
            self._is_asked = self._polled.ask_later(self._is_program_here)
        if not self._is_asked:
            self._watch()

    def _is_program_here(self) -> bool:
        """Return whether a program has read since it was last asked, and so is asked again; else watch the socket."""
        self._is_asked = self._program_was_here and self._reads is _Reads.NOBODY
        self._program_was_here = False
        if not self._is_asked:
            self._run_in_poller(self._watch)
        return self._is_asked

    def _watch(self) -> None:
        """Have the poller watch the socket, if nobody reads; where it cannot, the background task reads."""
        if self._polled is None or self._reads is not _Reads.NOBODY or self._must_read:
            return
        if self._needs_task() or not self._polled.watch(self._read_polled):
            self._read_by_task()

    def _read_polled(self) -> None:
        """Read what the poller says is there."""
        if self._reads is _Reads.NOBODY:
            self._run_in_poller(self._read_now)

    def _run_in_poller(self, function: Callable[[], None]) -> None:
        """Do something for the socket's task in the poller's, which must not fail: that would end the Trio run."""
        try:
            self._context.run(function)
        except BaseException as error:  # noqa: BLE001 - the socket's task raises it
            self._failure = error
            self._read_by_task()

    def _read_now(self) -> None:
        """Read without waiting; where the poller cannot watch for more, the background task goes on."""
        data = None
        if not (self._must_read or self._polled is None or self._polled.is_over or self._consumer.needs_task()):
            data = self._wire.receive_now(READ)
        if data is not None:
            self.accept(data)
        if data is None or self._needs_task():
            self._read_by_task()

    def _needs_task(self) -> bool:
        """Whether the background task has something to do that the poller cannot."""
        return self.over or self._is_behind or self._wire.has_rest or self._consumer.needs_task()

    @trio.lowlevel.enable_ki_protection
    def _read_by_task(self) -> None:
        """Have the background task look at what is to be done, and the poller watch the socket no more until then."""
        self._unwatch()
        self._must_read = True
        self._wakeup.set()

    def _unwatch(self) -> None:
        if self._polled is not None:
            self._polled.pause()

    def _is_busy(self) -> bool:
        """Whether messages follow one another within the grace, so that a program is expected back at once.

        Where they come now and then, to stand by for a program after each costs more than all else.
        """
        before, self._handed_at = self._handed_at, trio.current_time()
        return self._handed_at < before + GRACE

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
        """Begin to read in the background at once: the program waits for something else than a message."""
        self._program_was_here = False
        if self._polled is None:
            self._wakeup.set()
        else:
            self._watch()

    def end(self) -> None:
        """Read no more: the connection is over."""
        super().end()
        if self._polled is not None:
            self._polled.end()
