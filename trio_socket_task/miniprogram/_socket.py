"""One socket of a program: its sends, its listeners, and the task that calls the functions which concern it."""

from __future__ import annotations

from functools import partial
from typing import final

import trio

from trio_socket_task._events import CloseEvent, MessageEvent
from trio_socket_task._members import Member
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._session._mailbox import TURN, TURN_SHIFT
from trio_socket_task._socket_task import SocketTask as NativeTask

from ._arguments import Callback
from ._callback_queue import CallbackQueue
from ._callbacks import PendingCallback, ProgramNursery
from ._listeners import KINDS, GlobalListeners, Kind, SocketListeners
from ._native import attach_events, attach_messages, look_for_listeners, receive_buffer
from ._profile import describe_with_profile
from ._program_callbacks import ProgramCallbacks
from ._sending import Sending
from ._values import describe_opening


@final
class Socket:
    """A socket that was accepted. `SocketTask` is the program's handle of it, and `Sockets` runs its task."""

    def __init__(
        self,
        member: Member,
        nursery: ProgramNursery,
        callbacks: ProgramCallbacks,
        *,
        tells_close: bool,
        has_profile: bool,
    ) -> None:
        native = member.task
        self.member: Member = member
        self.native: NativeTask = native
        self.sending: Sending = Sending(native, nursery)
        self.queue: CallbackQueue = CallbackQueue(receive_buffer(native))
        self._listeners = SocketListeners(
            tells_close=tells_close,
            describe_opening=(
                partial(describe_with_profile, native, trio.current_time()) if has_profile else describe_opening
            ),
        )
        self._nursery = nursery
        self._callbacks = callbacks
        self._receives = False
        self._credit = TURN
        self._running = True  # its task, which starts at once
        attach_events(native, self.queue.mailbox)

    @property
    def ready_state(self) -> ReadyState:
        """Where the socket is in its life."""
        return self.native.ready_state

    def close(self, code: int, reason: str) -> None:
        """Start closing."""
        self.native.close(code, reason)

    def listen(self, kind: Kind, listener: Callback | None) -> None:
        """Add a listener of the socket's own, if it is a function; it is given first what has been delivered."""
        if not callable(listener):
            return
        missed = self._listeners.add(kind, listener)
        if missed is not None:
            self._put_missed(kind, missed)
        if kind is MessageEvent:
            self._receive_messages()

    @property
    def has_global_listeners(self) -> bool:
        """Whether the global listeners are attached to this socket."""
        return self._listeners.global_listeners is not None

    def attach(self, listeners: GlobalListeners) -> None:
        """Attach the global listeners, which may change; they are given first what has been delivered before."""
        self._listeners.global_listeners = listeners
        for kind in KINDS:
            if kind in listeners:
                self.listen_globally(kind, listeners[kind])

    def listen_globally(self, kind: Kind, listener: Callback) -> None:
        """Deliver to a new global listener what was delivered to no global listener yet.

        Of a socket that ``closeSocket`` has closed it gets what comes: what has been belongs to the past, as the
        socket does.
        """
        if self.member.let_go:
            return
        missed = self._listeners.missed_globally(kind, listener)
        if missed is not None:
            self._put_missed(kind, missed)
        if kind is MessageEvent:
            self._receive_messages()

    def _receive_messages(self) -> None:
        """Receive messages from now on, unless they are over; until a listener wants them, the socket keeps them."""
        if not self._receives and not self._listeners.ended:
            self._receives = True
            attach_messages(self.native, self.queue.mailbox)
            self.queue.move_end_last()

    def put(self, callbacks: list[PendingCallback]) -> None:
        """Queue callbacks of one call."""
        self.queue.put(callbacks)
        self._start()

    def _put_missed(self, kind: Kind, callback: PendingCallback) -> None:
        """Queue the call of a listener with an event that has been delivered before."""
        if self._callbacks.ended:
            self._callbacks.put([callback])
        else:
            self.queue.put_missed(callback, KINDS.index(kind))
            self._start()

    def _start(self) -> None:
        if not self._running:
            self._running = True
            self._nursery.start_soon(self.call_rest)

    async def call_until_close(self) -> None:
        """Call what is due, and what will be, until the close has been delivered."""
        while not await self._call_all():
            self._credit = TURN
            await self.queue.reader.park()

    async def call_rest(self) -> None:
        """Call what is due after the close, as long as there is anything."""
        while self.queue:
            await self._call_all()
        self._running = False

    async def _call_all(self) -> bool:
        """Call what is due, one after another, until there is no more; return at the close, True, in any case.

        Other tasks run at least once per 32 messages or 1 MiB.
        """
        queue = self.queue
        while True:
            self._callbacks.call_waiting()
            if not queue and self._receives:
                look_for_listeners(self.native)
            if not queue:
                return False
            if self.sending.waiting and queue.is_at_end:
                self.sending.end()  # what waits, before the program is told of the end
            item, size = queue.pop()
            self._credit -= 1 + (size >> TURN_SHIFT)
            for callback in item if isinstance(item, list) else self._listeners.deliver(item):
                awaitable = callback.call()
                if awaitable is not None:
                    await self._nursery.wait_for(callback, awaitable)
            if self._credit <= 0:
                self._credit = TURN
                await trio.lowlevel.checkpoint()
            if isinstance(item, CloseEvent):
                return True
