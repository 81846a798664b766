"""Frames on their way to the peer: one queue, one writer, every frame whole or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import final

import trio

from trio_socket_task._protocol._constants import MAX_PONGS
from trio_socket_task._protocol._deflate import CompressedMessage, Outgoing
from trio_socket_task._stream._wire import Wire

from ._ending import Ending
from ._wakeup import Wakeup

_BATCH = 64 * 1024  # bytes joined into one write; a control frame waits behind no more, unless a large frame has begun
_PONGS_SIZE = MAX_PONGS * 131  # bytes of unsent Pongs, 2 + 4 + 125 each, kept for a peer that pings and does not read
_NO_MESSAGES: deque[Outgoing] = deque()
"""What is queued on a socket that has sent nothing: an empty deque of its own is 760 bytes."""


@final
class Writer:
    """What is to be written.

    An answer to a received message is written by the sender itself; the frames of a burst are joined and written by
    a task, which starts with the first burst.
    """

    __slots__ = (
        *("_encrypted", "_drained", "_ended", "_ending", "_granted", "_has_compressed", "_limit", "_lost", "_messages"),
        *("_nursery", "_on_written", "_pieces", "_pings", "_pongs", "_under_way", "_wakeup", "_wire", "bytes_begun"),
        *("eager", "finished", "pings_begun_at", "progress_at", "room", "size", "taken", "written"),
    )

    def __init__(
        self,
        wire: Wire,
        limit: int,
        nursery: trio.Nursery,
        ending: Ending,
        on_written: Callable[[], None] | None = None,
    ) -> None:
        self._wire = wire
        self._limit = limit
        self._nursery = nursery  # of the task
        self._ending = ending
        self._on_written = on_written  # called when `written` has grown
        self._encrypted: bytes | memoryview = b""  # encrypted bytes that are the next to be written
        self._pieces: Iterator[bytes] = iter(())  # of the large frame that is being written
        self._pings: list[bytes] = []
        self._pongs: list[bytes] = []
        self._messages: deque[Outgoing] = _NO_MESSAGES
        self._wakeup: Wakeup | None = None  # of the task, once there is one
        self._drained: trio.Event | None = None  # what is waited for that everything is written
        self._ended = False  # whether nothing is written any more
        self._granted = False  # whether a sender was woken that has not put its message yet
        self._has_compressed = False  # which takes time, so that other tasks are to run
        self._lost = 0  # how many frames waited when writing failed
        self._under_way = 0  # how many of the frames that go in order are in what is being written
        self.size: int = 0
        """Bytes not yet written; those of a message that is yet to be compressed count as they are."""
        self.bytes_begun: int = 0
        """Bytes of all frames that were written, or begun."""
        self.eager: bool = True
        """Whether no message was taken since bytes last came: the next is likely to be alone, so is written at once."""
        self.finished: bool = False
        """Whether the Close frame was taken, or writing failed; nothing is taken after it."""
        self.room: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        """Senders that wait because `limit` bytes are queued."""
        self.progress_at: float = -float("inf")
        """When bytes were last written by waiting (Trio's clock)."""
        self.pings_begun_at: float = -float("inf")
        """When pings that had to wait were last taken into a write."""
        self.taken: int = 0
        """How many frames were taken that go in order: messages, and Pings among them."""
        self.written: int = 0
        """How many of these were written whole; those of a write that failed or was cancelled never count."""

    @property
    def begun(self) -> int:
        """How many of the frames that go in order were given to the stream, or a part of them was."""
        return self.taken - len(self._messages) - self._lost

    def has_room(self) -> bool:
        """Whether a message may be taken now, with nobody waiting before it."""
        return self.size < self._limit and not self.room and not self._granted

    def put(self, frame: Outgoing) -> None:
        """Take a message's frame."""
        granted, self._granted = self._granted, False
        try:
            self._put_in_order(frame, at_once=self.eager)
            self.eager = False
        finally:
            if granted:
                self._grant_room()

    def _grant_room(self) -> None:
        """Wake the next sender, one at a time, so that they keep their order."""
        if self.room and not self._granted and self.size < self._limit:
            self._granted = True
            self.room.unpark()

    async def use_room(self, use: Callable[[], None]) -> bool:
        """Wait for a turn, and call `use`, which puts as many messages as it likes; False when no more are taken."""
        if not self.finished and not self.has_room():
            await self.room.park()
            self._granted = False
        if self.finished:
            return False
        use()
        self._grant_room()
        return True

    def put_ping(self, frame: bytes) -> None:
        """Take a Ping, which goes before the messages that wait (RFC 6455 section 5.4)."""
        self._put_control(frame, self._pings)

    def put_ping_in_order(self, frame: bytes) -> None:
        """Take a Ping that goes after the messages that wait, so that its pong tells that they were read."""
        if not self.finished:
            self._put_in_order(frame, at_once=True)

    def put_pongs(self, frames: bytes) -> None:
        """Take answers to Pings that came together, which go before the messages that wait, in one write.

        Of those that wait the oldest are dropped.
        """
        self._put_control(frames, self._pongs)
        while len(self._pongs) > 1 and sum(map(len, self._pongs)) > _PONGS_SIZE:
            self.size -= len(self._pongs.pop(0))

    def _put_control(self, frame: bytes, queue: list[bytes]) -> None:
        if not self.finished and (self.size or not self._write_now(frame)):
            queue.append(frame)
            self.size += len(frame)
            self._wake_task()

    def holds_ping(self, frame: bytes) -> bool:
        """Whether a Ping waits behind what is being written."""
        return frame in self._pings

    def put_close(self, frame: bytes) -> None:
        """Take the Close frame, which goes after everything."""
        if self.finished:
            return
        self.finished = True
        self.room.unpark_all()
        self._put_in_order(frame, at_once=True)

    def _put_in_order(self, frame: Outgoing, *, at_once: bool) -> None:
        """Write a frame at once where that is wanted and nothing waits before it; else leave it to the task."""
        self.taken += 1
        if not at_once or self.size or not self._write_now(frame):
            self._queue(frame)
            self.size += len(frame)
            self._wake_task()
        elif not self.finished:
            if self.size:
                self._under_way = int(not self._messages)  # where the rest of a compressed message does not wait
            else:
                self.written += 1
                if self._on_written is not None:
                    self._on_written()

    def _queue(self, frame: Outgoing) -> None:
        if self._messages is _NO_MESSAGES:
            self._messages = deque()
        self._messages.append(frame)

    def _count_written(self) -> None:
        """Count what was being written, all of which was."""
        if self._under_way:
            self.written += self._under_way
            self._under_way = 0
            if self._on_written is not None:
                self._on_written()

    def _write_now(self, frame: Outgoing) -> bool:
        """Write what the stream takes at once, of a frame before which nothing waits; False where that is nothing.

        The rest is the task's.
        """
        left = len(frame)
        if isinstance(frame, bytes):
            pieces = iter((frame,))
        elif isinstance(frame, CompressedMessage):
            self._begin_compressed(frame)
            return True
        else:
            pieces = iter(frame)
        try:
            for piece in pieces:
                encrypted = self._wire.encrypt(piece)
                sent = self._wire.send_now(encrypted)
                if not sent and encrypted is piece and left == len(frame):
                    return False
                left -= len(piece)
                self.bytes_begun += len(piece)
                if sent < len(encrypted):
                    self._pieces = pieces
                    self._begin(encrypted, sent, left)
                    break
        except trio.BrokenResourceError as error:
            self._fail(error)
        return True

    def _begin_compressed(self, message: CompressedMessage) -> None:
        """Compress a message before which nothing waits, or the first piece of it, and write what the stream takes."""
        frame = message.next_frame()
        if message:
            self._queue(message)
        self.bytes_begun += len(frame)
        try:
            encrypted = self._wire.encrypt(frame)
            self._begin(encrypted, self._wire.send_now(encrypted), len(message))
        except trio.BrokenResourceError as error:
            self._fail(error)

    def write_pending_output(self) -> None:
        """Write what TLS itself has to send, unless the task is at work, which does so when it has done."""
        if not self.size and not self.finished:
            self._begin(self._wire.pending_output(), 0)

    def _begin(self, data: bytes | memoryview, sent: int, left: int = 0) -> None:
        """Leave the rest of what was begun to the task: of `data`, and `left` bytes of pieces that follow it."""
        self.size = len(data) - sent + left
        if self.size:
            self._encrypted = memoryview(data)[sent:]
            self._wake_task()

    def _wake_task(self) -> None:
        if self._wakeup is None:
            self._wakeup = Wakeup()
            self._nursery.start_soon(self._run, self._wakeup)
        else:
            self._wakeup.set()

    @trio.lowlevel.enable_ki_protection
    async def _run(self, wakeup: Wakeup) -> None:
        """Write what is queued, for ever, or until that fails."""
        while True:
            while self.size:
                begun, self._encrypted = self._encrypted, b""
                piece = b"" if begun else next(self._pieces, b"") or self._next_batch()
                self.bytes_begun += len(piece)
                try:
                    await self._write(memoryview(begun or self._wire.encrypt(piece)))
                except Exception as error:  # noqa: BLE001 - whatever a foreign stream raises, it cannot be written any more
                    self._fail(error)
                    return
                self.size -= len(begun) or len(piece)
                if not self.size:
                    self._count_written()
                    self._begin(self._wire.pending_output(), 0)
                self._grant_room()
                if self._has_compressed:
                    self._has_compressed = False
                    await trio.lowlevel.checkpoint()
            self._note_drained()
            await wakeup.wait()

    async def _write(self, view: memoryview) -> None:
        """Write everything, in pieces, so that progress shows."""
        while view:
            sent = self._wire.send_now(view)
            if not sent:
                sent = min(len(view), _BATCH)
                await self._wire.send(view[:sent])
                self.progress_at = trio.current_time()
            view = view[sent:]

    def _next_batch(self) -> bytes:
        """Join what belongs into the next write: control frames first, then messages."""
        self._count_written()
        if self._pings:
            self.pings_begun_at = trio.current_time()
        batch = [*self._pings, *self._pongs]
        self._pings.clear()
        self._pongs.clear()
        size = sum(map(len, batch))
        while self._messages and (not batch or size + len(self._messages[0]) <= _BATCH):
            frame = self._messages.popleft()
            if not isinstance(frame, bytes):
                if isinstance(frame, CompressedMessage):
                    size += len(frame)
                    batch.append(self._compress(frame))
                    if frame:
                        self._messages.appendleft(frame)
                        break
                    self._under_way += 1
                    continue
                self._pieces = iter(frame)
                frame = next(self._pieces)
            size += len(frame)
            batch.append(frame)
            self._under_way += 1
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def _compress(self, message: CompressedMessage) -> bytes:
        """Compress the next piece of a message; from now on `size` knows how long its frame is."""
        self._has_compressed = True
        before = len(message)
        frame = message.next_frame()
        self.size += len(frame) + len(message) - before
        return frame

    async def wait_drained(self) -> None:
        """Wait until everything is written, or cannot be."""
        if self.size > 0 and not self._ended:
            if self._drained is None:
                self._drained = trio.Event()
            await self._drained.wait()

    @property
    def is_writing(self) -> bool:
        """Whether bytes are on their way; those of a connection that is over are not."""
        return self.size > 0 and not self._ended

    def _note_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _fail(self, error: Exception) -> None:
        """Stop: after a write that failed, nothing that follows would be understood."""
        self.size = 0
        self._under_way = 0
        self._encrypted = b""
        self._pieces = iter(())
        self._pings.clear()
        self._pongs.clear()
        if self._messages:
            self._lost = len(self._messages)
            self._messages.clear()
        self.end()
        self._ending.fail_to_write(error)

    def end(self) -> None:
        """Take and write nothing more: the connection is over; `size` says what was not written."""
        self.finished = self._ended = True
        self.room.unpark_all()
        self._note_drained()
