"""The vendors' SocketTask: sending, closing, listening, and what is kept for whom."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing
from heard import Heard

from trio_socket_task._socket_task import session_of
from trio_socket_task.miniprogram import MiniProgram, SocketTask, open_mini_program
from trio_socket_task.testing import Script, ServerConnection, SocketServer, hold, in_turn

URL = "ws://phone.test/"
ROUNDS = int(os.environ.get("ROUNDS", "60"))  # of five sockets each; `nox -s soak` runs ten thousand sockets
SENT = {"errMsg": "sendSocketMessage:ok"}
NOT_OPEN = {"errMsg": "SocketTask.send:fail SocketTask.readyState is not OPEN"}
BAD_DATA = {"errMsg": "sendSocketMessage:fail data must be string or ArrayBuffer"}


class Listener:
    """Something with a listener, which keeps it."""

    def hear(self, _res: object) -> None:
        """Listen."""


Opened = Callable[[], Awaitable[SocketTask]]


@pytest.fixture
def opened(mini_program: MiniProgram) -> Opened:
    """Return a function that opens a socket."""

    async def open_socket() -> SocketTask:
        task = mini_program.connectSocket(url=URL)
        is_open = trio.Event()
        task.onOpen(lambda _res: is_open.set())
        await is_open.wait()
        return task

    return open_socket


async def test_text_and_binary(autojump_clock: trio.testing.MockClock, opened: Opened, heard: Heard) -> None:
    """Text is str, an ArrayBuffer bytes."""
    task = await opened()
    task.onMessage(heard("message"))
    for data in ("text", b"bytes", bytearray(b"array"), memoryview(b"view"), ""):
        assert await task.send({"data": data}) == SENT
    await trio.testing.wait_all_tasks_blocked()
    assert [result["data"] for result in heard.results] == ["text", b"bytes", b"array", b"view", ""]
    assert [type(result["data"]) for result in heard.results] == [str, bytes, bytes, bytes, str]
    task.close()


async def test_the_callbacks_of_a_send(autojump_clock: trio.testing.MockClock, opened: Opened, heard: Heard) -> None:
    """One of success and fail, then complete with an equal result that is its own, after the call has returned."""
    task = await opened()

    def spoil(result: object) -> None:
        assert isinstance(result, dict)
        result.clear()

    task.send(data="x", success=heard("success", spoil), fail=heard("fail"), complete=heard("complete"))
    assert heard == []
    await trio.testing.wait_all_tasks_blocked()
    assert heard == [("success", {}), ("complete", SENT)]
    task.close()


@pytest.mark.parametrize("data", [None, 7, 1.5, ["x"], {"x": 1}, "lone \ud800 surrogate"])
async def test_data_of_another_type(autojump_clock: trio.testing.MockClock, opened: Opened, data: object) -> None:
    """It fails, by task and globally, and the socket stays usable."""
    task = await opened()
    assert await task.send({"data": data}) == BAD_DATA
    assert await task.send() == BAD_DATA
    assert await task.send(data="still there") == SENT
    task.close()


async def test_sending_before_and_after(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Only an open socket sends."""
    task = mini_program.connectSocket(url=URL)
    assert await task.send(data="early") == NOT_OPEN
    task.onOpen(lambda _res: (task.close(), task.send({"data": "late", "fail": heard("fail")})))
    task.onClose(lambda _res: task.send({"data": "later", "complete": heard("complete")}))
    await mini_program.wait_closed()
    assert heard == [("fail", NOT_OPEN), ("complete", NOT_OPEN)]


async def test_closing_before_open_stops_the_opening(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """By the task's own close: no open, no error, one close with what was asked for."""
    task = mini_program.connectSocket(url=URL)
    for listen in (task.onOpen, task.onError, task.onClose):
        listen(heard(listen.__name__))
    assert await task.close({"code": 3000, "reason": "changed my mind"}) == {"errMsg": "closeSocket:ok"}
    await mini_program.wait_closed()
    assert heard == [("onClose", {"code": 3000, "reason": "changed my mind"})]


async def test_a_view_that_was_released(autojump_clock: trio.testing.MockClock, opened: Opened) -> None:
    """It is no message any more."""
    task = await opened()
    view = memoryview(b"abc")
    view.release()
    assert await task.send(data=view) == BAD_DATA
    task.onOpen()  # and a listener that was forgotten is none
    task.close()


async def test_closing_twice(autojump_clock: trio.testing.MockClock, opened: Opened) -> None:
    """The second finds the socket closing, then closed."""
    task = await opened()
    assert await task.close() == {"errMsg": "closeSocket:ok"}
    for _ in range(2):
        assert await task.close() == {"errMsg": "closeSocket:fail WebSocket is not connected"}
        await trio.testing.wait_all_tasks_blocked()
    assert task.readyState == task.CLOSED


NO_NUMBERS = ["1001", "", True, float("nan"), float("inf"), [1001], {}, b"1001"]


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 2999, 5000, 1000.5, 10**400])
async def test_a_bad_code(autojump_clock: trio.testing.MockClock, opened: Opened, code: object) -> None:
    """It fails, and the socket stays open."""
    task = await opened()
    assert await task.close({"code": code}) == {"errMsg": "closeSocket:fail invalid code"}
    assert task.readyState == task.OPEN
    task.close()


@pytest.mark.parametrize("code", NO_NUMBERS)
async def test_a_code_that_is_no_finite_number_is_not_given(
    autojump_clock: trio.testing.MockClock, opened: Opened, heard: Heard, code: object
) -> None:
    """As on a phone."""
    task = await opened()
    task.onClose(heard("close"))
    assert await task.close({"code": code, "reason": "bye"}) == {"errMsg": "closeSocket:ok"}
    await trio.testing.wait_all_tasks_blocked()
    assert heard.results == [{"code": 1000, "reason": "bye"}]


@pytest.mark.parametrize("code", [*NO_NUMBERS, 999])
async def test_a_code_that_is_no_finite_number_is_refused_strictly(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, code: object
) -> None:
    """The socket goes on as it was."""
    async with open_mini_program(strict=True, dial=memory_socket_server.dial) as wx:
        task = wx.connectSocket(url=URL)
        assert await task.close({"code": code}) == {"errMsg": "closeSocket:fail invalid code"}
        assert task.readyState == task.CONNECTING


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (7, "reason must be a string"),
        (b"bye", "reason must be a string"),
        ("lone \udfff surrogate", "reason must be a string"),
        ("x" * 124, "reason must not exceed 123 UTF-8 bytes"),
        ("汉" * 42, "reason must not exceed 123 UTF-8 bytes"),
    ],
)
async def test_a_bad_reason(autojump_clock: trio.testing.MockClock, opened: Opened, reason: object, why: str) -> None:
    """It is measured in bytes; the socket stays open."""
    task = await opened()
    assert await task.close({"reason": reason}) == {"errMsg": f"closeSocket:fail {why}"}
    assert task.readyState == task.OPEN
    assert await task.close({"code": 4999.0, "reason": "汉" * 41}) == {"errMsg": "closeSocket:ok"}


async def test_an_outcome_may_be_awaited_by_several_and_again(
    autojump_clock: trio.testing.MockClock, opened: Opened, memory_socket_server: SocketServer
) -> None:
    """Also while the call has not turned out yet, and by one who was cancelled; each has a dict of its own."""
    task = await opened()
    connection = await memory_socket_server.wait_connection()
    connection.stall()
    outcome = task.send(data="x" * 2**20)
    for _ in range(20):
        outcome = task.send(data="x" * 2**20)
    with trio.move_on_after(1) as scope:
        await outcome
    assert scope.cancelled_caught
    results = []

    async def wait() -> None:
        results.append(await outcome)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await connection.resume()
    assert [*results, await outcome] == [SENT] * 3
    assert results[0] is not results[1]


async def test_listeners_are_a_list(autojump_clock: trio.testing.MockClock, opened: Opened, heard: Heard) -> None:
    """All are called, in order, each with a dict of its own; twice registered, twice called."""
    task = await opened()
    twice = heard("twice", lambda result: result.clear())  # type: ignore[attr-defined]
    task.onMessage(twice)
    task.onMessage(twice)
    task.onMessage(heard("once"))
    await task.send(data="x")
    await trio.testing.wait_all_tasks_blocked()
    assert heard == [("twice", {}), ("twice", {}), ("once", {"data": "x"})]
    task.close()


async def test_late_listeners_hear_the_facts(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Once each: opening, failure and close; also one that is registered by a listener of the same event."""
    memory_socket_server.handler = Script().sleep(1).drop()
    task = mini_program.connectSocket(url=URL)
    task.onClose(heard("first", lambda _res: task.onClose(heard("nested"))))
    await mini_program.wait_closed()
    assert heard.names == ["first", "nested"]
    heard.clear()
    for listen in (task.onClose, task.onOpen, task.onMessage, task.onError):
        listen(heard(listen.__name__))
    await mini_program.wait_closed()
    assert heard.names == ["onOpen", "onError", "onClose"]
    assert heard.results[1]["errMsg"] == "the connection was lost: the connection was reset by the other end"


async def test_messages_wait_for_the_first_listener(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """A greeting is not lost; what is over when nobody listened is dropped with the socket."""
    memory_socket_server.handler = in_turn(Script().send("hello").send("again"), Script().send("unheard").close())
    task = mini_program.connectSocket(url=URL)
    await trio.sleep(10)
    task.onMessage(heard("message"))
    await trio.testing.wait_all_tasks_blocked()
    assert heard.results == [{"data": "hello"}, {"data": "again"}]
    task.close()
    await mini_program.wait_closed()
    heard.clear()
    deaf = mini_program.connectSocket(url=URL)
    deaf.onClose(heard("close"))
    await mini_program.wait_closed()
    deaf.onMessage(heard("message"))
    await mini_program.wait_closed()
    assert heard.names == ["close"]


async def test_messages_come_before_the_close(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """However slow the listener is; nothing follows the close."""
    memory_socket_server.handler = Script().send("1").send("2").send("3").close(4000, "end")

    async def slow(result: object) -> None:
        await trio.sleep(5)
        heard("message")(result)

    task = mini_program.connectSocket(url=URL)
    task.onMessage(slow)
    task.onClose(heard("close"))
    await mini_program.wait_closed()
    assert heard.names == ["message"] * 3 + ["close"]
    assert heard.results[3] == {"code": 4000, "reason": "end"}


async def test_a_slow_listener_stops_the_reading(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer
) -> None:
    """What waits for it is bounded by receive_buffer."""

    async def flood(connection: ServerConnection) -> None:
        for _ in range(100):
            await connection.send(b"x" * 50_000)

    memory_socket_server.handler = flood
    async with open_mini_program(dial=memory_socket_server.dial, receive_buffer=100_000) as wx:
        task = wx.connectSocket(url=URL)
        sizes: list[int] = []

        async def slow(_res: object) -> None:
            await trio.sleep(1)
            assert task._socket is not None
            sizes.append(task._socket.queue.mailbox.size)

        task.onMessage(slow)
        await wx.wait_closed()
    assert len(sizes) == 100
    assert max(sizes) < 300_000


# Sends that must wait


async def open_to_a_deaf_server(wx: MiniProgram, server: SocketServer) -> tuple[SocketTask, ServerConnection]:
    """Return both ends of a connection whose server does not read."""
    server.handler = hold
    task = wx.connectSocket(url=URL)
    connection = await server.wait_connection()
    await trio.testing.wait_all_tasks_blocked()
    connection.stall(answering=False)
    return task, connection


async def test_sends_that_find_no_room_wait_in_order(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """And go out before a close; after it nothing can be sent."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1) as wx:
        task, connection = await open_to_a_deaf_server(wx, memory_socket_server)
        for number in range(6):
            task.send(data=bytes((number,)) * 100_000, success=heard(f"sent {number}"))
        task.close({"code": 4000, "reason": "last", "success": heard("closing")})
        assert task.readyState == task.CLOSING
        assert await task.send(data="too late") == NOT_OPEN
        assert await task.close() == {"errMsg": "closeSocket:fail WebSocket is not connected"}
        await trio.sleep(1)
        await connection.resume()
        await wx.wait_closed()
        assert [name for name in heard.names if name != "closing"] == [f"sent {number}" for number in range(6)]
        received = [data async for data in connection]
        assert [data[0] for data in received] == list(range(6))
        assert connection.close_code == 4000
        assert task.readyState == task.CLOSED


async def test_sends_that_wait_succeed_when_there_is_room(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """So who awaits them is held to the pace of the network; the callbacks are those that the call came with."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1) as wx:
        task, connection = await open_to_a_deaf_server(wx, memory_socket_server)
        options: dict[str, object] = {"data": bytes(100_000)}
        for number in range(6):
            options["success"] = heard(f"{number}")
            task.send(options)
        options.clear()
        await trio.sleep(1)
        assert heard.names == ["0"]
        await connection.resume()
        await trio.testing.wait_all_tasks_blocked()
        assert heard.names == [f"{number}" for number in range(6)]


async def test_a_close_that_a_deaf_peer_holds_up(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Takes the close_timeout at most, whatever waits to be sent; its code and reason are those asked for."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1, close_timeout=5) as wx:
        task, _connection = await open_to_a_deaf_server(wx, memory_socket_server)
        for _ in range(5):
            task.send(data=bytes(100_000))
        task.close(code=4000, reason="mine")
        task.onClose(heard("close"))
        started = trio.current_time()
        await wx.wait_closed()
        assert trio.current_time() - started == pytest.approx(5)
    assert heard.results == [{"code": 4000, "reason": "mine"}]


async def test_a_full_mailbox_loses_nothing(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Neither a callback nor a message: events are put on top of what fills it."""

    async def greet(connection: ServerConnection) -> None:
        for number in range(3):
            await connection.send(f"{number}" * 100)
        await connection.close()

    memory_socket_server.handler = greet

    async def slow(_res: object) -> None:
        await trio.sleep(10)

    async with open_mini_program(dial=memory_socket_server.dial, receive_buffer=100) as wx:
        task = wx.connectSocket(url=URL, success=slow, complete=heard("complete"))
        task.onOpen(heard("open"))
        task.onMessage(heard("message", None))
        task.onMessage(slow)
        task.onClose(heard("close"))
        await wx.wait_closed()
    assert heard.names == ["complete", "open", *["message"] * 3, "close"]


async def test_a_greeting_comes_before_the_close_however_late_the_listener(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """As long as the close was not heard; nothing follows it."""
    memory_socket_server.handler = Script().send("greeting").close(4000)

    async def slow(_res: object) -> None:
        await trio.sleep(10)

    task = mini_program.connectSocket(url=URL, success=slow)
    task.onOpen(lambda _res: task.onMessage(heard("message")))
    task.onClose(heard("close", lambda _res: task.onMessage(heard("after the close"))))
    await mini_program.wait_closed()
    assert heard.names == ["message", "close"]


async def test_sends_that_wait_when_the_connection_is_lost_fail(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """In the words that go with each call."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1) as wx:
        task, connection = await open_to_a_deaf_server(wx, memory_socket_server)
        for _ in range(5):
            task.send(data=b"x" * 100_000, fail=heard("task"))
        wx.sendSocketMessage(data=b"x" * 100_000, fail=heard("global"))
        await trio.sleep(1)
        await connection.drop()
        await wx.wait_closed()
    assert set(heard.names) == {"task", "global"}
    assert heard[-1] == ("global", {"errMsg": "sendSocketMessage:fail WebSocket is not connected"})
    assert heard[-2] == ("task", NOT_OPEN)


async def test_a_send_on_a_connection_that_broke_unnoticed(
    autojump_clock: trio.testing.MockClock, opened: Opened
) -> None:
    """A write has failed, and reading has not yet found out why."""
    task = await opened()
    assert task._socket is not None
    session_of(task._socket.native)._ending.fail_to_write(BrokenPipeError("gone"))
    assert task.readyState == task.OPEN
    assert await task.send(data="x") == NOT_OPEN


@pytest.mark.parametrize("how", ["drop", "close"])
async def test_sends_that_wait_fail_where_the_server_ends_the_connection(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard, how: str
) -> None:
    """None of them succeeds because of that: what waits for room is lost with the connection."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1, close_timeout=1) as wx:
        task, connection = await open_to_a_deaf_server(wx, memory_socket_server)
        for _ in range(4):
            task.send(data=bytes(100_000), success=heard("success"), fail=heard("fail"))
        await trio.testing.wait_all_tasks_blocked()
        before = heard.names.count("success")
        await (connection.drop() if how == "drop" else connection.send_raw(b"\x88\x00"))
        await wx.wait_closed()
    assert heard.names.count("success") == before
    assert heard.names.count("fail") == 4 - before > 0


async def test_sends_that_wait_succeed_where_they_go_out_before_the_answer_to_a_close(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """The server has sent its Close frame, and reads on: what it reads has not failed."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1, close_timeout=1) as wx:
        task, connection = await open_to_a_deaf_server(wx, memory_socket_server)
        for _ in range(4):
            task.send(data=bytes(100_000), success=heard("success"), fail=heard("fail"))
        await trio.testing.wait_all_tasks_blocked()
        await connection.send_raw(b"\x88\x00")
        await trio.testing.wait_all_tasks_blocked()
        await connection.resume()
        await wx.wait_closed()
    assert heard.names == ["success"] * 4


async def test_a_close_behind_sends_on_a_connection_that_broke_unnoticed(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Those that wait fail, and the close goes on."""
    async with open_mini_program(dial=memory_socket_server.dial, send_buffer=1, close_timeout=1) as wx:
        task, _connection = await open_to_a_deaf_server(wx, memory_socket_server)
        for _ in range(3):
            task.send(data=bytes(100_000), fail=heard("fail"))
        assert task._socket is not None
        session_of(task._socket.native)._ending.fail_to_write(BrokenPipeError("gone"))
        assert await task.close() == {"errMsg": "closeSocket:ok"}
        await wx.wait_closed()
    assert heard[0] == ("fail", NOT_OPEN)


@pytest.mark.needs("cpython")
@pytest.mark.parametrize("how", ["task.close", "closeSocket", "drop", "refused"])
async def test_a_closed_task_is_forgotten(
    autojump_clock: trio.testing.MockClock,
    mini_program: MiniProgram,
    memory_socket_server: SocketServer,
    how: str,
) -> None:
    """By the program, which goes on: it is freed with its listeners as soon as nobody holds it, in no cycle."""
    memory_socket_server.handler = Script().sleep(1).drop() if how == "drop" else hold
    task = mini_program.connectSocket(url=URL if how != "refused" else "test.php")
    listener = Listener()
    for listen in (task.onOpen, task.onMessage, task.onError, task.onClose):
        listen(listener.hear)
    mini_program.onSocketOpen(lambda _res: mini_program.closeSocket() if how == "closeSocket" else None)
    gone = [weakref.ref(one) for one in (task, listener, task._socket) if one is not None]
    del listener, listen
    gc.disable()
    try:
        await trio.testing.wait_all_tasks_blocked()
        if how == "task.close":
            task.close()
        await mini_program.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert task.readyState == task.CLOSED
        del task
        assert [reference() for reference in gone] == [None] * len(gone)
    finally:
        gc.enable()


@pytest.mark.long
async def test_many_rounds_leak_nothing(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer
) -> None:
    """Neither a slot nor a listener nor a task. One in five is closed before it is open; each sixth is refused."""
    closed = 0

    def count(_res: object) -> None:
        nonlocal closed
        closed += 1

    async with open_mini_program("qq", dial=memory_socket_server.dial) as qq:
        qq.onSocketOpen(lambda _res: qq.closeSocket())
        for _ in range(ROUNDS):
            memory_socket_server.connections.clear()
            tasks = [qq.connectSocket(url=URL) for _ in range(5)]
            for task in tasks:
                task.onOpen(partial(close, task))
                task.onMessage(count)
                task.onClose(count)
            tasks[3].close()
            assert qq.connectSocket(url=URL).readyState == SocketTask.CLOSED
            await qq.wait_closed()
        assert closed == 5 * ROUNDS
        assert qq._sockets.sockets == []
        assert qq._sockets.manager.sockets == ()
        assert qq._nursery._nursery.child_tasks == frozenset()


def close(task: SocketTask, _res: object) -> None:
    """Close."""
    task.close()


@pytest.mark.needs("cpython")
async def test_a_callback_that_was_called_is_forgotten(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram
) -> None:
    """While its socket waits for more."""
    task = mini_program.connectSocket(url=URL)
    listener = Listener()
    gone = weakref.ref(listener)
    await trio.testing.wait_all_tasks_blocked()
    task.send(data="x", success=listener.hear)
    del listener
    assert gone() is not None
    await trio.testing.wait_all_tasks_blocked()
    assert task.readyState == task.OPEN
    assert gone() is None
