"""SocketTask as the vendors spell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, cast, final

from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketEvent
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._session._mailbox import Mailbox
from trio_socket_task._socket_task import SocketTask as NativeTask
from trio_socket_task._socket_task import session_of
from trio_socket_task._text import mask_url

from ._arguments import Arguments, Callback, RefusedError, read_close, read_data
from ._callback_queue import Call, Refusals, Turns, Workers
from ._calls import Invocation
from ._outcome import Outcome
from ._sending import Sending
from ._values import CloseResult, ErrorResult, MessageResult, OpenResult, describe

KINDS: Final = (OpenEvent, MessageEvent, ErrorEvent, CloseEvent)
"""In the order in which they happen."""
GlobalListeners = Mapping[type[SocketEvent], Callback]


@final
class SocketTask:
    """What ``connectSocket`` returns: the vendors' SocketTask, word for word.

    Its functions take an option object or keyword arguments, and raise nothing. Listeners may be plain or async
    functions; all of one socket run one after another.
    """

    CONNECTING: ClassVar[int] = 0
    OPEN: ClassVar[int] = 1
    CLOSING: ClassVar[int] = 2
    CLOSED: ClassVar[int] = 3

    def __init__(self, number: int, refusals: Refusals, *, strict: bool) -> None:
        self._number = number
        self._strict = strict
        self._refusals = refusals
        self._turns: Turns | None = None
        self._native: NativeTask | None = None  # as long as it was refused
        self._listeners: dict[type[SocketEvent], list[Callback]] = {kind: [] for kind in KINDS}
        self._global_listeners: GlobalListeners | None = None  # those of the program, once it listens to this socket
        self._heard: dict[type[SocketEvent], SocketEvent] = {}
        self._told_globally: set[type[SocketEvent]] = set()
        self._hearing: type[SocketEvent] | None = None  # what the global listeners are about to be told
        self._let_go = False  # whether closeSocket closed it, so that the global functions act on the next
        self._tells_close = True

    def __repr__(self) -> str:
        url = "refused" if self._native is None else mask_url(self._native.url)
        return f"<SocketTask {self._number} {ReadyState(self.readyState).name} {url}>"

    @property
    def readyState(self) -> int:
        """CONNECTING, OPEN, CLOSING or CLOSED."""
        return self.CLOSED if self._native is None else int(self._native.ready_state)

    def send(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Send a message; options: data, success, fail, complete."""
        return self._send(
            Arguments(options, keywords, strict=self._strict), "SocketTask.send:fail SocketTask.readyState is not OPEN"
        )

    def _send(self, arguments: Arguments, not_open: str) -> Outcome:
        call = Invocation("sendSocketMessage", arguments, self._calls)
        try:
            data = read_data(arguments)
        except RefusedError as refused:
            return call.fail(f"sendSocketMessage:fail {refused}")
        if self.readyState != self.OPEN:
            return call.fail(not_open)
        self._sending.send(data, call, not_open)
        return call.outcome

    def close(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Close the socket, or stop its opening; options: code, reason, success, fail, complete."""
        return self._close(Arguments(options, keywords, strict=self._strict), (self.CONNECTING, self.OPEN))

    def _close(
        self,
        arguments: Arguments,
        from_states: Sequence[int],
        close: Callable[[NativeTask, int, str], None] = NativeTask.close,
    ) -> Outcome:
        call = Invocation("closeSocket", arguments, self._calls)
        try:
            code, reason = read_close(arguments)
        except RefusedError as refused:
            return call.fail(f"closeSocket:fail {refused}")
        if self._native is None or self.readyState not in from_states:
            return call.fail("closeSocket:fail WebSocket is not connected")
        self._sending.flush()
        close(self._native, code, reason)
        return call.ok()

    def onOpen(self, listener: Callable[[OpenResult], object] | None = None) -> None:
        """Listen to the opening; a listener that comes later hears of it all the same."""
        self._listen(OpenEvent, listener)

    def onMessage(self, listener: Callable[[MessageResult], object] | None = None) -> None:
        """Listen to the messages; the first listener also gets those that came before it."""
        self._listen(MessageEvent, listener)

    def onError(self, listener: Callable[[ErrorResult], object] | None = None) -> None:
        """Listen to the failure; a listener that comes later hears of it all the same."""
        self._listen(ErrorEvent, listener)

    def onClose(self, listener: Callable[[CloseResult], object] | None = None) -> None:
        """Listen to the close; a listener that comes later hears of it all the same."""
        self._listen(CloseEvent, listener)

    def _listen(self, kind: type[SocketEvent], listener: Callback | None) -> None:
        if not callable(listener):
            return
        self._listeners[kind].append(listener)
        if kind is MessageEvent:
            self._open_messages()
        elif kind in self._heard:
            self._tell_late(kind, listener)

    def _tell_late(self, kind: type[SocketEvent], listener: Callback) -> None:
        """Let a listener hear of what has been."""
        call = Call(listener, describe(self._heard[kind]))
        if self._turns is None or self._refusals.ended:
            self._refusals.put([call])
        else:
            self._turns.put_late(call, KINDS.index(kind))

    # What the program does with it

    @property
    def _calls(self) -> Turns | Refusals:
        """What is to call the callbacks of a call that is made now."""
        return self._refusals if self._turns is None or self._refusals.ended else self._turns

    def _attach(
        self, native: NativeTask, workers: Workers, on_closed: Callable[[SocketTask], None], *, tells_close: bool
    ) -> None:
        """Listen to a socket that was accepted; `tells_close` is for one that then cannot be opened."""
        self._native = native
        self._sending = Sending(native, workers)
        self._tells_close = tells_close
        turns = Turns(workers, self._refusals, self._hear, self._sending.fail, lambda: on_closed(self))
        self._turns = turns
        of, mailbox = session_of(native).subscriptions, turns.mailbox
        # One mailbox for all kinds keeps their order. It takes what it is given: each cast names the kind.
        of.open.attach(cast("Mailbox[OpenEvent]", mailbox))
        of.error.attach(cast("Mailbox[ErrorEvent]", mailbox))
        of.close.attach(cast("Mailbox[CloseEvent]", mailbox))
        turns.listen(session_of(native).options.receive_buffer)

    def _open_messages(self) -> None:
        """Take messages from now on, unless they are over; until a listener wants them, the socket keeps them."""
        if self._native is None or self._turns is None or ErrorEvent in self._heard or CloseEvent in self._heard:
            return
        listeners = session_of(self._native).subscriptions
        mailbox = cast("Mailbox[MessageEvent]", self._turns.mailbox)
        if mailbox not in listeners.message.mailboxes:
            listeners.attach_messages(mailbox)
            self._turns.move_end_to_end()

    def _bind(self, listeners: GlobalListeners) -> None:
        """Let the global listeners, as they will be, listen to this socket; they hear of what has been first."""
        self._global_listeners = listeners
        for kind in KINDS:
            if kind in listeners:
                self._introduce(kind, listeners[kind])

    def _introduce(self, kind: type[SocketEvent], listener: Callback) -> None:
        """Let a global listener that is new have what no global listener has heard of this socket.

        Of a socket that was let go it hears what comes: what has been belongs to the past, as the socket does.
        """
        if self._let_go:
            return
        if kind is MessageEvent:
            self._open_messages()
        elif kind in self._heard.keys() - self._told_globally - {self._hearing} and CloseEvent not in self._heard:
            self._told_globally.add(kind)
            self._tell_late(kind, listener)

    def _hear(self, event: SocketEvent) -> Iterator[Call]:
        """Give the calls that an event leads to: the task's own listeners before the global one."""
        kind, global_listeners = type(event), self._global_listeners
        if kind is CloseEvent and not self._tells_close and OpenEvent not in self._heard and ErrorEvent in self._heard:
            return
        if kind is not MessageEvent:
            self._heard[kind] = event
        self._hearing = None if global_listeners is None else kind
        for listener in tuple(self._listeners[kind]):
            yield Call(listener, describe(event))
        if global_listeners is not None and kind in global_listeners:
            self._told_globally.add(kind)
            yield Call(global_listeners[kind], describe(event))
        self._hearing = None
