"""The vendor object: connecting, the global functions, the limit and the replacement, and its block."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Literal, cast

import attrs
import pytest
import trio
import trio.testing
from conftest import Serve
from heard import Heard
from peer import Peer

from trio_socket_task import Coexist, InvalidOptionsError, ReplacePrevious, __version__
from trio_socket_task._socket_task import session_of
from trio_socket_task.miniprogram import MiniProgram, SocketTask, open_mini_program
from trio_socket_task.testing import Script, ServerConnection, SocketServer, hold, in_turn, open_test_server

URL = "ws://phone.test/"


def call(wx: MiniProgram, options: Mapping[str, object], heard: Heard) -> SocketTask:
    """Call connectSocket with all three callbacks."""
    return wx.connectSocket({**options, **heard.callbacks()})


async def test_the_life_of_a_socket(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Callbacks first, then the events; the task's listeners before the global ones; never inside a call."""
    wx = mini_program
    task = call(wx, {"url": URL}, heard)
    task.onOpen(heard("task open"))
    task.onMessage(heard("task message"))
    task.onError(heard("task error"))
    task.onClose(heard("task close"))
    wx.onSocketOpen(heard("open", lambda _res: task.send({"data": "hello"})))
    wx.onSocketMessage(heard("message", lambda _res: task.close({"code": 4000, "reason": "done"})))
    wx.onSocketError(heard("error"))
    wx.onSocketClose(heard("close"))
    assert heard == []
    assert task.readyState == task.CONNECTING == SocketTask.CONNECTING == 0
    await wx.wait_closed()
    assert heard.names == [
        *("success", "complete"),
        *("task open", "open", "task message", "message", "task close", "close"),
    ]
    accepted = {"errMsg": "connectSocket:ok", "socketTaskId": 1}
    assert heard.results[:2] == [accepted, accepted]
    opened = cast("dict[str, dict[str, str]]", heard.results[2])
    assert opened["header"]["Upgrade"].lower() == "websocket"
    assert heard.results[4:] == [{"data": "hello"}] * 2 + [{"code": 4000, "reason": "done"}] * 2
    assert task.readyState == task.CLOSED == 3
    assert (task.OPEN, task.CLOSING) == (1, 2)
    assert repr(task) == f"<SocketTask 1 CLOSED {URL}>"
    assert repr(wx) == "<MiniProgram with 0 sockets>"


async def test_keywords_and_unknown_options(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Keywords do as well as an option object, and both together; `method` and the like are ignored."""
    mini_program.connectSocket({"url": URL, "method": "GET"}, complete=heard("complete"), anything=object())
    mini_program.connectSocket(url=URL, success=heard("success"))
    mini_program.connectSocket({"url": "not this"}, url=URL, success=heard("keyword wins"))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(heard.names) == ["complete", "keyword wins", "success"]


async def test_the_request(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer
) -> None:
    """Header and protocols go out; Referer and the handshake's own fields are dropped."""
    memory_socket_server.handler = hold
    header = {"content-type": "application/json", "Referer": "https://elsewhere.test", "Host": "other", "X-Id": "7"}
    mini_program.connectSocket(
        {"url": URL + "chat?a=1", "header": header, "protocols": ("protocol1",), "tcpNoDelay": True, "timeout": 5000}
    )
    connection = await memory_socket_server.wait_connection()
    assert connection.path == "/chat?a=1"
    assert connection.header["Content-Type"] == "application/json"
    assert connection.header["x-id"] == "7"
    assert "referer" not in {name.lower() for name in connection.header}
    assert tuple(connection.protocols) == ("protocol1",)


@pytest.mark.parametrize(
    ("vendor", "value", "offered"), [("wx", True, True), ("wx", "x", True), ("wx", 0, False), ("qq", True, False)]
)
async def test_per_message_deflate_is_offered(
    autojump_clock: trio.testing.MockClock,
    serve: Serve,
    vendor: Literal["wx", "qq"],
    value: object,
    offered: bool,  # noqa: FBT001 (a parameter)
) -> None:
    """Where the program asks for it, judged as JavaScript does; qq does not know it."""
    seen = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert (b"permessage-deflate" in peer.request) is offered
        seen.set()
        await peer.read_end()

    async with open_mini_program(vendor, dial=serve(script)) as program:
        program.connectSocket(url=URL, perMessageDeflate=value)
        await seen.wait()


async def test_cellular_network_is_accepted(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """And without effect, by strict programs as well: this side has one network."""
    async with open_mini_program(strict=True, dial=memory_socket_server.dial) as wx:
        for value in (True, False, "x"):
            wx.connectSocket(url=URL, forceCellularNetwork=value, success=heard("success"), fail=heard("fail"))
        await memory_socket_server.wait_connection()
    assert heard.names == ["success"] * 3


@pytest.mark.parametrize(
    ("header", "sent"),
    [({}, f"trio-socket-task/{__version__}"), ({"user-agent": "mine"}, "mine"), ({"User-Agent": ""}, "none")],
)
async def test_the_user_agent(
    mini_program: MiniProgram, memory_socket_server: SocketServer, header: dict[str, str], sent: str
) -> None:
    """A program may set its own, or none."""
    mini_program.connectSocket({"url": URL, "header": header})
    connection = await memory_socket_server.wait_connection()
    assert connection.header.get("User-Agent", "none") == sent


class Hostile(Mapping[str, object]):
    """An option object of which some keys raise."""

    def __init__(self, options: Mapping[str, object], *hostile: str) -> None:
        self._options = options
        self._hostile = hostile

    def __getitem__(self, name: str) -> object:
        if name in self._hostile:
            raise OSError("do not look at me")
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        raise OSError("do not look at us")

    def __len__(self) -> int:
        return len(self._options)


GOOD: dict[str, object] = {"url": URL}
UNDEFINED = "parameter error: parameter.url should be String instead of "


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, UNDEFINED + "Undefined;"),
        (None, UNDEFINED + "Undefined;"),
        (URL, UNDEFINED + "Undefined;"),
        (Hostile({}, "url"), UNDEFINED + "Undefined;"),
        ({"url": None}, UNDEFINED + "Null;"),
        ({"url": True}, UNDEFINED + "Boolean;"),
        ({"url": 1}, UNDEFINED + "Number;"),
        ({"url": 1.5}, UNDEFINED + "Number;"),
        ({"url": b"ws://a"}, UNDEFINED + "ArrayBuffer;"),
        ({"url": [URL]}, UNDEFINED + "Array;"),
        ({"url": print}, UNDEFINED + "Function;"),
        ({"url": {}}, UNDEFINED + "Object;"),
        ({"url": ""}, 'invalid url ""'),
        ({"url": "test.php"}, 'invalid url "test.php"'),
        ({"url": "https://example.qq.com"}, 'invalid url "https://example.qq.com"'),
        ({"url": "ws://a.test/#fragment"}, 'invalid url "ws://a.test/#fragment"'),
        ({"url": "ws://a b.test/"}, 'invalid url "ws://a b.test/"'),
        ({"url": "ws://[::1/"}, 'invalid url "ws://[::1/"'),
        (GOOD | {"header": "a: b"}, "header must be an object"),
        (GOOD | {"header": ["a"]}, "header must be an object"),
        (Hostile(GOOD, "header"), "header must be an object"),
        (GOOD | {"header": Hostile({"a": "b"})}, "header must be an object"),
        (GOOD | {"header": {"a b": "c"}}, "invalid header"),
        (GOOD | {"header": {"a": "b\r\nc: d"}}, "invalid header"),
        (GOOD | {"header": {"a": [1]}}, "invalid header"),
        (GOOD | {"header": {"a": "é"}}, "invalid header"),
        (GOOD | {"header": {"a": 10**5000}}, "invalid header"),
        (GOOD | {"header": {7: "a"}}, "invalid header"),
        (GOOD | {"protocols": "chat"}, "protocols must be an array"),
        (GOOD | {"protocols": {"chat": 1}}, "protocols must be an array"),
        (Hostile(GOOD, "protocols"), "protocols must be an array"),
        (GOOD | {"protocols": ["a b"]}, "invalid protocol"),
        (GOOD | {"protocols": [1]}, "invalid protocol"),
        (GOOD | {"protocols": ["a", "a"]}, "invalid protocol"),
        (GOOD | {"timeout": 0}, "invalid timeout"),
        (GOOD | {"timeout": -1}, "invalid timeout"),
        (GOOD | {"timeout": 10**400}, "invalid timeout"),
        (Hostile(GOOD, "timeout"), "invalid timeout"),
    ],
)
async def test_connect_is_refused(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard, options: object, why: str
) -> None:
    """`fail` and then `complete`, after the call has returned a CLOSED task; nothing is raised and no slot is lost."""
    keywords = heard.callbacks()
    task = mini_program.connectSocket(cast("Mapping[str, object]", options), **keywords)
    assert heard == []
    assert task.readyState == task.CLOSED
    task.onClose(heard("close"))
    await mini_program.wait_closed()
    result = {"errMsg": f"connectSocket:fail {why}", "socketTaskId": 1}
    assert heard == [("fail", result), ("complete", result)]
    assert repr(task) == "<SocketTask 1 CLOSED refused>"
    assert repr(mini_program) == "<MiniProgram with 0 sockets>"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"header": {"a": 1}}, "invalid header"),
        ({"header": {"a": None}}, "invalid header"),
        ({"header": {" a": "b"}}, "invalid header"),
        ({"header": {"a": "é"}}, "invalid header"),
        ({"timeout": "60000"}, "invalid timeout"),
        ({"timeout": True}, "invalid timeout"),
        ({"timeout": float("nan")}, "invalid timeout"),
        ({"timeout": float("inf")}, "invalid timeout"),
        ({"timeout": -1}, "invalid timeout"),
    ],
)
async def test_connect_is_refused_strictly(
    autojump_clock: trio.testing.MockClock, heard: Heard, options: Mapping[str, object], why: str
) -> None:
    """Where a phone would put it right; what it refuses is refused as well."""
    async with open_mini_program(strict=True) as wx:
        wx.connectSocket({"url": URL, **options, "fail": heard("fail")})
    assert [result["errMsg"] for result in heard.results] == [f"connectSocket:fail {why}"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-7, "-7"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (-12.25, "-12.25"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (123456789012345680000.0, "123456789012345680000"),
        (0.000001, "0.000001"),
        (1.25e-7, "1.25e-7"),
        (5e-324, "5e-324"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        ("text", "text"),
    ],
)
async def test_header_values_become_text(
    autojump_clock: trio.testing.MockClock,
    mini_program: MiniProgram,
    memory_socket_server: SocketServer,
    value: object,
    text: str,
) -> None:
    """As JavaScript's String() makes it; blanks around a name go, and do not hide a name that is dropped."""
    memory_socket_server.handler = hold
    header = {" x-value\t": value, " Referer ": "https://elsewhere.test", "\tSec-WebSocket-Key": "mine"}
    mini_program.connectSocket(url=URL, header=header)
    connection = await memory_socket_server.wait_connection()
    assert connection.header["x-value"] == text
    assert "referer" not in {name.lower() for name in connection.header}


@pytest.mark.parametrize("value", ["250", True, float("nan"), float("inf"), [250], {}])
async def test_a_timeout_that_is_no_finite_number_is_not_given(
    autojump_clock: trio.testing.MockClock, value: object
) -> None:
    """The default holds."""

    async def silent(_host: str, _port: int) -> trio.abc.Stream:
        return trio.testing.memory_stream_pair()[0]

    async with open_mini_program(dial=silent) as wx:
        started = trio.current_time()
        wx.connectSocket(url=URL, timeout=value)
        await wx.wait_closed()
        assert trio.current_time() - started == pytest.approx(60)


class Shy:
    """An object that does not say what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise OSError("do not ask me")


async def test_objects_that_raise_when_asked(autojump_clock: trio.testing.MockClock, mini_program: MiniProgram) -> None:
    """They are of no type that anything accepts."""
    for options, why in (
        (Shy(), UNDEFINED + "Undefined;"),
        ({"url": Shy()}, UNDEFINED + "Undefined;"),
        (GOOD | {"timeout": Shy()}, "invalid timeout"),
        (GOOD | {"protocols": Shy()}, "protocols must be an array"),
        (GOOD | {"protocols": [Shy()]}, "invalid protocol"),
        (GOOD | {"header": Shy()}, "header must be an object"),
        (GOOD | {"header": {"a": Shy()}}, "invalid header"),
    ):
        messages: list[object] = []
        mini_program.connectSocket(cast("Mapping[str, object]", options), fail=messages.append)
        await mini_program.wait_closed()
        assert [cast("dict[str, object]", message)["errMsg"] for message in messages] == [f"connectSocket:fail {why}"]


async def test_a_refused_task_answers_like_a_closed_one(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram
) -> None:
    """Its functions fail, and no event comes."""
    task = mini_program.connectSocket()
    assert (await task.send({"data": "x"}))["errMsg"] == "SocketTask.send:fail SocketTask.readyState is not OPEN"
    assert (await task.close())["errMsg"] == "closeSocket:fail WebSocket is not connected"
    task.onMessage(print)
    await mini_program.wait_closed()


async def test_options_that_are_none_are_left_out(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """As JavaScript's undefined."""
    nothing = dict.fromkeys(("header", "protocols", "tcpNoDelay", "timeout", "success", "fail"))
    task = mini_program.connectSocket({"url": URL, **nothing, "complete": heard("complete")})
    task.onOpen(lambda _res: task.close({"code": None, "reason": None}))
    task.onClose(heard("close"))
    await mini_program.wait_closed()
    assert heard.results == [{"errMsg": "connectSocket:ok", "socketTaskId": 1}, {"code": 1000, "reason": ""}]


async def test_callbacks_that_cannot_be_called_are_ignored(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """So are listeners, and callbacks whose access raises."""
    task = mini_program.connectSocket(Hostile({"url": URL, "success": "no", "complete": 7}, "fail"))
    for register in (task.onOpen, task.onMessage, task.onError, task.onClose):
        register("no function")  # type: ignore[arg-type]
    for register in (mini_program.onSocketOpen, mini_program.onSocketMessage):
        register(None)
    mini_program.onSocketError(7)  # type: ignore[arg-type]
    mini_program.onSocketClose(heard("close"))
    mini_program.onSocketClose({})  # type: ignore[arg-type]
    task.onOpen(lambda _res: task.close())
    await mini_program.wait_closed()
    assert heard.names == ["close"]


@pytest.mark.parametrize("mini_program", ["wx", "qq"], indirect=True)
async def test_five_connections_coexist(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """The sixth is refused in the vendors' words and a CLOSED task returned; the url is looked at first."""
    tasks = [mini_program.connectSocket(url=URL) for _ in range(5)]
    sixth = mini_program.connectSocket({"url": URL, "header": "bad as well", "fail": heard("limit")})
    mini_program.connectSocket({"url": "bad", "fail": heard("url")})
    assert sixth.readyState == sixth.CLOSED
    tasks[0].onClose(heard("close", lambda _res: mini_program.connectSocket(url=URL, success=heard("free"))))
    tasks[0].onOpen(lambda _res: tasks[0].close())
    await trio.testing.wait_all_tasks_blocked()
    limit = {"errMsg": "connectSocket:fail fail reach max websocket connect count 5", "socketTaskId": 6}
    assert ("limit", limit) in heard
    assert ("url", {"errMsg": 'connectSocket:fail invalid url "bad"', "socketTaskId": 7}) in heard
    assert heard.names[-2:] == ["close", "free"]


async def test_before_1_5_0_a_new_connection_replaces_the_old(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Three quick calls: each replaced one gets its one close event, only the last survives."""
    async with open_mini_program("wx", base_library="1.4.4", dial=memory_socket_server.dial) as wx:
        old = wx.connectSocket(url=URL + "old")
        old.onClose(heard("old"))
        opened = trio.Event()
        old.onOpen(lambda _res: opened.set())
        await opened.wait()
        for name in ("second", "third"):
            task = wx.connectSocket(url=URL + name)
            task.onOpen(heard(f"{name} open"))
            task.onClose(heard(name))
        await trio.testing.wait_all_tasks_blocked()
        replaced = {"code": 1000, "reason": "replaced by a new connection"}
        assert sorted(heard.names[:2]) == ["old", "second"]
        assert heard.results[:2] == [replaced, replaced]
        assert heard.names[-1] == "third open"
        assert [connection.path for connection in memory_socket_server.connections] == ["/old", "/third"]


def test_the_policies() -> None:
    """The older wx replaces, the newer counts; qq has no such versions."""
    for version, policy in (("1.4.4", ReplacePrevious()), ("1.5.0", Coexist()), (None, Coexist())):
        block = open_mini_program("wx", base_library=version)
        assert block._sockets._members.policy == policy  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"vendor": "my"}, """vendor must be "wx" or "qq", not 'my'"""),
        ({"vendor": "qq", "base_library": "1.4.4"}, "base_library must be left out for qq, where five always coexist"),
        ({"base_library": "new"}, """base_library must be a version such as "1.5.0", not 'new'"""),
        ({"close_after_connect_error": 1}, "close_after_connect_error must be True or False, not 1"),
        ({"strict": None}, "strict must be True or False, not None"),
        ({"timeout": 0}, "timeout must be a positive, finite number of seconds, not 0"),
    ],
)
def test_a_bad_program_is_refused(arguments: dict[str, object], sentence: str) -> None:
    """Here it is Python that is spoken, so it raises."""
    with pytest.raises(InvalidOptionsError) as caught:
        open_mini_program(**arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)


async def test_qq_has_no_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """It is an unknown option there, and even a bad one is ignored; wx counts in milliseconds."""

    async def silent(_host: str, _port: int) -> trio.abc.Stream:
        return trio.testing.memory_stream_pair()[0]

    for vendor, seconds in (("wx", 0.25), ("qq", 60)):
        async with open_mini_program("wx" if vendor == "wx" else "qq", dial=silent) as program:
            started = trio.current_time()
            task = program.connectSocket(url=URL, timeout=250 if vendor == "wx" else "never")
            errors: list[object] = []
            task.onError(errors.append)
            await program.wait_closed()
            assert trio.current_time() - started == pytest.approx(seconds)
            assert errors == [{"errMsg": "connectSocket:fail timeout"}]


async def test_a_socket_that_cannot_be_opened(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """The call was accepted all the same; then error and close."""
    memory_socket_server.handler = Script().reject(403)
    task = call(mini_program, {"url": URL}, heard)
    task.onOpen(heard("open"))
    task.onError(heard("error"))
    mini_program.onSocketClose(heard("close"))
    await mini_program.wait_closed()
    assert heard.names == ["success", "complete", "error", "close"]
    message = heard.results[2]["errMsg"]
    assert isinstance(message, str)
    assert message.startswith("connectSocket:fail WebSocket connection failed: ")
    assert "403" in message
    assert heard.results[3] == {"code": 1006, "reason": ""}


async def test_error_only(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """As some versions of the vendors have it; a connection that was open keeps its close event."""
    memory_socket_server.handler = Script().reject(500)
    options = {"close_after_connect_error": False, "dial": memory_socket_server.dial}
    async with open_mini_program("wx", **options) as wx:  # type: ignore[arg-type]
        for listen in (wx.onSocketError, wx.onSocketClose):
            listen(heard(listen.__name__))
        task = wx.connectSocket(url=URL)
        await wx.wait_closed()
        assert heard.names == ["onSocketError"]
        task.onClose(heard("not even late"))
        await wx.wait_closed()
        heard.clear()
        memory_socket_server.handler = Script().sleep(1).drop()
        wx.connectSocket(url=URL)
        await wx.wait_closed()
        assert heard.names == ["onSocketError", "onSocketClose"]
        assert heard.results[1] == {"code": 1006, "reason": ""}


# The global functions


async def test_global_functions_without_a_usable_socket(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """No socket, then one that connects, then one that closes."""
    wx = mini_program
    not_sent = {"errMsg": "sendSocketMessage:fail WebSocket is not connected"}
    not_closed = {"errMsg": "closeSocket:fail WebSocket is not connected"}
    assert await wx.sendSocketMessage({"data": "x"}) == not_sent
    assert await wx.closeSocket() == not_closed
    wx.sendSocketMessage(data="x", **heard.callbacks())
    wx.closeSocket({"code": 1000, **heard.callbacks()})
    assert heard == []
    await wx.wait_closed()
    assert heard == [("fail", not_sent), ("complete", not_sent), ("fail", not_closed), ("complete", not_closed)]
    task = wx.connectSocket(url=URL)
    assert await wx.sendSocketMessage({"data": "x"}) == not_sent
    assert await wx.closeSocket() == not_closed
    opened = trio.Event()
    wx.onSocketOpen(lambda _res: opened.set())
    await opened.wait()  # the close before the opening could not achieve its purpose
    assert await wx.sendSocketMessage({"data": "x"}) == {"errMsg": "sendSocketMessage:ok"}
    assert await wx.closeSocket({"code": 4001, "reason": "bye"}) == {"errMsg": "closeSocket:ok"}
    assert task.readyState == task.CLOSING
    assert await wx.closeSocket() == not_closed
    assert await wx.sendSocketMessage({"data": "x"}) == not_sent


async def test_global_functions_act_on_the_earliest_socket(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Once it is being closed they act on the next, of which the listeners learn what they missed."""

    async def greet(connection: ServerConnection) -> None:
        await connection.send(f"hello from {connection.path}")
        await hold(connection)

    memory_socket_server.handler = greet
    wx = mini_program
    wx.onSocketOpen(heard("open"))
    wx.onSocketMessage(heard("message"))
    wx.onSocketClose(heard("close"))
    first = wx.connectSocket(url=URL + "first")
    second = wx.connectSocket(url=URL + "second")
    await trio.testing.wait_all_tasks_blocked()
    assert heard.names == ["open", "message"]
    assert heard.results[1] == {"data": "hello from /first"}
    await wx.closeSocket({"code": 4001})
    await trio.testing.wait_all_tasks_blocked()
    assert first.readyState == first.CLOSED
    assert [name for name in heard.names[2:] if name != "close"] == ["open", "message"]
    assert ("close", {"code": 4001, "reason": ""}) in heard[2:]
    assert ("message", {"data": "hello from /second"}) in heard[2:]
    await wx.sendSocketMessage(data="to the second")
    await second.close()
    await wx.wait_closed()
    assert [connection.path for connection in memory_socket_server.connections if connection.close_code == 4001] == [
        "/first"
    ]
    assert heard.names[-1] == "close"


async def test_a_second_global_listener_replaces_the_first(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """For what comes from then on; the first one to be registered after the fact hears of it all the same."""
    task = mini_program.connectSocket(url=URL)
    await trio.testing.wait_all_tasks_blocked()
    mini_program.onSocketOpen(heard("late"))
    await trio.testing.wait_all_tasks_blocked()
    mini_program.onSocketOpen(heard("it was told already"))
    mini_program.onSocketClose(heard("never"))
    mini_program.onSocketClose(heard("close"))
    task.close()
    await mini_program.wait_closed()
    assert heard.names == ["late", "close"]


async def test_a_program_that_connects_again_registers_its_listeners_again(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """As nearly every one does; a closed socket's events are not told to its successor's listeners."""
    memory_socket_server.handler = Script().sleep(10).close()
    times = 0

    def connect(_res: object = None) -> None:
        nonlocal times
        times += 1
        if times <= 5:
            mini_program.connectSocket(url=URL)
            mini_program.onSocketOpen(heard(f"open {times}", lambda _res: mini_program.onSocketOpen(heard("twice"))))
            mini_program.onSocketClose(heard(f"close {times}", connect))

    connect()
    await mini_program.wait_closed()
    assert heard.names == [f"{event} {number}" for number in range(1, 6) for event in ("open", "close")]


async def test_a_closed_socket_is_introduced_to_nobody(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """A global listener that is registered by a close listener is meant for the next one."""
    task = mini_program.connectSocket(url=URL)
    task.onOpen(lambda _res: task.close())
    task.onClose(lambda _res: mini_program.onSocketOpen(heard("open")))
    task.onClose(lambda _res: mini_program.onSocketClose(heard("close")))
    await mini_program.wait_closed()
    assert heard.names == ["close"]


async def test_a_listener_that_is_replaced_in_the_course_of_the_event(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """The task's own listener comes first, so its choice counts."""
    task = mini_program.connectSocket(url=URL)
    mini_program.onSocketOpen(heard("old"))
    task.onOpen(lambda _res: mini_program.onSocketOpen(heard("new")))
    await trio.testing.wait_all_tasks_blocked()
    assert heard.names == ["new"]


async def test_the_next_socket_is_introduced_in_order(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Its opening before its messages, whatever was registered first, and before what still waits in its turn."""

    async def greet(connection: ServerConnection) -> None:
        await connection.send("1")
        await connection.send("2")
        await connection.close(4000)

    memory_socket_server.handler = in_turn(hold, greet)
    first = mini_program.connectSocket(url=URL)
    await trio.testing.wait_all_tasks_blocked()
    for listen in (mini_program.onSocketMessage, mini_program.onSocketClose, mini_program.onSocketOpen):
        listen(heard(listen.__name__))
    second = mini_program.connectSocket(url=URL)
    second.onMessage(lambda _res: trio.sleep(10))
    await trio.sleep(1)
    first.close()
    await mini_program.wait_closed()
    assert heard.names == ["onSocketOpen", "onSocketClose", "onSocketOpen", "onSocketMessage", "onSocketClose"]
    assert heard.results[3] == {"data": "2"}


async def test_a_close_listener_may_connect_again(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """The slot is free by then, even where only one connection may exist."""
    async with open_mini_program("wx", base_library="1.0.0", dial=memory_socket_server.dial) as wx:

        def again(_res: object) -> None:
            if heard.names.count("close") < 3:
                wx.connectSocket(url=URL)

        wx.onSocketOpen(lambda _res: wx.closeSocket())
        wx.onSocketClose(heard("close", again))
        wx.connectSocket(url=URL)
        await wx.wait_closed()
    assert heard.names == ["close"] * 3


# The block


async def test_leaving_the_block_closes_and_tells(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Close listeners have run when the block is left; what they start then is refused."""
    async with open_mini_program("qq", dial=memory_socket_server.dial) as qq:
        task = qq.connectSocket(url=URL)
        await trio.testing.wait_all_tasks_blocked()
        task.onClose(heard("close", lambda _res: qq.connectSocket(url=URL, fail=heard("fail"))))
    assert heard == [
        ("close", {"code": 1000, "reason": ""}),
        ("fail", {"errMsg": "connectSocket:fail the mini program has ended", "socketTaskId": 2}),
    ]
    late = qq.connectSocket(url=URL, fail=heard("too late to be called"))
    assert late.readyState == late.CLOSED
    too_late = heard("too late to be called, too")
    assert (await task.send(data="x", fail=too_late))["errMsg"].startswith("SocketTask.send:fail")
    assert len(heard) == 2


async def test_the_bodys_error_comes_out_as_it_is(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer
) -> None:
    """And ends listeners that wait."""
    with pytest.raises(KeyError, match="mine"):
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            wx.connectSocket(url=URL).onOpen(lambda _res: trio.sleep_forever())
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError("mine")


async def test_a_refusal_holds_up_no_other(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Those of plain callbacks come in the order of the calls; an async one takes its time beside them."""
    go_on = trio.Event()

    async def wait(_res: object) -> None:
        await go_on.wait()
        heard.append(("went on", {}))

    mini_program.connectSocket(fail=wait, complete=heard("complete"))
    mini_program.connectSocket(fail=heard("second"))
    mini_program.closeSocket(fail=heard("third", lambda _res: go_on.set()))
    await mini_program.wait_closed()
    assert heard.names == ["second", "third", "went on", "complete"]


@pytest.mark.parametrize("refused", [True, False])
async def test_a_callback_that_asks_again_at_once_lets_others_run(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard, *, refused: bool
) -> None:
    """What it asks may be refused at once, or be queued on a socket."""
    task = mini_program.connectSocket(url=URL)
    await trio.testing.wait_all_tasks_blocked()
    enough = False

    def ask(_res: object) -> None:
        if enough or len(heard) == 1000:
            return
        if refused:
            mini_program.connectSocket(fail=heard("refused", ask))
        else:
            task.send(data="x", success=heard("sent", ask))

    ask({})
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    enough = True
    assert 0 < len(heard) < 400
    await trio.testing.wait_all_tasks_blocked()


async def test_clean_up_in_a_cancelled_scope(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """The body ends first: what it does on its way out still works."""
    with trio.move_on_after(1) as scope:
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            task = wx.connectSocket(url=URL)
            task.onClose(heard("close"))
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    assert await task.close(code=4000, success=heard("success")) == {"errMsg": "closeSocket:ok"}
                    await wx.wait_closed()
                    assert heard.names == ["success", "close"]
    assert scope.cancelled_caught
    assert memory_socket_server.connections[0].close_code == 4000


async def test_a_listener_that_objects_to_being_cancelled(
    autojump_clock: trio.testing.MockClock,
    memory_socket_server: SocketServer,
    heard: Heard,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its objection is logged, and the body's exception comes out as it is."""

    async def object_to_it(_res: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("I object")

    with pytest.raises(KeyError, match="mine"):
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            wx.connectSocket(url=URL).onOpen(object_to_it)
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError("mine")
    assert "I object" in caplog.text


async def test_what_a_callback_returns_is_its_own(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Whatever object it is, the program goes on."""

    class Odd:
        pass

    Odd.__module__ = None  # type: ignore[assignment]
    mini_program.connectSocket(fail=lambda _res: Odd(), complete=heard("complete"))
    await mini_program.wait_closed()
    assert heard.names == ["complete"]


async def test_whatever_a_program_passes_is_read_without_an_error(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Keys that are like no other, and a function whose class is like no other."""

    @attrs.frozen(eq=False)
    class Key:
        name: str

        def __hash__(self) -> int:
            return hash(self.name)

        def __eq__(self, _other: object) -> bool:
            raise RuntimeError("I am like no other")

    class Alike(type):
        def __eq__(cls, other: object) -> bool:
            return cls is other

        __hash__ = None  # type: ignore[assignment]

    class Listener(metaclass=Alike):
        def __call__(self, res: Mapping[str, object]) -> None:
            heard("fail")(res)

    task = mini_program.connectSocket(url=URL)
    task.send({cast("str", Key("data")): "x", "fail": Listener()})
    await trio.testing.wait_all_tasks_blocked()
    assert heard.names == ["fail"]
    result = await task.send({cast("str", Key("success")): print, "data": "x"})
    assert result == {"errMsg": "sendSocketMessage:ok"}
    task.close()
    await mini_program.wait_closed()
    assert heard.names == ["fail"]


async def test_a_text_is_read_without_what_its_class_adds(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """As one of another engine's strings might."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise RuntimeError("I have another")

        def encode(self, _encoding: str = "", _errors: str = "") -> bytes:
            raise RuntimeError("I have another")

    task = mini_program.connectSocket(url=Text(URL))
    task.onOpen(lambda _res: task.send(data=Text("hello")))
    task.onMessage(heard("message", lambda _res: task.close(code=4000, reason=Text("done"))))
    task.onClose(heard("close"))
    await mini_program.wait_closed()
    assert heard == [("message", {"data": "hello"}), ("close", {"code": 4000, "reason": "done"})]
    assert type(heard[1][1]["reason"]) is str


async def test_awaitables_of_every_kind_are_awaited(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """A listener may be an object with an async call, or return something to be awaited."""

    class Later:
        def __await__(self) -> Generator[object, object, None]:
            return self.wait().__await__()

        async def wait(self) -> None:
            await trio.sleep(1)
            heard.append(("later", {}))

        async def __call__(self, _res: object) -> None:
            await self.wait()

    task = mini_program.connectSocket(url=URL)
    task.onOpen(Later())
    task.onOpen(lambda _res: Later())
    task.onOpen(lambda _res: task.close())
    await mini_program.wait_closed()
    assert heard.names == ["later", "later"]


@pytest.mark.parametrize("when", ["inside", "leaving"])
async def test_cancelling_the_block(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, when: str
) -> None:
    """In its body, or while it waits for a listener that takes for ever."""
    with trio.move_on_after(5) as scope:
        async with open_mini_program(dial=memory_socket_server.dial) as wx:
            wx.connectSocket(url=URL).onOpen(lambda _res: trio.sleep_forever())
            await trio.testing.wait_all_tasks_blocked()
            if when == "inside":
                await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancelling_while_sockets_close(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer
) -> None:
    """A peer that never answers the close is dropped."""
    memory_socket_server.handler = Script().accept().never_answer_close().expect_close(1000)
    with trio.move_on_after(5) as scope:
        async with open_mini_program(dial=memory_socket_server.dial, close_timeout=60) as wx:
            wx.connectSocket(url=URL)
            await trio.testing.wait_all_tasks_blocked()
    assert scope.cancelled_caught


async def test_a_block_is_entered_once(autojump_clock: trio.testing.MockClock) -> None:
    """A second time it says what to do."""
    block = open_mini_program("wx")
    async with block:
        with pytest.raises(RuntimeError, match="once; call open_mini_program"):
            async with block:
                pass


async def test_an_exception_in_a_listener_is_logged(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback; the other listeners, the socket and the program go on."""

    def fail(_res: object) -> None:
        raise ValueError("a listener's own")

    async def fail_later(_res: object) -> None:
        await trio.sleep(1)
        raise ValueError("a listener's own, later")

    task = mini_program.connectSocket(url=URL, success=fail, complete=fail_later)
    task.onOpen(fail)
    task.onOpen(heard("open"))
    task.onMessage(fail_later)
    task.onMessage(heard("message", lambda _res: task.close()))
    task.onClose(heard("close"))
    task.onOpen(lambda _res: task.send(data="x"))
    with caplog.at_level(logging.ERROR, "trio_socket_task.miniprogram"):
        await mini_program.wait_closed()
    assert heard.names == ["open", "message", "close"]
    assert len(caplog.records) == 4
    assert caplog.text.count("Traceback") == 4
    assert "ValueError: a listener's own, later" in caplog.text


async def test_async_listeners_run_one_after_another(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, heard: Heard
) -> None:
    """Those of one socket, however long they take; those of another socket do not wait for them."""

    async def slow(_res: object) -> None:
        heard.append(("slow begins", {}))
        await trio.sleep(10)
        heard.append(("slow ends", {}))

    task = mini_program.connectSocket(url=URL)
    task.onOpen(slow)
    task.onOpen(heard("after"))
    other = mini_program.connectSocket(url=URL)
    other.onOpen(heard("other"))
    await trio.sleep(20)
    assert sorted(heard.names[:2]) == ["other", "slow begins"]
    assert heard.names[2:] == ["slow ends", "after"]
    task.close()
    other.close()


async def test_calls_while_the_block_is_being_left_raise_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """At whatever step of it: the program has ended, and says so or nothing. Trio shuffles, so each step has turns."""

    async def call_late(wx: MiniProgram, steps: int) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        wx.connectSocket({"url": "nonsense", "fail": print})

    for turn in range(60):
        async with trio.open_nursery() as nursery, open_mini_program() as wx:
            nursery.start_soon(call_late, wx, turn % 6)
            await trio.lowlevel.checkpoint()


class Nameless:
    """A function that does not say what it is called."""

    def __getattr__(self, name: str) -> object:
        raise OSError("do not ask me")

    def __call__(self, _result: object) -> object:
        raise ValueError("a bug of the program")


async def test_what_a_callback_is_and_returns_does_not_matter(
    autojump_clock: trio.testing.MockClock, mini_program: MiniProgram, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an object nor a function that raises when it is asked for its kind or name ends the program."""
    mini_program.connectSocket({"url": "nonsense", "fail": lambda _res: Shy(), "complete": Nameless()})
    await mini_program.wait_closed()
    assert "<lambda> raised; the program goes on" in caplog.text
    assert "Nameless raised; the program goes on" in caplog.text


def open_gate(gate: trio.Event, _result: object) -> None:
    """Let a test go on."""
    gate.set()


async def test_what_waits_for_room_goes_out_before_the_program_ends(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """Or before its socket is replaced: a send that was accepted is not dropped by a close that nobody called."""
    wx_block = open_mini_program("wx", base_library="1.4.4", dial=memory_socket_server.dial, send_buffer=1000)
    async with wx_block as wx:
        for _ in range(2):
            task = wx.connectSocket(url=URL)
            opened = trio.Event()
            task.onOpen(partial(open_gate, opened))
            await opened.wait()
            for number in range(20):
                task.send(data=f"{number} " + "x" * 10_000, success=heard("success"), fail=heard("fail"))
    assert heard.names == ["success"] * 40
    assert [len(connection.received) for connection in memory_socket_server.connections] == [20, 20]


@pytest.mark.parametrize(
    ("value", "meant"),
    [(True, True), (False, False), ("false", True), ("", False), (0, False), (1, True), (float("nan"), False)],
)
async def test_tcp_no_delay_is_judged_as_javascript_does(
    socket_server: SocketServer, value: object, *, meant: bool
) -> None:
    """And set on the socket, or cleared: Trio itself sets it."""
    with trio.fail_after(30):
        async with open_mini_program() as wx:
            task = wx.connectSocket(url=socket_server.url, tcpNoDelay=value)
            opened = trio.Event()
            task.onOpen(lambda _res: opened.set())
            await opened.wait()
            assert task._socket is not None
            assert session_of(task._socket.native).options.tcp_no_delay is meant


async def test_words_of_sockets_that_cannot_be_opened(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer, heard: Heard
) -> None:
    """The vendors' beginning, then the cause in English: nobody there, no trust, no 101."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        if host == "nobody.test":
            raise ConnectionRefusedError("connection refused")
        return await memory_socket_server.dial(host, port)

    memory_socket_server.handler = Script().reject(403)
    async with open_mini_program(dial=dial) as wx:
        for url in ("ws://nobody.test/", "ws://phone.test/"):
            wx.connectSocket(url=url).onError(heard("error"))
        await wx.wait_closed()
    failed = "connectSocket:fail WebSocket connection failed: "
    assert [result["errMsg"] for result in heard.results] == [
        failed + "connection refused",
        failed + "the server answered 403",
    ]


async def test_words_of_a_certificate_that_is_not_trusted(heard: Heard) -> None:
    """The TLS library's own, after the vendors' beginning."""
    with trio.fail_after(30):
        async with open_test_server(tls=True) as server, open_mini_program() as wx:
            wx.connectSocket(url=server.url).onError(heard("error"))
            await wx.wait_closed()
    (result,) = heard.results
    assert str(result["errMsg"]).startswith(
        "connectSocket:fail WebSocket connection failed: the TLS handshake failed: "
    )
    assert "certificate verify failed" in str(result["errMsg"])
