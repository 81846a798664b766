"""Requests of a mini program, and of a manager's global functions, that come at a bad moment, by their ids.

`docs/explanation/reliability.md` tells what each is about. Time is virtual.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import cast

import attrs
import pytest
import trio
from heard import Heard
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import (
    Coexist,
    MessageEvent,
    ReadyState,
    ReplacePrevious,
    SocketLimitError,
    SocketManager,
    open_socket_manager,
)
from trio_socket_task._manager import members_of
from trio_socket_task._socket_task import session_of
from trio_socket_task.miniprogram import MiniProgram, SocketTask, open_mini_program
from trio_socket_task.miniprogram._callbacks import ProgramNursery
from trio_socket_task.miniprogram._program_callbacks import ProgramCallbacks
from trio_socket_task.testing import ServerConnection, SocketServer, hold

URL = "ws://phone.test/"
NOT_OPEN = "SocketTask.send:fail SocketTask.readyState is not OPEN"
ENDED = "connectSocket:fail the mini program has ended"
ROUNDS = 30  # Trio takes the tasks that are ready in an order of chance: so often that a coin would show both its sides


@pytest.fixture
def heard() -> Heard:
    """Return a record of what is called."""
    return Heard()


async def deaf(connection: ServerConnection) -> None:
    """Accept, and never answer a Close frame."""
    connection.never_answer_close()
    await hold(connection)


async def open_socket(wx: MiniProgram, path: str = "") -> SocketTask:
    """Connect and wait until it is open."""
    task, opened = wx.connectSocket(url=URL + path), trio.Event()
    task.onOpen(lambda _res: opened.set())
    await opened.wait()
    return task


async def open_to_a_stalled_server(wx: MiniProgram, server: SocketServer) -> tuple[SocketTask, ServerConnection]:
    """Return both ends of a connection whose server does not read."""
    server.handler = hold
    server.connections.clear()
    task = await open_socket(wx)
    connection = server.connections[0]
    connection.stall(answering=False)
    return task, connection


# Q1: after every wait, what is wanted is looked at again


@pytest.mark.long
@pytest.mark.parametrize("steps", range(6))
async def test_q1_a_send_that_waits_when_the_socket_closes(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard, steps: int
) -> None:
    """It fails whatever its task was about to do: begin, wait, or go on; nothing waits for room that never comes."""
    for _ in range(ROUNDS):
        heard.clear()
        async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1, close_timeout=1) as wx:
            task, _connection = await open_to_a_stalled_server(wx, memory_socket_server)
            for _ in range(3):
                task.send(data=bytes(100_000))
            assert task._socket is not None
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            task._socket.native.close()  # not by a call of the program's, before which what waits goes out
            task.send(data="x", complete=heard("after"))
            await wx.wait_closed()
        assert heard.results == [{"errMsg": NOT_OPEN}]


# Q2: every function that the program passes calls back


def nothing() -> None:
    """Note nothing."""


REQUESTS = ("connect", "close", "close globally", "send", "send globally", "listen", "raise", "leave", "cancel", "all")


@attrs.define(eq=False)
class Restless:
    """A mini program that makes a request in each of its callbacks and listeners, without end."""

    wx: MiniProgram
    request: str
    is_async: bool
    leave: trio.Event
    scope: trio.CancelScope
    budget: int  # of requests before the end; after it there is no limit
    before: list[list[str]] = attrs.field(factory=list)
    after: list[list[str]] = attrs.field(factory=list)
    closes: Counter[int] = attrs.field(factory=Counter)
    accepted: set[int] = attrs.field(factory=set)

    def function(self, note: Callable[[], None]) -> Callable[[object], object]:
        """Return a function for the program to be called: it notes that it was, and makes the request."""

        def call(_res: object) -> None:
            note()
            self.act()

        async def call_later(_res: object) -> None:
            note()
            await trio.sleep(0.01)
            self.act()

        return call_later if self.is_async else call

    def callbacks(self) -> dict[str, object]:
        """Return the callbacks of one call, which note how it was told."""
        told: list[str] = []
        (self.after if self.wx._callbacks.ended else self.before).append(told)
        return {name: self.function(partial(told.append, name)) for name in ("success", "fail", "complete")}

    def connect(self) -> None:
        """Connect, and listen to everything."""
        task = self.wx.connectSocket(url=URL, **self.callbacks())
        if task.readyState != task.CLOSED:
            self.accepted.add(id(task))
            self.kept.append(task)
        task.onClose(self.function(lambda: self.closes.update([id(task)])))
        for listen in (task.onOpen, task.onMessage, task.onError):
            listen(self.function(nothing))
        self.task = task

    kept: list[SocketTask] = attrs.field(factory=list)
    task: SocketTask = attrs.field(init=False)

    def act(self) -> None:
        """Make the request."""
        if not self.wx._callbacks.ended:
            self.budget -= 1
            if self.budget < 0:
                self.leave.set()
                return
        for request in REQUESTS[:6] if self.request == "all" else (self.request,):
            self.make(request)

    def make(self, request: str) -> None:
        """Make one request."""
        requests: dict[str, Callable[[], object]] = {
            "connect": self.connect,
            "close": lambda: self.task.close(**self.callbacks()),
            "close globally": lambda: self.wx.closeSocket(**self.callbacks()),
            "send": lambda: self.task.send(data="x", **self.callbacks()),
            "send globally": lambda: self.wx.sendSocketMessage(data="x", **self.callbacks()),
            "listen": self.listen,
            "raise": lambda: int("a mistake of the program"),
            "leave": self.leave.set,
            "cancel": self.scope.cancel,
        }
        requests[request]()

    def listen(self) -> None:
        """Register a listener of what has been, perhaps."""
        late = self.function(nothing)
        for register in (self.task.onOpen, self.task.onClose, self.wx.onSocketOpen, self.wx.onSocketClose):
            register(late)


@pytest.mark.long
@pytest.mark.parametrize("server", ["echo", "deaf", "refuses", "drops"])
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("version", ["1.4.4", "1.5.0"])
@pytest.mark.parametrize("request_", REQUESTS)
async def test_q2_every_request_in_every_callback_and_listener(  # noqa: C901, PLR0913 (a matrix)
    autojump_clock: MockClock,
    memory_socket_server: SocketServer,
    request_: str,
    version: str,
    server: str,
    *,
    is_async: bool,
) -> None:
    """The block is left, each socket closes once, each call is told once by the right callbacks, no slot is lost."""

    async def handle(connection: ServerConnection) -> None:
        if server == "refuses":
            await connection.reject(503)
            return
        await connection.send("hello")
        if connection.closed:  # by a program that was faster
            return
        if server == "drops":
            await connection.drop()
        elif server == "deaf":
            await deaf(connection)
        else:
            async for data in connection:
                await connection.send(data)

    memory_socket_server.handler = handle
    for ending in ("normal", "raised", "cancelled"):
        with trio.fail_after(600), trio.CancelScope() as scope, suppress(KeyError):
            block = open_mini_program("wx", base_library=version, dial=memory_socket_server.dial, close_timeout=2)
            async with block as wx:
                budget = 2 if request_ == "all" else 12
                program = Restless(wx, request_, is_async, trio.Event(), scope, budget)
                for listen in (wx.onSocketOpen, wx.onSocketMessage, wx.onSocketError, wx.onSocketClose):
                    listen(program.function(nothing))
                program.connect()
                with trio.move_on_after(5):
                    await program.leave.wait()
                if ending == "raised":
                    raise KeyError("the body's own")
                if ending == "cancelled":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
        assert set(map(tuple, program.before)) <= {("success", "complete"), ("fail", "complete")}
        assert set(map(tuple, program.after)) <= {("fail", "complete"), ()}
        assert [program.closes[number] for number in program.accepted] == [1] * len(program.accepted)
        assert (wx._sockets.sockets, wx._sockets.manager.sockets) == ([], ())


class Getter(Mapping[str, object]):
    """An option object that calls a function whenever it is read, as JavaScript's getters may."""

    def __init__(self, options: Mapping[str, object], call: Callable[[], object]) -> None:
        self._options = options
        self._call = call

    def __getitem__(self, name: str) -> object:
        value = self._options[name]
        self._call()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)


async def test_q2_options_that_connect_when_they_are_read(
    autojump_clock: MockClock, memory_socket_server: SocketServer
) -> None:
    """Everything is read before anything is decided: the limit holds, and no number is given twice."""
    numbers: list[int] = []

    def note(result: object) -> None:
        numbers.append(cast("dict[str, int]", result)["socketTaskId"])

    async with open_mini_program(dial=memory_socket_server.dial) as wx:

        def connect() -> None:
            wx.connectSocket(url=URL, complete=note)

        wx.connectSocket(
            Getter({"url": URL, "complete": note, "timeout": 1000, "header": Getter({}, connect)}, connect)
        )
        assert len(wx._sockets.manager.sockets) <= 5
        await wait_all_tasks_blocked()
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_q2_options_that_close_when_they_are_read(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """The outer call finds the socket closing."""
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        await open_socket(wx)
        second = await open_socket(wx)

        def close() -> None:
            wx.closeSocket(success=heard("inner"))

        wx.closeSocket(Getter({"code": 4000, "fail": heard("outer")}, close))
        assert second.readyState == second.CLOSING  # by the second of two inner calls
        await wx.wait_closed()
    assert heard.names == ["inner", "outer", "inner"] or sorted(heard.names) == ["inner", "inner", "outer"]


async def test_q2_a_header_that_connects_when_it_is_read(
    autojump_clock: MockClock, memory_socket_server: SocketServer
) -> None:
    """The policy of a manager is asked again when everything was read."""
    dial = memory_socket_server.dial
    async with open_socket_manager(Coexist(1)) as manager:
        header = Getter({"x": "y"}, lambda: manager.connect_socket(URL, dial=dial))
        with pytest.raises(SocketLimitError):
            manager.connect_socket(URL, header=cast("Mapping[str, str]", header), dial=dial)
        assert len(manager.sockets) == 1
    async with open_socket_manager(ReplacePrevious()) as manager:
        header = Getter({"x": "y"}, lambda: manager.connect_socket(URL, dial=dial))
        last = manager.connect_socket(URL, header=cast("Mapping[str, str]", header), dial=dial)
        assert [task.ready_state for task in manager.sockets] == [ReadyState.CLOSING, ReadyState.CONNECTING]
        await last.wait_open()


# Q3: check, then act


@pytest.mark.parametrize(
    "bad",
    [{"url": "nonsense"}, {}, {"url": URL, "header": 7}, {"url": URL, "protocols": 7}, {"url": URL, "timeout": 0}],
    ids=["url", "nothing", "header", "protocols", "timeout"],
)
async def test_q3_a_connection_that_is_refused_changes_nothing(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard, bad: Mapping[str, object]
) -> None:
    """What waits for room goes on waiting, is sent once, and is told once; the socket is not replaced."""
    async with open_mini_program(base_library="1.4.4", dial=memory_socket_server.dial, send_buffer=1) as wx:
        task, connection = await open_to_a_stalled_server(wx, memory_socket_server)
        for number in range(6):
            task.send(data=f"{number}" * 100_000, success=heard(f"{number}"), fail=heard("failed"))
        await trio.sleep(1)
        assert task._socket is not None
        waiting = len(task._socket.sending.waiting)
        refused = wx.connectSocket(bad, fail=heard("refused"))
        await trio.sleep(1)
        assert (refused.readyState, task.readyState) == (task.CLOSED, task.OPEN)
        assert len(task._socket.sending.waiting) == waiting > 0
        await connection.resume()
        await trio.sleep(1)
        assert sorted(heard.names) == [*"012345", "refused"]
        task.close()
        await wx.wait_closed()
        assert [cast("str", data)[0] async for data in connection] == list("012345")


async def test_q3_an_accepted_connection_lets_go_out_what_waits(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Each message once and in order, before the Close frame of the socket that is replaced."""
    async with open_mini_program(base_library="1.4.4", dial=memory_socket_server.dial, send_buffer=1) as wx:
        task, connection = await open_to_a_stalled_server(wx, memory_socket_server)
        for number in range(6):
            task.send(data=f"{number}" * 100_000, success=heard(f"{number}"), fail=heard("failed"))
        await trio.sleep(1)
        wx.connectSocket(url=URL)
        await connection.resume()
        await trio.sleep(1)
    assert heard.names == list("012345")
    assert [cast("str", data)[0] async for data in connection] == list("012345")
    assert connection.close_reason == "replaced by a new connection"


# Q4: the end of the block is the end


LIMIT = 100  # calls of a program that ends are fewer


@pytest.mark.parametrize("ending", ["normal", "raised", "cancelled"])
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("place", ["fail", "complete", "onClose", "onError", "onSocketClose"])
async def test_q4_a_program_that_connects_again_ends_with_its_block(
    autojump_clock: MockClock, memory_socket_server: SocketServer, place: str, ending: str, *, is_async: bool
) -> None:
    """Wherever it does so, however its block ends; each call from before the end is told."""
    told: list[list[str]] = []
    with trio.fail_after(60), trio.CancelScope() as scope, suppress(KeyError):
        async with open_mini_program(dial=memory_socket_server.dial) as wx:

            def connect(_res: object = None) -> None:
                if len(told) == LIMIT:
                    return
                told.append([])
                callbacks = {name: partial(note, told[-1], name) for name in ("success", "fail", "complete")}
                task = wx.connectSocket(url=URL, **callbacks)
                task.onClose(again)
                if place.startswith("on"):
                    getattr(wx if place == "onSocketClose" else task, place)(again)

            async def connect_later(_res: object) -> None:
                with suppress(trio.Cancelled):
                    await trio.sleep(1)
                connect()

            again = connect_later if is_async else connect

            def note(of: list[str], name: str, res: object) -> object:
                of.append(name)
                return again(res) if name == place and (name == "fail" or wx._callbacks.ended) else None

            connect()
            await trio.sleep(0.5)
            if ending == "raised":
                raise KeyError("the body's own")
            if ending == "cancelled":
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert told[0] == ["success", "complete"]
    assert 1 < len(told) < LIMIT
    assert wx._sockets.manager.sockets == ()


@pytest.mark.parametrize("ending", ["normal", "raised"])
@pytest.mark.parametrize(
    "request_", ["task.send", "task.close", "closeSocket", "sendSocketMessage", "onClose", "onOpen"]
)
async def test_q4_a_program_that_asks_again_ends_with_its_block(
    autojump_clock: MockClock, memory_socket_server: SocketServer, request_: str, ending: str
) -> None:
    """Of a socket that has closed, whatever it asks: each answer leads to the next question."""
    asked = 0
    with trio.fail_after(60), suppress(KeyError):
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            task = await open_socket(wx)

            def ask_again(_res: object = None) -> None:
                nonlocal asked
                if asked < LIMIT:
                    asked += 1
                    options = {"data": "x", "fail": ask_again}
                    requests: dict[str, Callable[[], object]] = {
                        "task.send": lambda: task.send(options),
                        "task.close": lambda: task.close(options),
                        "closeSocket": lambda: wx.closeSocket(options),
                        "sendSocketMessage": lambda: wx.sendSocketMessage(options),
                        "onClose": lambda: task.onClose(ask_again),
                        "onOpen": lambda: task.onOpen(ask_again),
                    }
                    requests[request_]()

            task.onClose(ask_again)
            if ending == "raised":
                raise KeyError("the body's own")
    assert 1 <= asked < LIMIT


async def test_q4_calls_after_the_end_are_told_once(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Last of all, when everything else was told; what they lead to has no callbacks, but can be awaited."""
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        task = await open_socket(wx)
        other = await open_socket(wx)

        async def slow(_res: object) -> None:
            await trio.sleep(30)
            heard.append(("slow", {}))

        other.onClose(slow)
        last: list[Awaitable[object]] = []

        def third(_res: object) -> None:
            last.append(task.send(data="x", complete=heard("never")))

        task.onClose(lambda _res: wx.connectSocket(url=URL, fail=heard("second", third)))
    assert heard == [("slow", {}), ("second", {"errMsg": ENDED, "socketTaskId": 3})]
    assert await last[0] == {"errMsg": NOT_OPEN}


async def test_q4_async_functions_that_are_due_when_the_body_raises(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """They are called, and end at their first checkpoint; those that are plain are not disturbed."""

    async def slow(_res: object) -> None:
        heard.append(("begun", {}))
        await trio.sleep(1000)
        heard.append(("never", {}))

    started = trio.current_time()
    with pytest.raises(KeyError, match="the body's own"):
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            task = await open_socket(wx)
            task.onOpen(slow)
            task.onClose(slow)
            task.onClose(heard("onClose"))
            await wait_all_tasks_blocked()
            wx.sendSocketMessage(data="x", success=slow, complete=heard("complete"))
            raise KeyError("the body's own")
    assert heard.names == ["begun", "begun", "complete", "begun", "onClose"]
    assert trio.current_time() - started < 1


async def test_q4_a_listener_cannot_wait_for_the_end(
    autojump_clock: MockClock, memory_socket_server: SocketServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for itself, and its block for it; it is told so."""
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        wx.onSocketOpen(lambda _res: wx.wait_closed())
        await open_socket(wx)
    assert "waits for it; return instead" in caplog.text


# Q7: what was asked is told before the end of the socket


@pytest.mark.long
@pytest.mark.parametrize("how", ["close", "drop", "give up", "closed natively"])
@pytest.mark.parametrize("place", ["body", "slow listener"])
async def test_q7_sends_that_wait_are_told_before_the_close(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard, how: str, place: str
) -> None:
    """In the order of the calls, also before the error; those that were handed to the connection have succeeded."""
    for _ in range(ROUNDS):
        heard.clear()
        async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1, close_timeout=1) as wx:
            task, connection = await open_to_a_stalled_server(wx, memory_socket_server)
            task.onError(heard("onError"))
            task.onClose(heard("onClose"))
            wx.onSocketClose(heard("onSocketClose"))
            if place == "slow listener":  # the close waits behind it, and is followed by what is told only then
                task.onOpen(lambda _res: trio.sleep(20))
            for number in range(4):
                task.send(data=bytes(100_000), success=heard(f"sent {number}"), fail=heard(f"failed {number}"))
            await trio.lowlevel.checkpoint()
            if how == "close":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.resume)
                    nursery.start_soon(connection.close)
            elif how == "drop":
                await connection.drop()
            else:
                assert task._socket is not None
                if how == "give up":
                    session_of(task._socket.native)._ending.time_out("the peer is gone")
                else:
                    task._socket.native.close()
            await wx.wait_closed()
        told = [name for name in heard.names if not name.startswith("on")]
        assert [name.split()[1] for name in told] == list("0123")
        assert told[0] == "sent 0"
        assert told == sorted(told, reverse=False, key=lambda name: (name.split()[0] != "sent", name.split()[1]))
        ends = heard.names[4:]
        assert ends == (["onError"] if "onError" in ends else []) + ["onClose", "onSocketClose"]


@pytest.mark.long
@pytest.mark.parametrize("request_", ["closeSocket", "sendSocketMessage", "task.send", "task.close", "connectSocket"])
async def test_q7_what_fails_is_told_before_a_close_that_was_not_told_yet(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard, request_: str
) -> None:
    """In the instant in which a socket is CLOSED and its listeners do not know it: by several tasks, in any order."""
    memory_socket_server.handler = hold
    for turn in range(ROUNDS):
        heard.clear()
        async with open_mini_program("qq", dial=memory_socket_server.dial) as qq:
            task = await open_socket(qq)
            told = trio.Event()
            task.onClose(heard("onClose", lambda _res: told.set()))  # noqa: B023 (it is called in this turn)
            call = {
                "closeSocket": qq.closeSocket,
                "sendSocketMessage": qq.sendSocketMessage,
                "task.send": task.send,
                "task.close": task.close,
                "connectSocket": qq.connectSocket,
            }[request_]
            asks: list[int] = []
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(
                        ask, task, number if turn % 2 else 0, told, partial(call_back, call, asks, heard)
                    )
                await wait_all_tasks_blocked()
                task.close()
        assert heard.names == ["fail"] * len(asks) + ["onClose"]


async def ask(task: SocketTask, steps: int, told: trio.Event, call: Callable[[], None]) -> None:
    """Call some steps after a socket has closed, unless the program has been told."""
    assert task._socket is not None
    await task._socket.native.wait_closed()
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    if not told.is_set():
        call()


def call_back(call: Callable[[Mapping[str, object]], object], asks: list[int], heard: Heard) -> None:
    """Make a call that fails."""
    asks.append(1)
    call({"data": "x", "url": "nonsense", "fail": heard("fail")})


async def test_q7_global_calls_keep_their_order(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Also behind a slow listener of a socket that is CLOSED and has yet to be told so."""
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        task = await open_socket(wx)
        task.onOpen(lambda _res: trio.sleep(10))
        task.onClose(heard("onClose"))
        wx.sendSocketMessage(data="x", success=heard("first"))
        await memory_socket_server.connections[0].close()
        await wait_all_tasks_blocked()
        assert task.readyState == task.CLOSED
        wx.closeSocket(fail=heard("second"))
        wx.sendSocketMessage(data="x", fail=heard("third"))
        await wx.wait_closed()
    assert heard.names == ["first", "second", "third", "onClose"]


async def test_q7_calls_between_the_error_and_the_close(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """What a listener of the error asks is told before the close."""
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        task = await open_socket(wx)
        task.onError(heard("onError", lambda _res: task.send(data="x", fail=heard("fail"))))
        task.onClose(heard("onClose"))
        await memory_socket_server.connections[0].drop()
        await wx.wait_closed()
    assert heard.names == ["onError", "fail", "onClose"]


# Q8: the socket after the one that is being closed


async def serve_by_path(connection: ServerConnection) -> None:
    """Greet, and echo; never answer a Close frame on /deaf."""
    await connection.send(f"hello from {connection.path}")
    if connection.path == "/deaf":
        await deaf(connection)
    else:
        async for data in connection:
            await connection.send(data)


@pytest.mark.parametrize("order", ["close first", "connect first"])
async def test_q8_close_socket_and_connect_while_a_deaf_peer_closes(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard, order: str
) -> None:
    """The global functions and listeners are the new socket's at once, and hear the old one to its end."""
    memory_socket_server.handler = serve_by_path
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        for listen in (wx.onSocketOpen, wx.onSocketMessage, wx.onSocketError, wx.onSocketClose):
            listen(heard(listen.__name__))
        await open_socket(wx, "deaf")
        started = trio.current_time()
        if order == "connect first":
            await open_socket(wx, "new")
        assert (await wx.closeSocket(code=4000))["errMsg"] == "closeSocket:ok"
        if order == "close first":
            assert (await wx.sendSocketMessage(data="x"))[
                "errMsg"
            ] == "sendSocketMessage:fail WebSocket is not connected"
            await open_socket(wx, "new")
        assert (await wx.sendSocketMessage(data="to the new one"))["errMsg"] == "sendSocketMessage:ok"
        await wait_all_tasks_blocked()
        assert heard.names == ["onSocketOpen", "onSocketMessage"] * 2 + ["onSocketMessage"]
        assert heard.results[-1] == {"data": "to the new one"}
        assert trio.current_time() == started
        await trio.sleep(20)
        assert heard[-1] == ("onSocketClose", {"code": 4000, "reason": ""})
        assert (await wx.closeSocket(code=4001))["errMsg"] == "closeSocket:ok"
        await wx.wait_closed()
    assert heard.names[5:] == ["onSocketClose"] * 2


async def test_q8_listeners_that_come_when_the_socket_was_let_go(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """They hear of the old socket what comes, and of the new one everything."""
    memory_socket_server.handler = serve_by_path
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        await open_socket(wx, "deaf")
        wx.closeSocket(code=4000)
        for listen in (wx.onSocketOpen, wx.onSocketMessage, wx.onSocketError, wx.onSocketClose):
            listen(heard(listen.__name__))
        await wait_all_tasks_blocked()
        assert heard == []
        await open_socket(wx, "new")
        await wait_all_tasks_blocked()
        assert heard.names == ["onSocketOpen", "onSocketMessage"]
        assert heard.results[1] == {"data": "hello from /new"}
        await trio.sleep(20)
        assert heard[-1] == ("onSocketClose", {"code": 4000, "reason": ""})


async def test_q8_a_socket_that_is_closed_before_the_one_before_it_was_heard(
    autojump_clock: MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """A slow listener holds up the close of the first; the second is let go meanwhile, and its end is heard."""
    memory_socket_server.handler = serve_by_path
    async with open_mini_program(dial=memory_socket_server.dial) as wx:
        wx.onSocketClose(heard("onSocketClose"))
        wx.onSocketOpen(heard("onSocketOpen"))
        first, _second = await open_socket(wx), await open_socket(wx)
        first.onClose(lambda _res: trio.sleep(100))
        first.close(code=4001)
        await wait_all_tasks_blocked()
        assert first.readyState == first.CLOSED
        assert (await wx.closeSocket(code=4002))["errMsg"] == "closeSocket:ok"
        await wx.wait_closed()
    assert heard.names == ["onSocketOpen", "onSocketOpen", "onSocketClose", "onSocketClose"]
    assert {result["code"] for result in heard.results[2:]} == {4001, 4002}


@pytest.mark.parametrize("order", ["close first", "connect first"])
async def test_q8_natively_too(autojump_clock: MockClock, memory_socket_server: SocketServer, order: str) -> None:
    """`current`, the global functions and the channels act on the next socket at once."""
    memory_socket_server.handler = serve_by_path
    dial = memory_socket_server.dial
    async with open_socket_manager() as manager:
        opens, messages, closes = manager.on_socket_open(), manager.on_socket_message(), manager.on_socket_close()
        old = manager.connect_socket(URL + "deaf", dial=dial)
        await old.wait_open()
        started = trio.current_time()
        if order == "close first":
            manager.close_socket(4000)
            assert manager.current is old  # as long as there is no other
            new = manager.connect_socket(URL + "new", dial=dial)
        else:
            new = manager.connect_socket(URL + "new", dial=dial)
            manager.close_socket(4000)
        assert (manager.current, old.ready_state) == (new, ReadyState.CLOSING)
        await new.wait_open()
        await manager.send_socket_message("to the new one")
        for expected in ("hello from /deaf", "hello from /new", "to the new one"):
            assert await messages.receive() == MessageEvent(expected)
        assert len([await opens.receive() for _ in range(2)]) == 2
        assert trio.current_time() == started
        assert (await closes.receive()).code == 4000
        assert trio.current_time() == pytest.approx(started + 10)
        manager.close_socket(4001)
        assert (await closes.receive()).code == 4001


async def test_q8_native_listeners_that_come_when_the_socket_was_let_go(
    autojump_clock: MockClock, memory_socket_server: SocketServer
) -> None:
    """They hear of the old socket what comes; one that is closed is detached from both."""
    memory_socket_server.handler = serve_by_path
    async with open_socket_manager() as manager:
        await manager.connect_socket(URL + "deaf", dial=memory_socket_server.dial).wait_open()
        await wait_all_tasks_blocked()
        manager.close_socket(4000)
        new = manager.connect_socket(URL + "new", dial=memory_socket_server.dial)
        opens, messages, closes = manager.on_socket_open(), manager.on_socket_message(), manager.on_socket_close()
        dropped = manager.on_socket_message()
        await new.wait_open()
        dropped.close()
        assert await messages.receive() == MessageEvent("hello from /new")
        await opens.receive()
        assert (await closes.receive()).code == 4000
        for channel in (opens, messages, closes):
            with trio.move_on_after(1) as scope:
                await channel.receive()
            assert scope.cancelled_caught


async def test_q8_a_full_channel_of_two_sockets_is_read(
    autojump_clock: MockClock, memory_socket_server: SocketServer
) -> None:
    """The new socket stops for it, and reads on when it is read, although the old one has ended meanwhile."""

    async def flood(connection: ServerConnection) -> None:
        if connection.path == "/new":
            for _ in range(40):
                await connection.send(bytes(2**20))
        await deaf(connection)

    memory_socket_server.handler = flood
    async with open_socket_manager(Coexist(2)) as manager:
        messages = manager.on_socket_message()
        old = manager.connect_socket(URL, dial=memory_socket_server.dial)
        await old.wait_open()
        manager.close_socket()
        await manager.connect_socket(URL + "new", dial=memory_socket_server.dial).wait_open()
        await old.wait_closed()
        with trio.fail_after(100):
            for _ in range(40):
                await messages.receive()


async def test_q8_a_socket_that_was_let_go_is_forgotten(
    autojump_clock: MockClock, memory_socket_server: SocketServer
) -> None:
    """By the manager and by the program, once its close was told."""
    manager: SocketManager
    async with open_socket_manager() as manager, open_mini_program(dial=memory_socket_server.dial) as wx:
        manager.on_socket_message()
        native = manager.connect_socket(URL, dial=memory_socket_server.dial)
        await native.wait_open()
        manager.close_socket()
        await native.wait_closed()
        task = await open_socket(wx)
        await wx.closeSocket()
        await wx.wait_closed()
        gone: list[Callable[[], object]] = [weakref.ref(native), weakref.ref(task)]
        assert members_of(manager)._heard == []
        del native, task
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


# Q9: another thread


@pytest.mark.parametrize("has_run", [False, True], ids=["plain", "with a run of its own"])
@pytest.mark.parametrize("target", ["wx", "task", "refused"])
async def test_q9_a_function_of_the_dialect_in_another_thread(
    memory_socket_server: SocketServer, heard: Heard, target: str, *, has_run: bool
) -> None:
    """A clear error, and nothing was done: the program goes on, and its block can be left."""
    with trio.fail_after(30):
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            task = await open_socket(wx)
            task.onMessage(heard("message"))
            refused = wx.connectSocket()
            calls: dict[str, list[Callable[[], object]]] = {
                "wx": [
                    lambda: wx.connectSocket(url=URL, **heard.callbacks()),
                    lambda: wx.connectSocket(url=7, **heard.callbacks()),
                    lambda: wx.sendSocketMessage(data="x"),
                    lambda: wx.sendSocketMessage(data="x", **heard.callbacks()),
                    lambda: wx.closeSocket(**heard.callbacks()),
                    lambda: wx.onSocketOpen(heard("listener")),
                    lambda: wx.onSocketMessage(heard("listener")),
                    lambda: wx.onSocketError(heard("listener")),
                    lambda: wx.onSocketClose(heard("listener")),
                ],
                "task": _calls_of(task, heard),
                "refused": _calls_of(refused, heard),
            }
            for call in calls[target]:

                async def call_in_a_run(call: Callable[[], object] = call) -> None:
                    call()

                with pytest.raises(RuntimeError, match="another thread"):
                    await trio.to_thread.run_sync(partial(trio.run, call_in_a_run) if has_run else call)
            assert wx._sockets.sockets == [task._socket]
            assert task.readyState == task.OPEN
            for call in (lambda: task.send(data="here"), lambda: task.close(success=heard("closed"))):
                await trio.to_thread.run_sync(trio.from_thread.run_sync, call)
            await wx.wait_closed()
    assert sorted(heard.names) == ["closed", "message"]
    assert {"data": "here"} in heard.results


def _calls_of(task: SocketTask, heard: Heard) -> list[Callable[[], object]]:
    listener = heard("listener")
    return [
        lambda: task.send(data="x"),
        lambda: task.send(data="x", **heard.callbacks()),
        lambda: task.send(data=7, **heard.callbacks()),
        lambda: task.close(**heard.callbacks()),
        lambda: task.onOpen(listener),
        lambda: task.onMessage(listener),
        lambda: task.onError(listener),
        lambda: task.onClose(listener),
    ]


async def test_q9_a_task_that_cannot_be_started_is_not_waited_for() -> None:
    """It would never end, nor the block of the program with it."""
    async with trio.open_nursery() as nursery:
        pass
    program_nursery = ProgramNursery(nursery)
    callbacks = ProgramCallbacks(program_nursery)
    for _ in range(2):  # the first has not marked the task as running
        with pytest.raises(RuntimeError, match="closed"):
            callbacks.put([])
    with trio.fail_after(30):
        await program_nursery.wait_idle()
