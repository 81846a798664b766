"""TLS on a wire, without a task switch: what the kernel has is decrypted at once, what is sent is encrypted at once."""

from __future__ import annotations

import functools
import ssl
from contextlib import suppress
from typing import final

import trio

from trio_socket_task._events import TlsInfo

from ._progress import LAST_WORDS_SECONDS, within_deadline
from ._wire import Wire

_RECORD = 16 * 1024  # bytes of a record at most (RFC 8446 section 5.1)
_ALERT_SECONDS = 1.0  # for saying why a handshake failed to a peer that may not listen


@final
class TlsWire:
    """A wire that encrypts, by OpenSSL's memory buffers.

    `trio.SSLStream` passes through the scheduler for every record it reads and every message it writes. Unlike it, this
    does not renegotiate, which TLS 1.3 has abolished.
    """

    def __init__(self, lower: Wire, context: ssl.SSLContext | None, host: str, received: bytes = b"") -> None:
        """Begin, with bytes of the peer's that have come already; where no context is given, it is the default."""
        self._lower = lower
        self._outer = lower if isinstance(lower, TlsWire) else None  # of a proxy, which encrypts once more
        self._incoming = ssl.MemoryBIO()
        self._incoming.write(received)
        self._outgoing = ssl.MemoryBIO()
        self._tls = (context or _default_context()).wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._broken: ssl.SSLError | None = None  # found behind bytes that were given out first
        self._write_error: trio.BrokenResourceError | None = None  # of the handshake
        self._arrived = False  # whether bytes have come since it was last tried to decrypt
        self._announced = False  # whether `receive` has said that there is output
        self._incomplete_at: float = -float("inf")

    @property
    def incomplete_at(self) -> float:
        """When bytes last came of a record that is not whole yet (Trio's clock)."""
        return max(self._incomplete_at, self._lower.incomplete_at)

    async def handshake(self) -> None:
        """Perform the TLS handshake; if it is cancelled, or fails, the wire is of no further use.

        Raises:
            ssl.SSLError: The peer is not trusted, or does not speak TLS.
            trio.BrokenResourceError: The connection ended.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                with trio.move_on_after(_ALERT_SECONDS):
                    await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return  # a failure to write shows when the connection is read
            data = await self._receive_in_handshake()
            if data is None:
                continue  # the proxy's TLS has something to send, which goes first
            if not data and self._write_error is not None:
                raise self._write_error
            if not data:
                raise trio.BrokenResourceError("the peer closed the connection during the TLS handshake")
            self._incoming.write(data)

    async def _receive_in_handshake(self) -> bytes | None:
        """Wait for bytes; where something could not be written, for what was said before that alone."""
        if self._write_error is None:
            return await self._lower.receive(_RECORD)
        with trio.move_on_after(within_deadline(LAST_WORDS_SECONDS)):
            return await self._lower.receive(_RECORD)
        raise self._write_error

    async def _flush(self) -> None:
        """Write what TLS has to send; that this fails is raised after what the peer said, which may be an alert."""
        try:
            await self._lower.send(self.pending_output())
        except trio.BrokenResourceError as error:
            self._write_error = error.with_traceback(None)

    def pending_output(self) -> bytes:
        """Return what TLS itself has to send, encrypted: the answer to a request for a certificate, or to new keys."""
        self._announced = False
        data = self._outgoing.read()
        if self._outer is None:
            return data
        return self._outer.encrypt(data) if data else self._outer.pending_output()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Encrypt; what TLS itself had to send goes first."""
        try:
            self._tls.write(data)
        except ssl.SSLWantReadError as error:
            raise trio.BrokenResourceError("the peer wants to renegotiate TLS 1.2, which is not supported") from error
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(str(error)) from error
        return self.pending_output()

    def send_now(self, data: bytes | memoryview) -> int:
        """Write encrypted bytes that can be written without waiting."""
        return self._lower.send_now(data)

    async def send(self, data: bytes | memoryview) -> None:
        """Write encrypted bytes."""
        await self._lower.send(data)

    async def receive(self, max_bytes: int) -> bytes | None:
        """Wait for bytes; none means that the peer ended its side, by close_notify or without."""
        if self._incoming.pending or self._tls.pending() or self._broken is not None:
            await trio.lowlevel.checkpoint()  # before anything is taken, so that a cancellation loses nothing
        while (data := self._decrypt(max_bytes)) is None:
            if self._outgoing.pending and not self._announced:
                self._announced = True
                return None
            encrypted = await self._lower.receive(max_bytes)
            if encrypted is None:
                return None  # it has output, as this may have
            self._take(encrypted)
        return data

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Return what is there; an error will be there for `receive`, too."""
        if not self._incoming.pending and not self._tls.pending():
            encrypted = self._lower.receive_now(max_bytes)
            if encrypted is None:
                return None
            self._take(encrypted)
        with suppress(trio.BrokenResourceError):
            return self._decrypt(max_bytes)
        return None

    def _take(self, encrypted: bytes) -> None:
        if encrypted:
            self._arrived = True
            self._incoming.write(encrypted)
        else:
            self._incoming.write_eof()

    def _decrypt(self, max_bytes: int) -> bytes | None:
        """Decrypt what has come, record by record; None when that is not a whole record."""
        pieces: list[bytes] = []
        size = 0
        while size < max_bytes and self._broken is None:
            try:
                piece = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._broken = error.with_traceback(None)  # its frames refer to this wire: a reference cycle
                break
            if not piece:
                self._broken = ssl.SSLZeroReturnError()
                break
            pieces.append(piece)
            size += len(piece)
            if not self._incoming.pending and not self._tls.pending():
                break
        arrived, self._arrived = self._arrived, False
        if pieces:
            self._incomplete_at = -float("inf")
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if arrived:
            self._incomplete_at = trio.current_time()
        return None if self._broken is None else self._end(self._broken)

    def _end(self, error: ssl.SSLError) -> bytes:
        """Return the end of the stream where TLS has come to its end, or the connection without close_notify.

        A WebSocket's end is its Close frame, and few servers send close_notify (RFC 2818 section 2.2.1).
        """
        if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
            return b""
        raise trio.BrokenResourceError(str(error)) from error

    def info(self) -> TlsInfo:
        """Return what the TLS handshake has agreed on."""
        cipher = self._tls.cipher()
        return TlsInfo(
            version=self._tls.version() or "",
            cipher="" if cipher is None else cipher[0],
            alpn_protocol=self._tls.selected_alpn_protocol(),
            peer_certificate=self._tls.getpeercert(binary_form=True),
        )

    @property
    def reads_now(self) -> bool:
        """Whether `receive_now` gives all that has come."""
        return self._lower.reads_now

    def polled_fd(self) -> int | None:
        """Return the socket's."""
        return self._lower.polled_fd()

    @property
    def has_rest(self) -> bool:
        """Whether something that has come is left to be decrypted, or to be answered by TLS itself."""
        is_left = self._incoming.pending or self._tls.pending() or self._outgoing.pending or self._broken is not None
        return bool(is_left) or self._lower.has_rest

    def close_now(self) -> bool:
        """Close the connection, where that needs no waiting; return whether it was."""
        return self._lower.close_now()

    async def aclose(self) -> None:
        """Close the connection; when it is cancelled, by force."""
        await self._lower.aclose()


@functools.cache
def _default_context() -> ssl.SSLContext:
    """Read the system's certificate authorities, once in a process because that takes milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
