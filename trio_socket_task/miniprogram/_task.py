"""SocketTask as the vendors spell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, final

from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._text import mask_url

from ._arguments import Arguments, Callback
from ._calls import close, send
from ._err_msg import TASK_NOT_OPEN
from ._listeners import Kind
from ._outcome import Outcome
from ._program_callbacks import ProgramCallbacks
from ._socket import Socket
from ._values import CloseResult, ErrorResult, MessageResult, OpenResult


@final
class SocketTask:
    """What ``connectSocket`` returns: the vendors' SocketTask, word for word.

    Its functions take an option object or keyword arguments, and raise nothing but RuntimeError in another thread.
    Listeners may be plain or async functions; all of one socket run one after another.
    """

    CONNECTING: ClassVar[int] = 0
    OPEN: ClassVar[int] = 1
    CLOSING: ClassVar[int] = 2
    CLOSED: ClassVar[int] = 3

    def __init__(self, number: int, socket: Socket | None, callbacks: ProgramCallbacks, *, strict: bool) -> None:
        self._number = number
        self._socket = socket  # None where it was refused
        self._callbacks = callbacks
        self._strict = strict

    def __repr__(self) -> str:
        url = "refused" if self._socket is None else mask_url(self._socket.native.url)
        return f"<SocketTask {self._number} {ReadyState(self.readyState).name} {url}>"

    @property
    def readyState(self) -> int:
        """CONNECTING, OPEN, CLOSING or CLOSED."""
        return self.CLOSED if self._socket is None else int(self._socket.ready_state)

    def send(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Send a message; options: data, success, fail, complete."""
        arguments = Arguments(options, keywords, strict=self._strict)
        return send(self._socket, self._callbacks, arguments, TASK_NOT_OPEN)

    def close(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Close the socket, or stop its opening; options: code, reason, success, fail, complete."""
        arguments = Arguments(options, keywords, strict=self._strict)
        return close(self._socket, self._callbacks, arguments, (ReadyState.CONNECTING, ReadyState.OPEN))

    def onOpen(self, listener: Callable[[OpenResult], object] | None = None) -> None:
        """Listen to the opening; a listener that is added later is called all the same."""
        self._listen(OpenEvent, listener)

    def onMessage(self, listener: Callable[[MessageResult], object] | None = None) -> None:
        """Listen to the messages; the first listener also gets those that came before it."""
        self._listen(MessageEvent, listener)

    def onError(self, listener: Callable[[ErrorResult], object] | None = None) -> None:
        """Listen to the failure; a listener that is added later is called all the same."""
        self._listen(ErrorEvent, listener)

    def onClose(self, listener: Callable[[CloseResult], object] | None = None) -> None:
        """Listen to the close; a listener that is added later is called all the same."""
        self._listen(CloseEvent, listener)

    def _listen(self, kind: Kind, listener: Callback | None) -> None:
        self._callbacks.thread.check()
        if self._socket is not None:
            self._socket.listen(kind, listener)
