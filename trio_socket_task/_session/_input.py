"""The bytes of one connection, from its wire to who takes them."""

from __future__ import annotations

from typing import Protocol

import trio

from trio_socket_task._stream._wire import Wire, receive_arrived

from ._wakeup import Wakeup

NEVER = -float("inf")
"""A time of Trio's clock before all others."""
READ = 64 * 1024
"""Bytes read at once: larger pieces fall out of the processor's cache before they are joined."""
_TURN_BYTES = 1024 * 1024
"""Bytes of a large message read before other tasks run: about a millisecond."""
_LOOK, _LOOK_SECONDS = 8 * 2**20, 0.1
"""Bytes read at most at a deadline, more than the kernel keeps for a socket, and for how long: a flood ends, too."""


class Consumer(Protocol):
    """What takes the bytes that are read, in order."""

    def receive_data(self, data: bytes, *, read_was_full: bool) -> bool:
        """Take the next bytes; return whether it is worth to read again at once."""

    def is_behind(self) -> bool:
        """Whether `receive_data` is to be called again, without bytes, when other tasks have run."""

    def is_full(self) -> bool:
        """Whether nothing more is to be read for now."""

    def needs_task(self) -> bool:
        """Whether reading is to be left to the task that ends the connection: it is full, failing or ending."""

    def is_failing(self) -> bool:
        """Whether nothing more is to be read until that has had its consequences."""

    def write_pending_output(self) -> None:
        """Write what the wire has to send before it can read on."""


class Input:
    """One connection's input, as far as it does not matter who reads: what is read goes to the consumer."""

    __slots__ = (
        *("_consumer", "_is_behind", "_received_at", "_wakeup", "_wire"),
        *("error", "inflates", "is_timed", "over"),
    )

    def __init__(self, wire: Wire, consumer: Consumer, wakeup: Wakeup) -> None:
        self._wire = wire
        self._consumer = consumer
        self._wakeup = wakeup  # of the task that ends the connection, and reads where nobody else does
        self._is_behind = False  # whether the consumer has bytes left that it is to take before others
        self._received_at = trio.current_time()
        self.is_timed: bool = False
        """Whether `received_at` is asked for."""
        self.inflates: bool = False
        """Whether what comes may be compressed, so that the consumer may be behind."""
        self.over: bool = False
        """Whether there is no more to read."""
        self.error: Exception | None = None
        """What ended it; None when the peer ended its side."""

    @property
    def received_at(self) -> float:
        """When bytes last came, or the connection opened (Trio's clock); as far as it `is_timed`."""
        return max(self._received_at, self._wire.incomplete_at)

    @property
    def incomplete_at(self) -> float:
        """When bytes last came of which nothing can be decrypted yet (Trio's clock)."""
        return self._wire.incomplete_at

    async def receive(self) -> bytes | None:
        """Wait for bytes, and return them to be accepted; None where something else was done instead."""
        if self._is_behind:
            await trio.lowlevel.checkpoint()
            self._catch_up()
            return None
        try:
            data = await self._wire.receive(READ)
        except Exception as error:  # noqa: BLE001 - whatever a foreign stream raises, it cannot be read any more
            self._end(error)
            return None
        if data is None:
            self._consumer.write_pending_output()
        return data

    def accept(self, data: bytes) -> None:
        """Take bytes that were read; none means that there is no more."""
        if self.over:
            return  # it came while somebody else ended the connection
        if data:
            if self.is_timed:
                self._received_at = trio.current_time()
            if self._consumer.receive_data(data, read_was_full=len(data) == READ):
                self._read_on()
        else:
            self._end(None)

    def _read_on(self) -> None:
        """Read what is there already of a large message, or of the end: to wait for it costs more than to read it."""
        left, expects_more = _TURN_BYTES, True
        while left > 0 and not self.over and expects_more:
            if self.inflates and self._consumer.is_behind():
                self._is_behind = True
                return
            data = self._wire.receive_now(READ)
            if data is None:
                return
            if not data:
                self._end(None)
                return
            left -= len(data)
            if self.is_timed:
                self._received_at = trio.current_time()
            expects_more = self._consumer.receive_data(data, read_was_full=len(data) == READ)

    def _catch_up(self) -> None:
        """Have the consumer take more of the bytes that it has left."""
        self._consumer.receive_data(b"", read_was_full=False)
        self._is_behind = self._consumer.is_behind()

    async def accept_arrived(self) -> None:
        """Read what has come already, before anybody concludes from a clock that nothing has; a checkpoint."""
        try:
            left, end = _LOOK, trio.current_time() + _LOOK_SECONDS
            while left > 0 and trio.current_time() < end and not self.over and not self._consumer.is_full():
                if self._is_behind:
                    self._catch_up()
                    continue
                data = await receive_arrived(self._wire, READ)
                if data is None:
                    break
                left -= len(data)
                self.accept(data)
            self._consumer.write_pending_output()
        except Exception as error:  # noqa: BLE001 - as in receive
            self._end(error)

    def read_arrived(self) -> bool:
        """Read what has come already, where that needs no waiting; return whether that was all, of a dead stream."""
        left, end = _LOOK, trio.current_time() + _LOOK_SECONDS
        while left > 0 and trio.current_time() < end and not self.over:
            if self._is_behind:
                self._catch_up()
                continue
            data = self._wire.receive_now(READ)
            if data is None:
                return self._wire.reads_now
            left -= len(data)
            self.accept(data)
        return self.over

    def _end(self, error: Exception | None) -> None:
        """Note that there is no more to read; the first reason stands."""
        if not self.over:
            self.over = True
            self.error = error
            self._wakeup.set()

    def end(self) -> None:
        """Read no more: the connection is over."""
        self.over = True
