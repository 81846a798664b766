"""Bytes on a stream: at once where that is possible, else by waiting."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, final

import trio


class Wire(Protocol):
    """What the driver needs of a connection.

    One task reads and one writes at a time. Errors are `trio.BrokenResourceError` and `trio.ClosedResourceError`.
    """

    def seal(self, data: bytes | memoryview) -> bytes | memoryview:
        """Give the bytes that go out for these, all of them and in the order of the calls: where TLS encrypts."""

    def listen(self, on_words: Callable[[], None]) -> None:
        """Let `on_words` be called when the wire has something to say by itself."""

    def words(self) -> bytes:
        """Give what the wire has to say by itself, which goes out before what is sealed later."""

    def send_now(self, data: bytes | memoryview) -> int:
        """Write what can be written without waiting, and say how many bytes that were; 0 where nothing can."""

    async def send(self, data: bytes | memoryview) -> None:
        """Write everything; when it is cancelled, an unknown part was written."""

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes; none means that the peer ended its side. If it is cancelled, nothing is lost."""

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Give bytes that are there without waiting, none at the end; None where there is nothing, or nobody knows."""

    @property
    def reads_now(self) -> bool:
        """Whether `receive_now` gives all that has come, so that nothing is left where it gives nothing."""

    @property
    def incomplete_at(self) -> float:
        """When bytes last came of which `receive` could give nothing yet (Trio's clock)."""

    def close_now(self) -> bool:
        """Close the connection, where that needs no waiting; say whether it was."""

    async def aclose(self) -> None:
        """Close the connection; when it is cancelled, by force."""


class _PlainWire:
    """A wire that sends what it is given, and nothing else."""

    __slots__ = ()

    def seal(self, data: bytes | memoryview) -> bytes | memoryview:
        """Give them as they are."""
        return data

    def listen(self, on_words: Callable[[], None]) -> None:
        """Have nothing to say."""

    def words(self) -> bytes:
        """Say nothing."""
        return b""

    def receive_now(self, max_bytes: int) -> bytes | None:  # noqa: ARG002 (a Trio stream can only wait)
        """Know nothing."""
        return None

    reads_now = False

    @property
    def incomplete_at(self) -> float:
        """There are no such bytes."""
        return -float("inf")

    def close_now(self) -> bool:
        """Do nothing: a Trio stream may wait."""
        return False


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Let a nursery inside a foreign stream raise what a stream may: a cancellation, or an error, and not both."""
    try:
        yield
    except BaseExceptionGroup as group:
        failures, others = group.split(Exception)
        if others is None:
            raise trio.BrokenResourceError(str(group)) from failures
        raise others from None  # it failed while it was called off, which is what counts


@final
class StreamWire(_PlainWire):
    """Any Trio stream: memory, or what `dial` returned."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    def send_now(self, data: bytes | memoryview) -> int:  # noqa: ARG002 (a Trio stream can only wait)
        """Write nothing: a Trio stream has no way to write without waiting."""
        return 0

    async def send(self, data: bytes | memoryview) -> None:
        """Write everything."""
        with _plain_errors():
            await self._stream.send_all(data)

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes."""
        with _plain_errors():
            return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


@final
class SocketWire(_PlainWire):
    """A plain socket, read and written directly.

    `trio.SocketStream` goes through the scheduler after every write and tries every read in vain first; both cost
    more than a small message itself. Waiting stays Trio's.
    """

    __slots__ = ("_socket",)
    reads_now = True

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket

    def send_now(self, data: bytes | memoryview) -> int:
        """Write what the kernel takes."""
        try:
            return os.write(self._socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _broken(error) from error

    async def send(self, data: bytes | memoryview) -> None:
        """Write everything."""
        with memoryview(data) as view:
            await trio.lowlevel.checkpoint_if_cancelled()
            sent = self.send_now(view)
            while sent < len(view):
                await trio.lowlevel.wait_writable(self._socket)
                sent += self.send_now(view[sent:])

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket.fileno(), max_bytes)
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    raise _broken(error) from error

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Give what the kernel has; an error will be there for `receive`, too."""
        try:
            return os.read(self._socket.fileno(), max_bytes)
        except OSError:
            return None

    def close_now(self) -> bool:
        """Close the socket."""
        self._socket.close()
        return True

    async def aclose(self) -> None:
        """Close the socket, which needs no waiting."""
        self.close_now()


def _broken(error: OSError) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(error.strerror or str(error))


_LAST_STEPS = 10
"""Steps of the loop in which a stream gives what has come already: a task that waits for a socket runs in the second,
and TLS over a stream of somebody else's takes a few more."""


async def let_streams_run() -> None:
    """Let tasks that wait for a stream find out what has come already; it cannot be cancelled."""
    with trio.CancelScope(shield=True):
        for _ in range(_LAST_STEPS):
            await trio.lowlevel.checkpoint()


async def receive_arrived(wire: Wire, max_bytes: int) -> bytes | None:
    """Return what has come already, none at the end; None where nothing has.

    For a deadline that is about to be judged: a loop that was blocked has not looked yet, or the whole process was
    stopped. It cannot be cancelled, and takes no time of the clock.

    Raises:
        Exception: What the stream raises when it is broken.
    """
    arrived: list[bytes] = []
    failed: list[Exception] = []

    @trio.lowlevel.enable_ki_protection
    async def receive() -> None:
        try:
            arrived.append(await wire.receive(max_bytes))
        except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
            failed.append(error)

    with trio.CancelScope(shield=True):
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(receive)
            for _ in range(_LAST_STEPS):
                if arrived or failed:
                    break
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    for error in failed:
        raise error
    return arrived[0] if arrived else None


def wire_for(stream: trio.abc.Stream) -> Wire:
    """Choose the best way to move bytes on a stream."""
    # On Windows a socket is not a file descriptor that os.read and os.write know.
    if isinstance(stream, trio.SocketStream) and os.name == "posix":
        return SocketWire(stream)
    return StreamWire(stream)
