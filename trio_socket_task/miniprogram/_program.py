"""The vendor object, `wx` or `qq`, and the block that it lives in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal, Unpack, final

import trio

from trio_socket_task._errors import InvalidOptionsError, SocketLimitError
from trio_socket_task._events import CloseEvent, ErrorEvent, MessageEvent, OpenEvent
from trio_socket_task._manager import SocketManager, open_socket_manager
from trio_socket_task._options import ConnectOptions
from trio_socket_task._policy import Coexist, CoexistencePolicy, policy_for_base_library
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._service_nursery import ServiceBlock

from ._arguments import Arguments, Callback, CallRefusedError, read_connect_options, read_url
from ._callbacks import ProgramNursery
from ._calls import close, send
from ._err_msg import NOT_CONNECTED, connect_refusal, fail
from ._invocation import Invocation
from ._listeners import Kind
from ._outcome import Outcome
from ._program_callbacks import ProgramCallbacks
from ._sockets import Sockets
from ._task import SocketTask
from ._values import CloseResult, ErrorResult, MessageResult, OpenResult


@final
class MiniProgram:
    """What a mini program knows as ``wx`` or ``qq``: the seven functions of its WebSocket pages, word for word.

    Made by `open_mini_program`. The functions take an option object or keyword arguments, ignore options they do not
    know, and raise nothing but RuntimeError in another thread: ``fail`` says what is wrong. Callbacks and listeners may
    be plain or async functions; they run in the program's own nursery after the call has returned, those of one socket
    one after another. An exception in one is logged.
    """

    def __init__(
        self,
        sockets: Sockets,
        nursery: ProgramNursery,
        callbacks: ProgramCallbacks,
        *,
        is_wx: bool,
        strict: bool,
    ) -> None:
        self._sockets = sockets
        self._nursery = nursery
        self._callbacks = callbacks
        self._is_wx = is_wx
        self._strict = strict
        self._made = 0

    def __repr__(self) -> str:
        return f"<MiniProgram with {len(self._sockets.sockets)} sockets>"

    def connectSocket(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> SocketTask:
        """Start a connection; a SocketTask is returned in every case, CLOSED where the call is refused.

        Options: url, header, protocols, tcpNoDelay, success, fail, complete; wx has timeout (milliseconds, 60000 unless
        given) and perMessageDeflate, too, and forceCellularNetwork, which has no effect here. ``success`` means that
        the call was accepted; ``onOpen`` says that the socket is open.
        """
        self._callbacks.thread.check()
        self._made += 1
        number = self._made
        arguments = Arguments(options, keywords, strict=self._strict)
        # All but the URL is read before anything is decided, because what is read may call back.
        call = Invocation("connectSocket", arguments, self._callbacks.put)
        native_options = read_connect_options(arguments, is_wx=self._is_wx)
        socket = None
        try:
            self._callbacks.check_not_ended()
            socket = self._sockets.connect(read_url(arguments), native_options)
        except CallRefusedError as refused:
            call.fail(fail("connectSocket", refused), number)
        except (InvalidOptionsError, SocketLimitError) as refused:
            call.fail(fail("connectSocket", connect_refusal(refused, native_options)), number)
        else:
            call.succeed(number, socket.put)
        return SocketTask(number, socket, self._callbacks, strict=self._strict)

    def sendSocketMessage(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Send a message on the earliest socket that is not closed; options: data, success, fail, complete.

        One that `closeSocket` closes gives way to the next at once, though its server may be slow to answer.
        """
        socket, arguments = self._sockets.current, Arguments(options, keywords, strict=self._strict)
        return send(socket, self._callbacks, arguments, fail("sendSocketMessage", NOT_CONNECTED))

    def closeSocket(self, options: Mapping[str, object] | None = None, /, **keywords: object) -> Outcome:
        """Close the earliest socket that is not closed; options: code, reason, success, fail, complete.

        Before it is open this fails, and the socket goes on to open, as the vendors' pages warn. Once it is accepted,
        the global functions and listeners are the next socket's; the listeners are given the old one's events to its
        end as well.
        """
        socket, arguments = self._sockets.current, Arguments(options, keywords, strict=self._strict)
        return close(socket, self._callbacks, arguments, (ReadyState.OPEN,), self._sockets.close_current)

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

    def _listen(self, kind: Kind, listener: Callback | None) -> None:
        self._callbacks.thread.check()
        self._sockets.listen(kind, listener)

    async def wait_closed(self) -> None:
        """Wait until no socket is left and every callback has run; no vendor has this, because a phone just goes on.

        If this is cancelled, the program is unharmed.

        Raises:
            RuntimeError: A callback or a listener waits for this, and would wait for itself.
        """
        await self._nursery.wait_idle()


@final
class ProgramBlock(ServiceBlock[MiniProgram]):
    """The block of `open_mini_program`."""

    maker = "open_mini_program"

    def __init__(
        self,
        sockets: AbstractAsyncContextManager[SocketManager],
        *,
        is_wx: bool,
        close_after_connect_error: bool,
        strict: bool,
    ) -> None:
        self._strict = strict
        self._sockets = sockets
        self._is_wx = is_wx
        self._close_after_connect_error = close_after_connect_error
        self._finished = trio.Event()

    async def start(self, nursery: trio.Nursery) -> MiniProgram:
        """Open the manager of the program's sockets."""
        self._program_nursery = program_nursery = ProgramNursery(nursery)
        self._callbacks = callbacks = ProgramCallbacks(program_nursery)
        sockets = Sockets(
            *(await self._sockets.__aenter__(), program_nursery, callbacks),
            tells_close=self._close_after_connect_error,
            has_profile=self._is_wx,
        )
        return MiniProgram(sockets, program_nursery, callbacks, is_wx=self._is_wx, strict=self._strict)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the sockets before the functions that are called for them."""
        self._callbacks.end()
        try:
            await self._sockets.__aexit__(kind, error, traceback)
        except BaseException as cancelled:
            error = cancelled
            raise
        finally:
            assert self.nursery is not None  # noqa: S101 (set on entry)
            self.nursery.start_soon(self._callbacks.finish, self._finished)
            suppressed = await super().__aexit__(None, error, None)
        return suppressed

    async def finish(self) -> None:
        """Wait until every function that is due has run."""
        await self._finished.wait()

    def abort(self) -> None:
        """Cancel the functions that run."""
        self._program_nursery.cancel_functions()


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
        is_wx=vendor == "wx",
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
