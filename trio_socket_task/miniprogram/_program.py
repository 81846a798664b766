"""The vendor object, `wx` or `qq`, and the block that it lives in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal, Unpack, final

import trio

from trio_socket_task._admission import Coexist, CoexistencePolicy, ReplacePrevious, policy_for_base_library
from trio_socket_task._block import Block
from trio_socket_task._errors import InvalidOptionsError, SocketLimitError
from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketEvent
from trio_socket_task._manager import SocketManager, open_socket_manager
from trio_socket_task._options import ConnectOptions

from ._arguments import Arguments, Callback, RefusedError, connect_refusal, read_connect_options, read_url
from ._calls import Invocation
from ._outcome import Outcome
from ._task import SocketTask
from ._turns import Refusals, Workers
from ._values import CloseResult, ErrorResult, MessageResult, OpenResult


@final
class MiniProgram:
    """What a mini program knows as ``wx`` or ``qq``: the seven functions of its WebSocket pages, word for word.

    Made by `open_mini_program`. The functions take an option object or keyword arguments, ignore options they do not
    know, and raise nothing: ``fail`` says what is wrong. Callbacks and listeners may be plain or async functions; they
    run in the program's own nursery after the call has returned, those of one socket one after another. An exception
    in one is logged.
    """

    def __init__(
        self, manager: SocketManager, workers: Workers, *, has_timeout: bool, close_after_connect_error: bool
    ) -> None:
        self._manager = manager
        self._workers = workers
        self._has_timeout = has_timeout
        self._close_after_connect_error = close_after_connect_error
        self._refusals = Refusals(workers)  # of calls that no socket is concerned with
        self._nobody = SocketTask(0, self._refusals)  # CLOSED: what a call acts on that finds no socket
        self._sockets: list[SocketTask] = []  # whose close event has not been heard
        self._bound: SocketTask | None = None  # the one that the global listeners listen to
        self._listeners: dict[type[SocketEvent], Callback] = {}
        self._made = 0

    def __repr__(self) -> str:
        return f"<MiniProgram with {len(self._sockets)} sockets>"

    def connectSocket(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> SocketTask:
        """Start a connection; a SocketTask is returned in every case, CLOSED where the call is refused.

        Options: url, header, protocols, tcpNoDelay, timeout (milliseconds, default 60000; wx only), success, fail,
        complete. ``success`` means that the call was accepted; ``onOpen`` says that the socket is open.
        """
        arguments = Arguments(options, keywords)
        self._made += 1
        if self._manager._ended:
            return self._refuse(arguments, "the mini program has ended")
        if isinstance(self._manager.policy, ReplacePrevious):
            self._flush()
        native_options = read_connect_options(arguments, with_timeout=self._has_timeout)
        try:
            native = self._manager.connect_socket(read_url(arguments), **native_options)
        except RefusedError as refused:
            return self._refuse(arguments, str(refused))
        except (InvalidOptionsError, SocketLimitError) as refused:
            return self._refuse(arguments, connect_refusal(refused, native_options))
        task = SocketTask(self._made, self._refusals)
        task._attach(native, self._workers, self._forget, tells_close=self._close_after_connect_error)
        Invocation("connectSocket", arguments, task._calls).ok(task._number)
        self._sockets.append(task)
        self._bind()
        return task

    def _refuse(self, arguments: Arguments, why: str) -> SocketTask:
        task = SocketTask(self._made, self._refusals)
        Invocation("connectSocket", arguments, self._refusals).fail(f"connectSocket:fail {why}", task._number)
        return task

    def sendSocketMessage(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Send a message on the earliest socket that is not closed; options: data, success, fail, complete."""
        task = self._current()
        return task._send(Arguments(options, keywords), "sendSocketMessage:fail WebSocket is not connected")

    def closeSocket(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Close the earliest socket that is not closed; options: code, reason, success, fail, complete.

        Before it is open this fails, and the socket goes on to open, as the vendors' pages warn.
        """
        return self._current()._close(Arguments(options, keywords), from_states=(SocketTask.OPEN,))

    def _current(self) -> SocketTask:
        return next((task for task in self._sockets if task.readyState != SocketTask.CLOSED), self._nobody)

    def onSocketOpen(self, listener: Callable[[OpenResult], object] | None = None) -> None:
        """Listen to the opening of the current socket and of those after it, in place of the former listener."""
        self._listen(OpenEvent, listener)

    def onSocketMessage(self, listener: Callable[[MessageResult], object] | None = None) -> None:
        """Listen to the messages of the current socket and of those after it, in place of the former listener."""
        self._listen(MessageEvent, listener)

    def onSocketError(self, listener: Callable[[ErrorResult], object] | None = None) -> None:
        """Listen to the failure of the current socket and of those after it, in place of the former listener."""
        self._listen(ErrorEvent, listener)

    def onSocketClose(self, listener: Callable[[CloseResult], object] | None = None) -> None:
        """Listen to the close of the current socket and of those after it, in place of the former listener."""
        self._listen(CloseEvent, listener)

    def _listen(self, kind: type[SocketEvent], listener: Callback | None) -> None:
        if callable(listener):
            self._listeners[kind] = listener
            if self._bound is not None:
                self._bound._introduce(kind, listener)

    def _bind(self) -> None:
        """Let the global listeners listen to the earliest socket; they stay with one until its close was heard."""
        if self._bound is None and self._sockets:
            self._bound = self._sockets[0]
            self._bound._bind(self._listeners)

    def _forget(self, task: SocketTask) -> None:
        self._sockets.remove(task)
        if task is self._bound:
            self._bound = None
            self._bind()

    def _flush(self) -> None:
        """Let what waits for room go out before a close that no call of the program's made."""
        for task in self._sockets:
            task._sending.flush()

    async def wait_closed(self) -> None:
        """Wait until no socket is left and every callback has run; no vendor has this, because a phone just goes on.

        A callback cannot wait for this, because it is itself what is waited for. If this is cancelled, the program is
        unharmed.
        """
        await self._workers.wait_idle()


@final
class _ProgramBlock:
    """The block of `open_mini_program`."""

    def __init__(
        self, sockets: AbstractAsyncContextManager[SocketManager], *, has_timeout: bool, close_after_connect_error: bool
    ) -> None:
        self._sockets = sockets
        self._has_timeout = has_timeout
        self._close_after_connect_error = close_after_connect_error
        self._block = Block()
        self._entered = False

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> MiniProgram:
        if self._entered:
            raise RuntimeError("a block can be entered once; call open_mini_program() for each block")
        self._workers = Workers(await self._block.enter())
        self._entered = True
        self._program = MiniProgram(
            await self._sockets.__aenter__(),
            self._workers,
            has_timeout=self._has_timeout,
            close_after_connect_error=self._close_after_connect_error,
        )
        return self._program

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                self._program._flush()
            await self._sockets.__aexit__(kind, error, traceback)
        except BaseException as cancelled:
            error = cancelled
            raise
        finally:
            try:
                suppressed = await self._block.leave(error, self._workers.finish, self._workers.stop)
            finally:
                self._workers.stop()
        return suppressed


def open_mini_program(
    vendor: Literal["wx", "qq"] = "wx",
    *,
    base_library: str | None = None,
    close_after_connect_error: bool = True,
    **defaults: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[MiniProgram]:
    """Open the block that mini-program code runs in.

    ``async with open_mini_program("wx") as wx:`` gives a `MiniProgram`; the code in the block may be pasted from the
    vendors' pages. Leaving the block closes every socket with 1000, waits until they are CLOSED, at most their
    ``close_timeout``, and until every callback has run; `MiniProgram.wait_closed` waits for the program to end by
    itself. When the body raises or is cancelled, the callbacks are cancelled and the sockets dropped.

    Args:
        vendor: ``"wx"`` or ``"qq"``.
        base_library: The version of the wx base library, such as ``"1.4.4"``: before 1.5.0 one connection exists at a
            time and a new one replaces it. By default, and always on qq, five coexist.
        close_after_connect_error: Whether a socket that cannot be opened has a close event (1006) after its error.
        defaults: What the vendors have no word for, such as ``heartbeat`` or ``ssl_context``; see `ConnectOptions`.
            Times are in seconds here.

    Raises:
        InvalidOptionsError: An argument breaks its rule.
    """
    if vendor not in ("wx", "qq"):
        raise InvalidOptionsError("vendor", vendor, 'must be "wx" or "qq"')
    if not isinstance(close_after_connect_error, bool):
        raise InvalidOptionsError("close_after_connect_error", close_after_connect_error, "must be True or False")
    return _ProgramBlock(
        open_socket_manager(_policy(vendor, base_library), **defaults),
        has_timeout=vendor == "wx",
        close_after_connect_error=close_after_connect_error,
    )


def _policy(vendor: str, base_library: str | None) -> CoexistencePolicy:
    if base_library is None:
        return Coexist()
    if vendor == "qq":
        raise InvalidOptionsError("base_library", base_library, "must be left out for qq, where five always coexist")
    try:
        return policy_for_base_library(base_library)
    except InvalidOptionsError as error:
        raise InvalidOptionsError("base_library", error.value, error.rule) from None
