"""The listeners of a socket, and which events have been delivered to whom: decided without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketEvent

from ._arguments import Callback
from ._callbacks import PendingCallback
from ._values import Event, OpenResult, describe, describe_opening

KINDS: Final = (OpenEvent, MessageEvent, ErrorEvent, CloseEvent)
"""In the order in which they happen."""
Kind = type[SocketEvent]
GlobalListeners = Mapping[Kind, Callback]
"""The program's listeners, at most one of each kind: they listen to socket after socket."""


@final
class SocketListeners:
    """The listeners of a socket's own, and the global ones, once they are attached to it.

    `tells_close` is whether a socket that could not be opened has a close event after its error; `describe_opening`
    makes what a listener of it is given.
    """

    def __init__(
        self, *, tells_close: bool, describe_opening: Callable[[OpenEvent], OpenResult] = describe_opening
    ) -> None:
        self.global_listeners: GlobalListeners | None = None
        """The program's listeners, which may change, once they are attached to this socket."""
        self._own: dict[Kind, list[Callback]] = {}
        self._delivered: dict[Kind, Event] = {}  # but for messages
        self._delivered_globally: set[Kind] = set()
        self._delivering: Kind | None = None  # what the global listener is about to be given
        self._tells_close = tells_close
        self._describe_opening = describe_opening

    @property
    def ended(self) -> bool:
        """Whether the failure or the close has been delivered."""
        return ErrorEvent in self._delivered or CloseEvent in self._delivered

    def add(self, kind: Kind, listener: Callback) -> PendingCallback | None:
        """Add a listener of the socket's own; return its call with what has been delivered before, if anything was."""
        self._own.setdefault(kind, []).append(listener)
        return self._missed(kind, listener) if kind in self._delivered else None

    def missed_globally(self, kind: Kind, listener: Callback) -> PendingCallback | None:
        """Return the call of a new global listener with what no global listener was given, if there is anything."""
        missed = self._delivered.keys() - self._delivered_globally - {self._delivering}
        if kind not in missed or CloseEvent in self._delivered:
            return None
        self._delivered_globally.add(kind)
        return self._missed(kind, listener)

    def _missed(self, kind: Kind, listener: Callback) -> PendingCallback:
        return PendingCallback(listener, describe(self._delivered[kind], self._describe_opening))

    def deliver(self, event: Event) -> Iterator[PendingCallback]:
        """Return the calls that deliver an event, one by one: the socket's own listeners come before the global one."""
        kind = MessageEvent if isinstance(event, str | bytes) else type(event)
        listeners = self.global_listeners
        if kind is not MessageEvent:
            opened, failed = OpenEvent in self._delivered, ErrorEvent in self._delivered
            if kind is CloseEvent and failed and not opened and not self._tells_close:
                return
            self._delivered[kind] = event
        self._delivering = None if listeners is None else kind
        for listener in tuple(self._own.get(kind, ())):
            yield PendingCallback(listener, describe(event, self._describe_opening))
        if listeners is not None and kind in listeners:
            self._delivered_globally.add(kind)
            yield PendingCallback(listeners[kind], describe(event, self._describe_opening))
        self._delivering = None
