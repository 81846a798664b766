"""SocketTask: the thin handle a program holds."""

from __future__ import annotations

from typing import final

import trio

from ._checks import encode_payload
from ._events import CloseEvent, ErrorEvent, Header, MessageEvent, OpenEvent, SocketStatistics
from ._protocol._decoder import Opcode
from ._protocol._encoder import encode_message
from ._protocol._state import ReadyState
from ._session._session import Driver
from ._session._subscriptions import Listener
from ._text import mask_url

_TURN = 32
"""Messages, or times 32 KiB, that a socket's buffers give or take before other tasks run: about a millisecond."""
_TURN_SHIFT = 15


@final
class SocketTask(trio.abc.Channel[str | bytes]):
    """One WebSocket: the vendors' SocketTask as a Trio channel. Made by `connect_socket`.

    Every ``async`` method is a cancel point on every call, and lets other tasks run at least once per 32 messages or
    1 MiB of buffered work. Any number of tasks may use one socket.
    """

    __slots__ = ("__weakref__", "_credit", "_driver", "_inbox")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._inbox = driver.listeners.inbox
        self._credit = _TURN

    def __repr__(self) -> str:
        return f"<SocketTask {self.ready_state.name} {mask_url(self.url)}>"

    @property
    def url(self) -> str:
        """The URL that was asked for."""
        return self._driver.options.address.url

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server chose; None before the socket is open, and when it chose none."""
        return None if self._driver.connection is None else self._driver.connection.protocol

    @property
    def header(self) -> Header:
        """The fields of the server's response, found by names in any case; empty before the socket is open."""
        return Header() if self._driver.connection is None else self._driver.connection.header

    @property
    def ready_state(self) -> ReadyState:
        """Where the socket is in its life."""
        return self._driver.life.ready_state

    @property
    def close_event(self) -> CloseEvent | None:
        """How the socket closed, as soon as that is known; None before.

        It is known with the peer's Close frame, with a failure, and when the socket is CLOSED.
        """
        life = self._driver.life
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
        payload = encode_payload(data)
        driver = self._driver
        driver.life.require_open()
        self._credit -= 1 + (len(payload) >> _TURN_SHIFT)
        if self._credit > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._credit = _TURN
            await trio.lowlevel.checkpoint()
            driver.life.require_open()
        if not driver.outgoing.has_room():
            await driver.outgoing.room.park()
            driver.life.require_open()
        self._put(data, payload)

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
        self._driver.thread.check()
        payload = encode_payload(data)
        self._driver.life.require_open()
        if not self._driver.outgoing.has_room():
            raise trio.WouldBlock
        self._put(data, payload)

    def _send_beyond_room(self, data: str | bytes) -> None:
        """Send although ``send_buffer`` bytes may wait: what the dialect keeps anyway may go before a close."""
        self._driver.life.require_open()
        self._put(data, encode_payload(data))

    def _put(self, data: str | bytes | bytearray | memoryview, payload: bytes) -> None:
        driver = self._driver
        driver.outgoing.put(encode_message(Opcode.TEXT if isinstance(data, str) else Opcode.BINARY, payload))
        if driver.outgoing.finished:  # it was written at once, and that failed
            driver.life.require_open()
        driver.traffic.messages_sent += 1
        driver.traffic.bytes_sent += len(payload)

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> str | bytes:
        """Give the next message: str for text, bytes for binary.

        ``async for data in task`` does the same. While the socket connects, it waits. Each message goes to one of
        the tasks that wait here; use `on_message` where every reader is to have every message. From the first call
        on, the socket keeps messages for the next, so a program that listens as well must go on receiving. If this is
        cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: The socket closed with 1000, 1001 or no status, or this side closed it.
            SocketLostError: It closed in any other way. What came before was received first.
        """
        driver, inbox = self._driver, self._inbox
        if not driver.listeners.claimed:
            driver.listeners.claim_inbox()
        if inbox.items:
            if self._credit > 0:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._credit = _TURN
                await trio.lowlevel.checkpoint()
        elif driver.no_more:
            await trio.lowlevel.checkpoint()
        elif not driver.settled.is_set():
            await driver.settled.wait()
        while not inbox.items:
            self._credit = _TURN
            await self._wait_for_message()
        data, size = inbox.pop()
        self._credit -= 1 + (size >> _TURN_SHIFT)
        return data

    async def _wait_for_message(self) -> None:
        driver = self._driver
        if driver.no_more:
            raise trio.EndOfChannel if driver.life.ended_quietly() else driver.life.ended_error()
        if driver.caught_up is None:
            await driver.reading.more()
        else:
            driver.caught_up.set()
            await self._inbox.readers.park()

    def on_open(self) -> Listener[OpenEvent]:
        """Listen to the socket's opening (``SocketTask.onOpen``); who comes later hears of it once all the same."""
        return self._driver.listeners.listen(self._driver.listeners.open)

    def on_message(self) -> Listener[MessageEvent]:
        """Listen to the messages (``SocketTask.onMessage``): each listener gets each message.

        The first reader of a socket, be it a listener or `receive`, also gets what came before it. The channel ends
        with the socket.
        """
        return self._driver.listeners.listen_messages()

    def on_error(self) -> Listener[ErrorEvent]:
        """Listen to the socket's failure (``SocketTask.onError``); the channel ends with the socket."""
        return self._driver.listeners.listen(self._driver.listeners.error)

    def on_close(self) -> Listener[CloseEvent]:
        """Listen to the socket's close (``SocketTask.onClose``), which comes once for every socket."""
        return self._driver.listeners.listen(self._driver.listeners.close)

    async def wait_open(self) -> OpenEvent:
        """Wait until the socket is open; if this is cancelled, the socket is unharmed.

        Raises:
            ConnectError: It cannot be opened.
            SocketClosedError: This side closed it first.
        """
        return await self._driver.wait_open()

    async def wait_closed(self) -> CloseEvent:
        """Wait until the socket is CLOSED, and give its close event; if this is cancelled, the socket is unharmed."""
        return await self._driver.wait_closed()

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
        self._driver.close(code, reason)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close and wait until the socket is CLOSED, at most its ``close_timeout`` in seconds.

        If this is cancelled, the connection is dropped without waiting for the peer.

        Args:
            code: 1000 or from 3000 to 4999 (RFC 6455 section 7.4.2).
            reason: At most 123 bytes of UTF-8 (RFC 6455 section 5.5).

        Raises:
            InvalidOptionsError: `code` or `reason` breaks its rule; the socket is unharmed.
        """
        await self._driver.aclose(code, reason)

    @trio.lowlevel.enable_ki_protection
    async def ping(self) -> float:
        """Send a Ping frame and give the seconds until its pong; if this is cancelled, the socket is unharmed.

        Raises:
            SocketNotOpenError: The socket is still connecting.
            SocketClosedError: This side closed it, before or meanwhile.
            SocketLostError: The peer closed it or the connection dropped, before or meanwhile.
        """
        return await self._ping(in_order=False)

    async def _ping(self, *, in_order: bool) -> float:
        """Ping at once, or after the messages that wait, so that the pong tells that the peer has read them."""
        self._driver.life.require_open()
        ping = self._driver.signs.ping(in_order=in_order)
        try:
            await ping.settled.wait()
        finally:
            self._driver.pings.forget(ping)
        if ping.rtt is None:
            raise self._driver.life.ended_error()
        return ping.rtt

    def statistics(self) -> SocketStatistics:
        """Give a snapshot of the socket's figures."""
        driver, connection, traffic = self._driver, self._driver.connection, self._driver.traffic
        return SocketStatistics(
            messages_sent=traffic.messages_sent,
            messages_received=traffic.messages_received,
            bytes_sent=traffic.bytes_sent,
            bytes_received=traffic.bytes_received,
            send_buffered=0 if connection is None else driver.outgoing.size,
            receive_buffered=driver.listeners.kept,
            rtt=driver.pings.rtt,
            dial_seconds=None if connection is None else connection.dial_seconds,
            tls_seconds=None if connection is None else connection.tls_seconds,
            handshake_seconds=None if connection is None else connection.handshake_seconds,
        )
