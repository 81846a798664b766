"""Servers for tests: in memory, on a port, with TLS; handlers, their errors, and the end of the block."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing
from peer import REQUEST

from trio_socket_task import ConnectError, SocketLostError, SocketTask, connect_socket
from trio_socket_task.testing import (
    MisuseError,
    Script,
    ScriptError,
    ServerConnection,
    SocketServer,
    echo,
    hold,
    in_turn,
    open_memory_server,
    open_test_server,
)
from trio_socket_task.testing._certificates import contexts


async def test_a_memory_server_echoes(autojump_clock: trio.testing.MockClock) -> None:
    """Without a handler of the test's own."""
    async with open_memory_server() as server:
        assert repr(server) == "<SocketServer ws://memory.test/ 0 connected>"
        async with connect_socket(server.url, dial=server.dial) as task:
            for data in ("text", b"binary", "", "x" * 200_000):
                await task.send(data)
                assert await task.receive() == data
            assert repr(server) == "<SocketServer ws://memory.test/ 1 connected>"
        assert server.connections[0].received[:2] == ["text", b"binary"]


async def test_a_minute_of_silence_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Virtual time passes in the server and in the client alike."""
    async with open_memory_server(Script().sleep(60).send("awake")) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            started = trio.current_time()
            assert await task.receive() == "awake"
            assert trio.current_time() == pytest.approx(started + 60)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_test_server_echoes(*, tls: bool) -> None:
    """On a real port, found by its URL alone and by its dial."""
    with trio.fail_after(30):
        async with open_test_server(tls=tls) as server:
            assert server.url.startswith("wss:" if tls else "ws:")
            async with connect_socket(server.url, ssl_context=server.ssl_context) as task:
                await task.send("hello")
                assert await task.receive() == "hello"
            url = server.url.split(":")[0] + "://127.0.0.1/other/place"
            async with connect_socket(url, ssl_context=server.ssl_context, dial=server.dial):
                assert server.connections[1].path == "/other/place"


async def test_tls_is_not_trusted_by_itself() -> None:
    """A client without the server's ssl_context refuses it, which is the client's failure only."""
    with trio.fail_after(30):
        async with open_test_server(tls=True) as server:
            with pytest.raises(ConnectError, match="certificate"):
                async with connect_socket(server.url):
                    pass


async def test_the_test_holds_the_servers_end(autojump_clock: trio.testing.MockClock) -> None:
    """With `hold`, the body plays both sides."""
    async with open_memory_server(hold) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            connection = await server.wait_connection()
            await connection.send("hi")
            assert await task.receive() == "hi"
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (1000, "")


async def test_waiting_for_a_later_connection(autojump_clock: trio.testing.MockClock) -> None:
    """They are counted from 1."""
    async with open_memory_server(hold) as server, trio.open_nursery() as nursery:

        async def connect() -> None:
            for _ in range(2):
                async with connect_socket(server.url, dial=server.dial):
                    await trio.sleep(1)

        nursery.start_soon(connect)
        assert await server.wait_connection(2) is server.connections[1]


async def test_handlers_in_turn(autojump_clock: trio.testing.MockClock) -> None:
    """The first connection meets the first, all others the last."""
    handler = in_turn(Script().send("one"), Script().send("two"))
    async with open_memory_server(handler) as server:
        for greeting in ("one", "two", "two"):
            async with connect_socket(server.url, dial=server.dial) as task:
                assert await task.receive() == greeting


async def test_the_handler_may_be_changed(autojump_clock: trio.testing.MockClock) -> None:
    """For the connections to come."""
    async with open_memory_server() as server:
        assert server.handler is echo
        server.handler = Script().send("changed")
        async with connect_socket(server.url, dial=server.dial) as task:
            assert await task.receive() == "changed"


async def test_a_handler_that_returns_closes(autojump_clock: trio.testing.MockClock) -> None:
    """With 1000."""

    async def greet(connection: ServerConnection) -> None:
        await connection.send("hello and goodbye")

    async with open_memory_server(greet) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            assert [data async for data in task] == ["hello and goodbye"]
            assert (await task.wait_closed()).code == 1000


async def test_what_a_handler_raises_comes_out_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """Un-nested, at once, although the body waits for ever."""

    async def fail(connection: ServerConnection) -> None:
        await connection.receive()
        raise ValueError("the handler's own")

    with pytest.raises(ValueError, match="the handler's own"):
        async with open_memory_server(fail) as server, connect_socket(server.url, dial=server.dial) as task:
            await task.send("go")
            await trio.sleep_forever()


async def test_a_handlers_error_is_not_lost_in_a_nursery_of_the_body(autojump_clock: trio.testing.MockClock) -> None:
    """Whose cancellation comes as a group."""

    async def fail(connection: ServerConnection) -> None:
        await connection.accept()
        raise ValueError("the handler's own")

    with pytest.raises(ValueError, match="the handler's own"):
        async with open_memory_server(fail) as server, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with connect_socket(server.url, dial=server.dial):
                await trio.sleep_forever()


async def test_a_handlers_error_is_not_lost_in_a_cancellation_from_outside(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Although nothing else would come out."""

    async def fail(connection: ServerConnection) -> None:
        try:
            await connection.wait_closed()
        finally:
            raise ValueError("in its clean-up")

    with pytest.raises(ValueError, match="in its clean-up"), trio.move_on_after(1):
        async with open_memory_server(fail) as server, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with connect_socket(server.url, dial=server.dial):
                await trio.sleep_forever()


async def object_to_it(why: str) -> None:
    """Raise when cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError(why)


async def test_a_body_that_objects_to_being_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """Its own error comes out, with a note about the handler's."""

    async def fail(connection: ServerConnection) -> None:
        await connection.accept()
        raise ValueError("the handler's own")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_memory_server(fail) as server, trio.open_nursery() as nursery:
            nursery.start_soon(object_to_it, "body")
            async with connect_socket(server.url, dial=server.dial):
                await trio.sleep_forever()
    assert caught.group_contains(KeyError, match="body")
    assert "the handler's own" in caught.value.__notes__[0]


async def test_a_handler_that_objects_to_being_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """Its error comes out, without the cancellation."""

    async def fail(connection: ServerConnection) -> None:
        await connection.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(object_to_it, "handler")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_memory_server(fail) as server:
            async with connect_socket(server.url, dial=server.dial):
                pass
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


async def test_a_handlers_error_while_the_block_ends(autojump_clock: trio.testing.MockClock) -> None:
    """It comes out too."""

    async def fail(connection: ServerConnection) -> None:
        await connection.wait_closed()
        await trio.sleep(0.5)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        async with open_memory_server(fail) as server:
            async with connect_socket(server.url, dial=server.dial):
                pass


async def test_a_channel_error_of_the_handlers_own_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    """Only the client's leaving is quiet."""

    async def fail(connection: ServerConnection) -> None:
        await connection.accept()
        raise trio.EndOfChannel

    with pytest.raises(trio.EndOfChannel):
        async with open_memory_server(fail) as server, connect_socket(server.url, dial=server.dial):
            await trio.sleep_forever()


async def test_a_client_that_leaves_ends_the_handler_quietly(autojump_clock: trio.testing.MockClock) -> None:
    """In a send as in a receive."""

    async def chatter(connection: ServerConnection) -> None:
        while True:
            await connection.send("blah")
            await trio.sleep(1)

    for handler in (chatter, echo):
        async with open_memory_server(handler) as server:
            async with connect_socket(server.url, dial=server.dial):
                await trio.sleep(3)


async def test_the_bodys_error_comes_out_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the handlers are doing, and without a word about scripts that were not finished."""
    with pytest.raises(KeyError, match="mine"):
        async with open_memory_server(Script().expect("never")) as server:
            async with connect_socket(server.url, dial=server.dial):
                raise KeyError("mine")


async def test_a_cancelled_body(autojump_clock: trio.testing.MockClock) -> None:
    """Cancellation passes, as everywhere."""
    with trio.move_on_after(1) as scope:
        async with open_memory_server() as server, connect_socket(server.url, dial=server.dial):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_handler_that_does_not_end_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """A second after the block was left."""

    async def linger(connection: ServerConnection) -> None:
        await connection.accept()
        await trio.sleep_forever()

    async with open_memory_server(linger) as server:
        async with connect_socket(server.url, dial=server.dial):
            started = trio.current_time()
    assert trio.current_time() == pytest.approx(started + 1, abs=0.5)


async def test_an_unused_connection_is_misuse(autojump_clock: trio.testing.MockClock) -> None:
    """A handler that returns early says what to do."""

    async def forgetful(_connection: ServerConnection) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.raises(MisuseError, match=r"returned without using its connection.*accept, reject"):
        async with open_memory_server(forgetful) as server, connect_socket(server.url, dial=server.dial):
            pass


@pytest.mark.parametrize("server", [open_memory_server, open_test_server])
def test_a_handler_must_be_callable(server: object) -> None:
    """Before anything is opened."""
    assert callable(server)
    with pytest.raises(MisuseError, match="handler must be an async function"):
        server("echo")
    with pytest.raises(MisuseError, match="a Script, not a value of the type int"):
        server(10**5000)
    with pytest.raises(MisuseError, match="a Script, not a value of the type int"):
        in_turn(10**5000)  # type: ignore[arg-type]


def test_nothing_in_turn_is_misuse() -> None:
    """There must be something for the first connection."""
    with pytest.raises(MisuseError, match="first connection"):
        in_turn()


async def test_dialling_after_the_block(autojump_clock: trio.testing.MockClock) -> None:
    """The connection is refused."""
    async with open_memory_server() as server:
        pass
    with pytest.raises(ConnectError, match="block has ended"):
        async with connect_socket(server.url, dial=server.dial):
            pass


async def test_a_client_that_leaves_before_its_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """It is not a connection, and no failure."""
    async with open_memory_server() as server:
        stream = await server.dial("", 0)
        await stream.send_all(b"GET / HT")
        await stream.aclose()
    assert server.connections == []


async def test_tls_needs_trustme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install."""
    contexts.cache_clear()
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ModuleNotFoundError, match=r"install trio-socket-task\[testing\]"):
        async with open_test_server(tls=True):
            pass


async def test_bytes_that_are_no_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """They are no connection, and no failure; the server goes on."""
    async with open_memory_server() as server:
        for data in (b"BLAH\r\n\r\n", b"\x00" * 99, b"GET / HTTP/1.1\r\n\r\n"):
            stream = await server.dial("", 0)
            await stream.send_all(data)
            await trio.sleep(1)
            await stream.aclose()
        assert server.connections == []
        async with connect_socket(server.url, dial=server.dial) as task:
            await task.ping()


async def test_tls_to_a_server_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    """The sentence says which URL to use, on the program's own error or instead of it, whichever comes first."""
    with pytest.raises((ConnectError, MisuseError)) as caught:
        async with open_memory_server() as server, connect_socket("wss://a.test/", dial=server.dial):
            pass
    words = [str(caught.value), *getattr(caught.value, "__notes__", ())]
    assert any("give the program a URL with ws://" in word for word in words)


async def test_waiting_for_a_connection_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    """Fails with a sentence."""
    async with open_memory_server() as server:
        with pytest.raises(AssertionError, match="connection 1 has not come within 60 s, 0 have; let the program"):
            await server.wait_connection()


def test_leaving_under_a_clock_that_stands_still() -> None:
    """Handlers that wait are cancelled when all others wait, too."""

    async def linger(connection: ServerConnection) -> None:
        await connection.accept()
        await trio.sleep(30)

    async def main() -> None:
        async with open_memory_server(linger) as server:
            async with connect_socket(server.url, dial=server.dial):
                pass

    trio.run(main, clock=trio.testing.MockClock())


@pytest.mark.parametrize("fault", ["delay", "garble", "never_answer_close", "stall and resume"])
async def test_a_fault_alone_is_no_use_of_a_connection(autojump_clock: trio.testing.MockClock, fault: str) -> None:
    """The client would wait in vain."""

    async def forgetful(connection: ServerConnection) -> None:
        if fault == "delay":
            connection.delay(1)
        elif fault == "stall and resume":
            connection.stall()
            await connection.resume()
        else:
            getattr(connection, fault)()

    with pytest.raises(MisuseError, match="returned without using its connection"):
        async with open_memory_server(forgetful) as server, connect_socket(server.url, dial=server.dial):
            pass


async def test_a_handler_that_is_not_async(autojump_clock: trio.testing.MockClock) -> None:
    """The sentence says what to write."""

    def sync(connection: ServerConnection) -> None:
        connection.delay(1)

    def counts(_connection: ServerConnection) -> int:
        return 10**5000

    for handler in (sync, in_turn(sync)):  # type: ignore[arg-type]
        with pytest.raises(MisuseError, match="write `async def`"):
            async with open_memory_server(handler) as server:  # type: ignore[arg-type]
                async with connect_socket(server.url, dial=server.dial):
                    pass
    with pytest.raises(MisuseError, match="returned a value of the type int; write `async def`"):
        async with open_memory_server(counts) as server:  # type: ignore[arg-type]
            async with connect_socket(server.url, dial=server.dial):
                pass
    async with open_memory_server() as server:
        with pytest.raises(MisuseError, match="handler must be an async function"):
            server.handler = "echo"  # type: ignore[assignment]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pytest.fail.Exception("in the handler")])
async def test_what_ends_a_test_ends_it_from_a_handler(
    autojump_clock: trio.testing.MockClock, error: BaseException
) -> None:
    """`pytest.fail` and Ctrl-C come out as they are."""

    async def fail(connection: ServerConnection) -> None:
        await connection.accept()
        raise error

    with pytest.raises(type(error)) as caught:
        async with open_memory_server(fail) as server, connect_socket(server.url, dial=server.dial):
            await trio.sleep_forever()
    assert caught.value is error


async def test_errors_of_several_handlers_and_the_body(autojump_clock: trio.testing.MockClock) -> None:
    """The first comes out, the body's own before all; the others are noted on it."""

    async def fail(connection: ServerConnection) -> None:
        try:
            await connection.wait_closed()
        finally:
            raise ValueError(connection.path)

    with pytest.raises(KeyError) as body:
        async with open_memory_server(fail) as server, connect_socket(server.url, dial=server.dial):
            await server.wait_connection()
            raise KeyError("mine")
    assert body.value.__notes__ == ["the handler of the test server raised, too: ValueError('/')"]
    with pytest.raises(ValueError, match="/") as first:
        async with open_memory_server(fail) as server:
            for _ in range(2):
                stream = await server.dial("", 0)
                await stream.send_all(REQUEST)
            await server.wait_connection(2)
            await stream.aclose()
            await trio.sleep_forever()
    assert first.value.__notes__ == ["another handler raised, too: ValueError('/')"]


async def test_a_group_of_a_handlers_errors(autojump_clock: trio.testing.MockClock) -> None:
    """Without the client's leaving, which is quiet."""

    async def fail(connection: ServerConnection) -> None:
        async def late() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            raise ValueError("late")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.receive)
            nursery.start_soon(late)

    with pytest.raises(ExceptionGroup) as caught:
        async with open_memory_server(fail) as server:
            async with connect_socket(server.url, dial=server.dial):
                pass
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


async def test_an_error_of_another_channel_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    """Although the client has left, too."""

    async def fail(connection: ServerConnection) -> None:
        await connection.wait_closed()
        raise trio.BrokenResourceError("of another channel")

    with pytest.raises(trio.BrokenResourceError, match="of another channel"):
        async with open_memory_server(fail) as server:
            async with connect_socket(server.url, dial=server.dial):
                pass


async def test_every_script_must_be_played_in_this_server(autojump_clock: trio.testing.MockClock) -> None:
    """One that was replaced, too, and one that was played in another server."""
    script = Script().send("x")
    async with open_memory_server(script) as server, connect_socket(server.url, dial=server.dial) as task:
        await task.receive()
    with pytest.raises(ScriptError, match="no connection came"):
        async with open_memory_server(script):
            pass
    with pytest.raises(ScriptError, match="no connection came"):
        async with open_memory_server(Script().expect("never")) as server:
            server.handler = echo


async def test_a_script_inside_a_handler_is_finished_too(autojump_clock: trio.testing.MockClock) -> None:
    """Wherever it is played."""

    async def handler(connection: ServerConnection) -> None:
        await Script().send("a").sleep(100).send("b")(connection)

    with pytest.raises(ScriptError, match="the test ended before the script did, at step 2 of 3"):
        async with open_memory_server(handler) as server, connect_socket(server.url, dial=server.dial) as task:
            await task.receive()


async def test_a_listener_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is not entered, and nothing is left behind."""
    monkeypatch.setattr("trio_socket_task.testing._server_core._HOST", "203.0.113.1")  # nobody's (RFC 5737)
    with pytest.raises(OSError, match="assign"):
        async with open_test_server():
            pass


async def test_a_script_that_nobody_plays(autojump_clock: trio.testing.MockClock) -> None:
    """In turn or alone, it fails the test."""
    for handler in (Script().send("x"), in_turn(echo, Script().send("x"))):
        with pytest.raises(ScriptError, match="no connection came"):
            async with open_memory_server(handler):
                pass


async def test_a_server_that_stops_reading_fills_up(autojump_clock: trio.testing.MockClock) -> None:
    """A sender waits, as on a network; what waits is written when reading goes on."""
    async with open_memory_server(hold) as server:
        async with connect_socket(server.url, dial=server.dial, send_buffer=1) as task:
            connection = await server.wait_connection()
            connection.stall(answering=False)
            with trio.move_on_after(5) as scope:
                for _ in range(5):
                    await task.send(b"x" * 100_000)
            assert scope.cancelled_caught
            await connection.resume()
            await task.ping()


async def test_a_client_that_stops_reading_fills_up(autojump_clock: trio.testing.MockClock) -> None:
    """The server's send waits, and breaks when the client is dropped."""

    async def flood(connection: ServerConnection) -> None:
        for _ in range(10):
            await connection.send(b"x" * 100_000)
        raise AssertionError("everything was sent")

    async with open_memory_server(flood) as server:
        with trio.move_on_after(5):
            async with connect_socket(server.url, dial=server.dial, receive_buffer=1):
                await trio.sleep_forever()


async def test_two_ways_of_losing(autojump_clock: trio.testing.MockClock) -> None:
    """A reset, and an end without a Close frame."""
    for script in (Script().expect("go").drop(), Script().expect("go").half_close()):
        async with open_memory_server(script) as server:
            async with connect_socket(server.url, dial=server.dial) as task:
                await task.send("go")
                with pytest.raises(SocketLostError):
                    await task.receive()


async def test_connections_count_from_one(autojump_clock: trio.testing.MockClock) -> None:
    """Said before anything is waited for."""
    async with open_memory_server() as server:
        with pytest.raises(MisuseError, match="counts from 1, not from 0"):
            await server.wait_connection(0)
        with pytest.raises(MisuseError, match="a number of seconds for within, not None"):
            await server.wait_connection(within=None)  # type: ignore[arg-type]
        with pytest.raises(MisuseError, match="counts from 1, not from a value of the type int"):
            await server.wait_connection(-(10**5000))
        with pytest.raises(AssertionError, match="connection a value of the type int has not come within 1 s"):
            await server.wait_connection(10**5000, within=1)


@pytest.mark.parametrize("maker", [open_memory_server, open_test_server])
async def test_a_block_is_entered_once(maker: Callable[[], AbstractAsyncContextManager[SocketServer]]) -> None:
    """As every block; the error names what was called."""
    block = maker()
    async with block:
        with pytest.raises(RuntimeError, match=rf"entered once; call {maker.__name__}\(\)"):
            await block.__aenter__()


@pytest.mark.parametrize("port", [-1, 65536, "80", True, pytest.param(10**5000, id="huge")])
def test_a_port_that_is_none(port: int) -> None:
    """Before anything is opened."""
    with pytest.raises(MisuseError, match=r"open_test_server\(\) takes a port from 0 to 65535, not "):
        open_test_server(port=port)


async def test_a_server_that_serves_forever_keeps_no_messages(autojump_clock: trio.testing.MockClock) -> None:
    """Neither of connections that came before nor of those that come later."""
    met: list[ServerConnection] = []

    async def serve(connection: ServerConnection) -> None:
        met.append(connection)
        await echo(connection)

    async def say(task: SocketTask, text: str) -> None:
        await task.send(text)
        assert await task.receive() == text

    async with open_memory_server(serve) as server, connect_socket(server.url, dial=server.dial) as early:
        await say(early, "one")
        assert met[0].received == ["one"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_forever)
            await trio.testing.wait_all_tasks_blocked()
            await say(early, "two")
            async with connect_socket(server.url, dial=server.dial) as late:
                await trio.testing.wait_all_tasks_blocked()
                await say(late, "three")
            nursery.cancel_scope.cancel()
        assert [connection.received for connection in met] == [[], []]
        assert server.connections == []


async def test_a_connection_shows_no_query(autojump_clock: trio.testing.MockClock) -> None:
    """It may be a token; `path` keeps it."""
    async with (
        open_memory_server() as server,
        connect_socket(f"{server.url}room?token=SECRET", dial=server.dial),
    ):
        assert repr(server.connections[0]) == "<ServerConnection /room?*** open>"
        assert server.connections[0].path == "/room?token=SECRET"
