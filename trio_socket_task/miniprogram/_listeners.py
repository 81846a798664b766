"""Who listens to a socket, and who has been told what: decided without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, final

from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketEvent

from ._arguments import Callback
from ._callbacks import PendingCallback
from ._values import describe

KINDS: Final = (OpenEvent, MessageEvent, ErrorEvent, CloseEvent)
"""In the order in which they happen."""
Kind = type[SocketEvent]
GlobalListeners = Mapping[Kind, Callback]
"""The program's listeners, which listen to socket after socket: at most one of each kind."""


@final
class SocketListeners:
    """The listeners of a socket's own, and the program's, once they listen to it.

    `tells_close` is whether a socket that could not be opened has a close event after its error.
    """

    def __init__(self, *, tells_close: bool) -> None:
        self.program: GlobalListeners | None = None
        """The program's listeners, as they are and will be, once they listen to this socket."""
        self._tells_close = tells_close
        self._own: dict[Kind, list[Callback]] = {}
        self._told: dict[Kind, SocketEvent] = {}  # what has been told to those who listened
        self._told_program: set[Kind] = set()
        self._telling_program: Kind | None = None  # what its listener is about to be told

    @property
    def at_end(self) -> bool:
        """Whether the failure or the close has been told."""
        return ErrorEvent in self._told or CloseEvent in self._told

    def add(self, kind: Kind, listener: Callback) -> PendingCallback | None:
        """Add a listener of the socket's own; return what tells it about what has been, but for messages."""
        self._own.setdefault(kind, []).append(listener)
        return self._late(kind, listener) if kind in self._told else None

    def tell_program(self, kind: Kind, listener: Callback) -> PendingCallback | None:
        """Return what tells a listener of the program's about what none of its kind has been told."""
        missed = self._told.keys() - self._told_program - {self._telling_program}
        if kind not in missed or CloseEvent in self._told:
            return None
        self._told_program.add(kind)
        return self._late(kind, listener)

    def _late(self, kind: Kind, listener: Callback) -> PendingCallback:
        return PendingCallback(listener, describe(self._told[kind]))

    def tell(self, event: SocketEvent) -> Iterator[PendingCallback]:
        """Return what tells an event to those who listen, each as it is next: the program's listener is the last."""
        kind, program = type(event), self.program
        if kind is CloseEvent and not self._tells_close and OpenEvent not in self._told and ErrorEvent in self._told:
            return
        if kind is not MessageEvent:
            self._told[kind] = event
        self._telling_program = None if program is None else kind
        for listener in tuple(self._own.get(kind, ())):
            yield PendingCallback(listener, describe(event))
        if program is not None and kind in program:
            self._told_program.add(kind)
            yield PendingCallback(program[kind], describe(event))
        self._telling_program = None
