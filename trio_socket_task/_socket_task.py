"""SocketTask: the thin handle a program holds."""

from __future__ import annotations

from typing import final

import trio

from ._byte_stream import ByteStream
from ._checks import encode_payload
from ._compression import PerMessageDeflate
from ._events import CloseEvent, ErrorEvent, Header, MessageEvent, OpenEvent, SocketStatistics, TlsInfo
from ._mistakes import NO_WAIT, SOCKET_NAMES, tells_names
from ._protocol._state import ReadyState
from ._session._listener import Listener
from ._session._mailbox import TURN_SHIFT
from ._session._session import Session
from ._session._subscriptions import Subscriptions
from ._text import mask_url


@final
@tells_names(SOCKET_NAMES)
class SocketTask(trio.abc.Channel[str | bytes]):
    """One WebSocket: the vendors' SocketTask as a Trio channel. Made by `connect_socket`.

    Every ``async`` method is a cancel point on every call, and lets other tasks run at least once per 32 messages or
    1 MiB of buffered work. Any number of tasks may use one socket; its plain methods raise RuntimeError in
    another thread than that of the Trio run.
    """

    __slots__ = ("__weakref__", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"<SocketTask {self.ready_state.name} {mask_url(self.url)}>"

    @property
    def url(self) -> str:
        """The URL that was asked for."""
        return self._session.options.address.url

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server chose; None before the socket is open, and when it chose none."""
        return None if self._session.connection is None else self._session.connection.protocol

    @property
    def per_message_deflate(self) -> PerMessageDeflate | None:
        """What was agreed on of compression; None before the socket is open, and when nothing was."""
        return None if self._session.connection is None else self._session.connection.per_message_deflate

    @property
    def header(self) -> Header:
        """The fields of the server's response, found by names in any case; empty before the socket is open."""
        return Header() if self._session.connection is None else self._session.connection.header

    @property
    def local_address(self) -> tuple[str, int] | str | None:
        """The host and the port of this side, or the path of a Unix socket.

        None before the socket is open, and where the stream that `dial` returned has none.
        """
        return None if self._session.connection is None else self._session.connection.local_address

    @property
    def remote_address(self) -> tuple[str, int] | str | None:
        """The same of the other side, which is the server, or what stands before it."""
        return None if self._session.connection is None else self._session.connection.remote_address

    @property
    def tls(self) -> TlsInfo | None:
        """What the TLS handshake has agreed on; None before the socket is open, and where the URL is not a wss one."""
        return None if self._session.connection is None else self._session.connection.tls

    @property
    def ready_state(self) -> ReadyState:
        """Where the socket is in its life."""
        return self._session.life.ready_state

    @property
    def close_event(self) -> CloseEvent | None:
        """How the socket closed, as soon as that is known; None before.

        It is known with the peer's Close frame, with a failure, and when the socket is CLOSED.
        """
        life = self._session.life
        return life.close_event() if life.is_decided else None

    @trio.lowlevel.enable_ki_protection
    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message: text for str, binary for the others (``SocketTask.send``).

        It returns when the message is queued, which is at once while less than ``send_buffer`` bytes wait to be
        written. A message is queued whole or not at all: if this is cancelled, it was not.

        Raises:
            TypeError: `data` is neither text nor bytes.
            InvalidOptionsError: `data` is a str with a lone surrogate.
            SocketNotOpenError: The socket is still connecting.
            SocketClosedError: This side closed it.
            SocketLostError: The peer closed it, or the connection dropped.
        """
        session = self._session
        payload = encode_payload(data)
        credit = session.credit - 1 - (len(payload) >> TURN_SHIFT)
        if credit > 0 and session.life.is_open and session.writer.has_room():
            # As in `receive`, one coroutine instead of two.
            session.credit = credit
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await session.wait_for_room(len(payload))
        session.put_now(data, payload)

    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message without waiting.

        Raises:
            trio.WouldBlock: ``send_buffer`` bytes wait to be written; nothing was queued.
            TypeError: `data` is neither text nor bytes.
            InvalidOptionsError: `data` is a str with a lone surrogate.
            SocketNotOpenError: The socket is still connecting.
            SocketClosedError: This side closed it.
            SocketLostError: The peer closed it, or the connection dropped.
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._session.send_nowait(data)

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> str | bytes:
        """Return the next message: str for text, bytes for binary.

        ``async for data in task`` does the same. While the socket connects, it waits. Each message goes to one of
        the tasks that wait here; use `on_message` where every reader is to have every message. From the first call
        on, the socket keeps messages for the next, so a program that listens as well must go on receiving. If this is
        cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: The socket closed with 1000, 1001 or no status, or this side closed it.
            SocketLostError: It closed in any other way. What came before was received first.
        """
        session = self._session
        subscriptions = session.subscriptions
        if session.credit > 0 and subscriptions.claimed and subscriptions.inbox.items:
            # A coroutine of the session's, which does the same, would be a tenth of a flood.
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await session.wait_for_message()
        return session.take_message()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> str | bytes:
        """Return the next message without waiting, as `receive` does.

        Raises:
            trio.WouldBlock: None is here yet, or the socket is still connecting.
            trio.EndOfChannel: As `receive`; so is SocketLostError.
            RuntimeError: This is another thread than that of the Trio run.
        """
        return self._session.receive_nowait()

    def as_stream(self) -> trio.abc.Stream:
        """Return the socket as a stream of bytes, for a protocol that cares for bytes and not for messages.

        Whatever is sent goes out in binary messages, and the bytes of those that come are received, in parts of any
        size; from then on they are the stream's, so call this once. Its end is a close with 1000, 1001 or no status;
        any other is a `trio.BrokenResourceError`, and so is a text message. To close it is to close the socket: a
        WebSocket cannot end one direction only.

        Raises:
            SocketNotOpenError: The socket is still connecting.
            SocketClosedError: This side closed it before it was open.
            SocketLostError: It could not be opened.
        """
        return ByteStream(self._session)

    def on_open(self) -> Listener[OpenEvent]:
        """Listen to the socket's opening (``SocketTask.onOpen``); who comes later hears of it once all the same."""
        return self._subscriptions().listen(self._session.subscriptions.open)

    def on_message(self) -> Listener[MessageEvent]:
        """Listen to the messages (``SocketTask.onMessage``): each listener gets each message.

        The first reader of a socket, be it a listener or `receive`, also gets what came before it. The channel ends
        with the socket.
        """
        return self._subscriptions().listen_messages(self._session.look_for_listeners)

    def on_error(self) -> Listener[ErrorEvent]:
        """Listen to the socket's failure (``SocketTask.onError``); the channel ends with the socket."""
        return self._subscriptions().listen(self._session.subscriptions.error)

    def on_close(self) -> Listener[CloseEvent]:
        """Listen to the socket's close (``SocketTask.onClose``), which comes once for every socket."""
        return self._subscriptions().listen(self._session.subscriptions.close)

    def _subscriptions(self) -> Subscriptions:
        """Return who listens to the socket, of whom there may be another in this thread only."""
        self._session.thread.check()
        return self._session.subscriptions

    async def wait_open(self) -> OpenEvent:
        """Wait until the socket is open; if this is cancelled, the socket is unharmed.

        Raises:
            ConnectError: It cannot be opened.
            SocketClosedError: This side closed it first.
        """
        return await self._session.wait_open()

    async def wait_closed(self) -> CloseEvent:
        """Wait until the socket is CLOSED, and return its close event; if this is cancelled, the socket is unharmed."""
        return await self._session.wait_closed()

    @trio.lowlevel.enable_ki_protection
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start closing (``SocketTask.close``); what was sent before goes out first.

        A socket that is still connecting stops, and gets its close event. One that is closing or closed stays as it is.

        Args:
            code: 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2).
            reason: At most 123 bytes of UTF-8 (RFC 6455 section 5.5).

        Raises:
            InvalidOptionsError: `code` or `reason` breaks its rule; the socket is unharmed.
            RuntimeError: This is another thread than that of the Trio run.
        """
        self._session.close(code, reason)
        return NO_WAIT

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close and wait until the socket is CLOSED, at most its ``close_timeout`` in seconds.

        If this is cancelled, the connection is dropped without waiting for the peer.

        Args:
            code: 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2).
            reason: At most 123 bytes of UTF-8 (RFC 6455 section 5.5).

        Raises:
            InvalidOptionsError: `code` or `reason` breaks its rule; the socket is unharmed.
        """
        await self._session.aclose(code, reason)

    @trio.lowlevel.enable_ki_protection
    async def ping(self) -> float:
        """Send a Ping frame and return the seconds until its pong; if this is cancelled, the socket is unharmed.

        Raises:
            SocketNotOpenError: The socket is still connecting.
            SocketClosedError: This side closed it, before or meanwhile.
            SocketLostError: The peer closed it or the connection dropped, before or meanwhile.
        """
        return await self._session.ping()

    def statistics(self) -> SocketStatistics:
        """Return a snapshot of the socket's figures."""
        return self._session.statistics()


def session_of(task: SocketTask) -> Session:
    """Return the session of a socket, for the layers above that need more than its public functions."""
    return task._session  # noqa: SLF001 (the one door)
