"""The vendor object, `wx` or `qq`, and the block that it lives in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal, Unpack, final

import trio

from trio_socket_task._errors import InvalidOptionsError, SocketLimitError
from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent, SocketEvent
from trio_socket_task._manager import SocketManager, members_of, open_socket_manager
from trio_socket_task._options import ConnectOptions
from trio_socket_task._policy import Coexist, CoexistencePolicy, policy_for_base_library
from trio_socket_task._service_nursery import ServiceBlock
from trio_socket_task._socket_task import SocketTask as NativeTask

from ._arguments import Arguments, Callback, RefusedError, connect_refusal, read_connect_options, read_url
from ._callback_queue import Refusals, Workers
from ._calls import Invocation
from ._outcome import Outcome
from ._task import SocketTask
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
        self,
        manager: SocketManager,
        workers: Workers,
        *,
        has_timeout: bool,
        close_after_connect_error: bool,
        strict: bool,
    ) -> None:
        self._strict = strict
        self._manager = manager
        self._workers = workers
        self._has_timeout = has_timeout
        self._close_after_connect_error = close_after_connect_error
        self._refusals = Refusals(workers)  # of calls that no socket is concerned with
        self._nobody = SocketTask(0, self._refusals, strict=strict)  # CLOSED: what a call acts on that finds no socket
        self._sockets: list[SocketTask] = []  # whose close event has not been heard
        self._listeners: dict[type[SocketEvent], Callback] = {}
        self._made = 0
        members_of(manager).on_closing = self._flush

    def __repr__(self) -> str:
        return f"<MiniProgram with {len(self._sockets)} sockets>"

    def connectSocket(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> SocketTask:
        """Start a connection; a SocketTask is returned in every case, CLOSED where the call is refused.

        Options: url, header, protocols, tcpNoDelay, timeout (milliseconds, default 60000; wx only), success, fail,
        complete. ``success`` means that the call was accepted; ``onOpen`` says that the socket is open.
        """
        self._made += 1
        arguments = Arguments(options, keywords, strict=self._strict)
        task = SocketTask(self._made, self._refusals, strict=self._strict)
        # Everything is read before anything is decided, because what is read may call back.
        call = Invocation("connectSocket", arguments, self._refusals)
        native_options = read_connect_options(arguments, with_timeout=self._has_timeout)
        try:
            self._refusals.check_not_ended()
            native = self._manager.connect_socket(read_url(arguments), **native_options)
        except RefusedError as refused:
            call.fail(f"connectSocket:fail {refused}", task._number)
        except (InvalidOptionsError, SocketLimitError) as refused:
            call.fail(f"connectSocket:fail {connect_refusal(refused, native_options)}", task._number)
        else:
            task._attach(native, self._workers, self._forget, tells_close=self._close_after_connect_error)
            call.ok(task._number, task._calls)
            self._sockets.append(task)
            self._bind()
        return task

    def sendSocketMessage(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Send a message on the earliest socket that is not closed; options: data, success, fail, complete.

        One that `closeSocket` closes gives way to the next at once, though its server may be slow to answer.
        """
        task = self._current()
        return task._send(
            Arguments(options, keywords, strict=self._strict), "sendSocketMessage:fail WebSocket is not connected"
        )

    def closeSocket(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Close the earliest socket that is not closed; options: code, reason, success, fail, complete.

        Before it is open this fails, and the socket goes on to open, as the vendors' pages warn. Once it is accepted,
        the global functions and listeners are the next socket's; the listeners hear the old one to its end as well.
        """
        task = self._current()

        def close(_native: NativeTask, code: int, reason: str) -> None:
            self._manager.close_socket(code, reason)
            self._let_go(task)

        return task._close(Arguments(options, keywords, strict=self._strict), (SocketTask.OPEN,), close)

    def _current(self) -> SocketTask:
        """Give the manager's current socket; without one, the earliest of which the program has not heard the close.

        So what fails because of a close that has yet to be told is told before it.
        """
        current = self._manager.current
        earliest = self._sockets[0] if self._sockets else self._nobody
        return next((task for task in self._sockets if task._native is current), earliest)

    def _let_go(self, task: SocketTask) -> None:
        """Let the global listeners listen to the next socket as well."""
        if task._global_listeners is None:
            task._bind(self._listeners)
        task._let_go = True
        self._bind()

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
            for task in self._sockets:
                if task._global_listeners is not None:
                    task._introduce(kind, listener)

    def _bind(self) -> None:
        """Let the global listeners listen to the earliest socket that was not let go.

        They stay with it until its close was heard, or until it is let go.
        """
        earliest = next((task for task in self._sockets if not task._let_go), None)
        if earliest is not None and earliest._global_listeners is None:
            earliest._bind(self._listeners)

    def _forget(self, task: SocketTask) -> None:
        self._sockets.remove(task)
        self._bind()

    def _flush(self) -> None:
        """Let what waits for room go out before a close that no call of the program's made."""
        for task in self._sockets:
            task._sending.flush()

    async def wait_closed(self) -> None:
        """Wait until no socket is left and every callback has run; no vendor has this, because a phone just goes on.

        If this is cancelled, the program is unharmed.

        Raises:
            RuntimeError: A callback or a listener waits for this, and would wait for itself.
        """
        await self._workers.wait_idle()


@final
class ProgramBlock(ServiceBlock[MiniProgram]):
    """The block of `open_mini_program`."""

    maker = "open_mini_program"

    def __init__(
        self,
        sockets: AbstractAsyncContextManager[SocketManager],
        *,
        has_timeout: bool,
        close_after_connect_error: bool,
        strict: bool,
    ) -> None:
        self._strict = strict
        self._sockets = sockets
        self._has_timeout = has_timeout
        self._close_after_connect_error = close_after_connect_error
        self._finished = trio.Event()

    async def start(self, nursery: trio.Nursery) -> MiniProgram:
        """Let the program begin."""
        self._workers = Workers(nursery)
        self._program = MiniProgram(
            await self._sockets.__aenter__(),
            self._workers,
            has_timeout=self._has_timeout,
            close_after_connect_error=self._close_after_connect_error,
            strict=self._strict,
        )
        return self._program

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        refusals = self._program._refusals
        refusals.ended = True
        try:
            await self._sockets.__aexit__(kind, error, traceback)
        except BaseException as cancelled:
            kind, error, traceback = type(cancelled), cancelled, cancelled.__traceback__
            raise
        finally:
            assert self.nursery is not None  # noqa: S101 (set on entry)
            self.nursery.start_soon(refusals.finish, self._finished)
            suppressed = await super().__aexit__(kind, error, traceback)
        return suppressed

    async def finish(self) -> None:
        """Wait until every function that is due has run."""
        await self._finished.wait()

    def abort(self) -> None:
        """Cancel the async functions."""
        self._workers.cancel()


def open_mini_program(
    vendor: Literal["wx", "qq"] = "wx",
    *,
    base_library: str | None = None,
    close_after_connect_error: bool = True,
    strict: bool = False,
    **defaults: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[MiniProgram]:
    """Open the block that mini-program code runs in.

    ``async with open_mini_program("wx") as wx:`` gives a `MiniProgram`; the code in the block may be pasted from the
    vendors' pages. `MiniProgram.wait_closed` waits for the program to end by itself.

    Leaving the block closes every socket with 1000, waits until they are CLOSED, at most their ``close_timeout``, and
    until every function that is due has run, however long it takes. When the body raises or is cancelled, the sockets
    are dropped, and async functions end at their next checkpoint; what is due is called all the same. So each call
    has its ``success`` or ``fail`` and then ``complete``, and each socket its close event, however the block is left.

    From the moment at which the block is being left, connections are refused. The callbacks of calls that are made
    from then on are called last of all, and calls that those make have none: a program that connects again whenever
    it fails or is closed ends with its block.

    Args:
        vendor: ``"wx"`` or ``"qq"``.
        base_library: The version of the wx base library, such as ``"1.4.4"``: before 1.5.0 one connection exists at a
            time and a new one replaces it. By default, and always on qq, five coexist.
        close_after_connect_error: Whether a socket that cannot be opened has a close event (1006) after its error.
        strict: Whether to refuse what phones put right, to find mistakes: header values that are numbers, booleans or
            null, blanks around a header's name, a ``timeout`` or ``code`` that is no finite number.
        defaults: What the vendors have no word for, such as ``heartbeat`` or ``ssl_context``; see `ConnectOptions`.
            Times are in seconds here.

    Raises:
        InvalidOptionsError: An argument breaks its rule.
    """
    if vendor not in ("wx", "qq"):
        raise InvalidOptionsError("vendor", vendor, 'must be "wx" or "qq"')
    for name, value in (("close_after_connect_error", close_after_connect_error), ("strict", strict)):
        if not isinstance(value, bool):
            raise InvalidOptionsError(name, value, "must be True or False")
    return ProgramBlock(
        open_socket_manager(_policy(vendor, base_library), **defaults),
        has_timeout=vendor == "wx",
        close_after_connect_error=close_after_connect_error,
        strict=strict,
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
