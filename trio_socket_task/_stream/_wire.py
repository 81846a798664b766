"""Bytes on a stream: at once where that is possible, else by waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, final

import trio


class Wire(Protocol):
    """What a session needs of a connection.

    One task reads and one writes at a time. Errors are `trio.BrokenResourceError` and `trio.ClosedResourceError`.
    """

    def encrypt(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return the bytes that go out for these, all of them and in the order of the calls; TLS encrypts."""

    def pending_output(self) -> bytes:
        """Return what TLS itself has to send, which goes out before what is encrypted later."""

    def send_now(self, data: bytes | memoryview) -> int:
        """Write what can be written without waiting, and return how many bytes that were; 0 where nothing can."""

    async def send(self, data: bytes | memoryview) -> None:
        """Write everything; when it is cancelled, an unknown part was written."""

    async def receive(self, max_bytes: int) -> bytes | None:
        """Wait for bytes; none means that the peer ended its side. If it is cancelled, nothing is lost.

        It returns None, once, where there is `pending_output` that goes out before bytes can come.
        """

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Return bytes that are there without waiting, none at the end; None where nothing is known to be."""

    @property
    def reads_now(self) -> bool:
        """Whether `receive_now` gives all that has come, so that nothing is left where it gives nothing."""

    @property
    def incomplete_at(self) -> float:
        """When bytes last came of which `receive` could give nothing yet (Trio's clock)."""

    def polled_fd(self) -> int | None:
        """Return the file descriptor that is readable when bytes come; None where none tells that."""

    @property
    def has_rest(self) -> bool:
        """Whether there is something to receive, or to send first, of which that file descriptor tells nothing."""

    def close_now(self) -> bool:
        """Close the connection, where that needs no waiting; return whether it was."""

    async def aclose(self) -> None:
        """Close the connection; when it is cancelled, by force."""


class _PlainWire:
    """A wire that sends what it is given, and nothing else."""

    __slots__ = ()

    def encrypt(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return them as they are."""
        return data

    def pending_output(self) -> bytes:
        """Return nothing."""
        return b""

    def receive_now(self, max_bytes: int) -> bytes | None:  # noqa: ARG002 (a Trio stream can only wait)
        """Return None: a Trio stream can only wait."""
        return None

    reads_now = False
    has_rest = False

    def polled_fd(self) -> int | None:
        """Return None: there is none."""
        return None

    @property
    def incomplete_at(self) -> float:
        """There are no such bytes."""
        return -float("inf")

    def close_now(self) -> bool:
        """Do nothing: a Trio stream may wait."""
        return False


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Make what a nursery inside a foreign stream raises one error, or a cancellation, and not both in a group."""
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

    async def receive(self, max_bytes: int) -> bytes | None:
        """Wait for bytes."""
        with _plain_errors():
            return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


_CLOSED = -1
"""The file descriptor of a closed socket: its old one may be somebody else's."""


@final
class SocketWire(_PlainWire):
    """A plain socket, read and written directly.

    `trio.SocketStream` goes through the scheduler after every write and tries every read in vain first; both cost
    more than a small message itself. Waiting stays Trio's.
    """

    __slots__ = ("_error", "_own_fd", "_socket")
    reads_now = True

    def __init__(self, stream: trio.SocketStream, *, is_ours: bool) -> None:
        self._socket = stream.socket
        # None where somebody else may close it, of which Trio tells who waits by Trio, and nobody else.
        self._own_fd = self._socket.fileno() if is_ours else None
        self._error: OSError | None = None  # of a read, which the kernel tells once

    def send_now(self, data: bytes | memoryview) -> int:
        """Write what the kernel takes."""
        try:
            return os.write(self._socket.fileno() if self._own_fd is None else self._own_fd, data)
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

    async def receive(self, max_bytes: int) -> bytes | None:
        """Wait for bytes."""
        while True:
            if self._error is None:
                await trio.lowlevel.wait_readable(self._socket)
            else:
                await trio.lowlevel.checkpoint()
            data = self.receive_now(max_bytes)
            if self._error is not None:
                raise _broken(self._error) from self._error
            if data is not None:
                return data

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Return what the kernel has; an error is kept for `receive`, because the kernel tells of it once."""
        if self._error is None:
            try:
                return os.read(self._socket.fileno() if self._own_fd is None else self._own_fd, max_bytes)
            except BlockingIOError:
                pass
            except OSError as error:
                self._error = error.with_traceback(None)
        return None

    def polled_fd(self) -> int | None:
        """Return the socket's, where nobody else has it."""
        return self._own_fd

    def close_now(self) -> bool:
        """Close the socket."""
        if self._own_fd is not None:
            self._own_fd = _CLOSED
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


async def run_pending_streams() -> None:
    """Run the loop until tasks that wait for a stream have found out what has come already; it cannot be cancelled."""
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
            while (data := await wire.receive(max_bytes)) is None:
                pass  # what TLS has to send meanwhile is sent with what is sent next
            arrived.append(data)
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


async def close_forcefully(resource: trio.abc.AsyncResource | Wire) -> None:
    """Close what is of no further use, at once; that it does not close well is no news."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await resource.aclose()
        except Exception:  # noqa: BLE001, S110 (as said)
            pass
        except BaseExceptionGroup as group:  # of which not all are
            raise group.split(Exception)[1] or group from None


def wire_for(stream: trio.abc.Stream, *, is_ours: bool) -> Wire:
    """Choose the best way to move bytes on a stream; it is ours where nobody else can close it."""
    # On Windows a socket is not a file descriptor that os.read and os.write know.
    if isinstance(stream, trio.SocketStream) and os.name == "posix":
        return SocketWire(stream, is_ours=is_ours)
    return StreamWire(stream)


def wire_over(stream: trio.abc.Stream, *, is_ours: bool, tcp_no_delay: bool) -> Wire:
    """Choose the best way to move bytes on a stream, and set TCP_NODELAY where it is TCP."""
    if isinstance(stream, trio.SocketStream) and stream.socket.family != getattr(socket, "AF_UNIX", None):
        with suppress(OSError):  # no TCP, such as AF_VSOCK, or a connection that has broken, which reading tells
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, tcp_no_delay)
    return wire_for(stream, is_ours=is_ours)
