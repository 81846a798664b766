"""A connection seen from the server: what the client asked for, the messages, and the faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from peer import REQUEST, reset

from trio_socket_task import (
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    Heartbeat,
    SocketLostError,
    SocketTask,
    connect_socket,
)
from trio_socket_task.testing import (
    MisuseError,
    ServerConnection,
    assert_closed,
    hold,
    open_memory_server,
    open_test_server,
)


@asynccontextmanager
async def joined(
    heartbeat: Heartbeat | None = None, close_timeout: float = 10
) -> AsyncIterator[tuple[SocketTask, ServerConnection]]:
    """Yield both ends of a connection; only for tests, which are not cancelled inside it."""
    async with open_memory_server(hold) as server:
        block = connect_socket(server.url, dial=server.dial, heartbeat=heartbeat, close_timeout=close_timeout)
        async with block as task:
            yield task, await server.wait_connection()


async def test_what_the_client_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    """Path, header and protocols; the first protocol is chosen unless the handler says otherwise."""
    async with open_memory_server(hold) as server:
        url = "ws://example.test/chat?room=1"
        async with connect_socket(url, dial=server.dial, header={"X-Token": "t"}, protocols=["a", "b"]) as task:
            connection = await server.wait_connection()
            assert connection.path == "/chat?room=1"
            assert connection.header["x-token"] == "t"
            assert tuple(connection.protocols) == ("a", "b")
            assert task.protocol == "a"
            assert repr(connection) == "<ServerConnection /chat?*** open>"


async def test_accepting_with_a_protocol_and_a_header(autojump_clock: trio.testing.MockClock) -> None:
    """A protocol and a header of the handler's choice."""

    async def choosy(connection: ServerConnection) -> None:
        await connection.accept("b", {"X-Served-By": "me"})
        await connection.wait_closed()

    async with open_memory_server(choosy) as server:
        async with connect_socket(server.url, dial=server.dial, protocols=["a", "b"]) as task:
            assert task.protocol == "b"
            assert task.header["x-served-by"] == "me"


async def test_rejecting(autojump_clock: trio.testing.MockClock) -> None:
    """With status, header and body; the connection is of no further use."""
    misuses: list[str] = []

    async def refuse(connection: ServerConnection) -> None:
        await connection.reject(503, {"Retry-After": "7"}, b"later")
        for call in (connection.accept(), connection.send("x"), connection.reject(500)):
            with pytest.raises(MisuseError) as caught:
                await call
            misuses.append(str(caught.value))

    async with open_memory_server(refuse) as server:
        with pytest.raises(HandshakeError) as caught:
            async with connect_socket(server.url, dial=server.dial):
                pass
    assert (caught.value.status_code, caught.value.body) == (503, b"later")
    assert caught.value.header["retry-after"] == "7"
    assert [words.split(";")[0] for words in misuses] == [
        "the handshake was answered already",
        "the handshake was rejected, or accepting it cancelled",
        "the handshake was answered already",
    ]


@pytest.mark.parametrize("answer", ["accept", "reject"])
async def test_answering_a_client_that_has_left(autojump_clock: trio.testing.MockClock, answer: str) -> None:
    """The handler ends quietly."""

    async def late(connection: ServerConnection) -> None:
        await trio.sleep(10)
        await (connection.accept() if answer == "accept" else connection.reject(403))
        raise AssertionError("the client has left")

    async with open_memory_server(late) as server:
        with pytest.raises(ConnectTimeoutError):
            async with connect_socket(server.url, dial=server.dial, timeout=1):
                pass
        await trio.sleep(20)


async def test_the_server_closes(autojump_clock: trio.testing.MockClock) -> None:
    """With any code and reason; it was not the client."""
    async with joined() as (task, connection):
        await connection.close(4001, "go away")
        await assert_closed(task, 4001, "go away")
        assert connection.close_code is None
        assert connection.closed
        assert repr(connection) == "<ServerConnection / closed>"


async def test_the_client_closes(autojump_clock: trio.testing.MockClock) -> None:
    """Its code and reason are kept; receiving and sending end."""
    async with joined() as (task, connection):
        await task.send("last")
        await task.aclose(3000, "bye")
        assert [data async for data in connection] == ["last"]
        assert (connection.close_code, connection.close_reason) == (3000, "bye")
        with pytest.raises(trio.BrokenResourceError):
            await connection.send("too late")
        with pytest.raises(trio.EndOfChannel):
            await connection.receive()


async def test_a_client_that_drops_has_no_close_code(autojump_clock: trio.testing.MockClock) -> None:
    """It is not made up."""
    async with open_memory_server(hold) as server:
        stream = await server.dial("", 0)
        await stream.send_all(REQUEST)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
        await stream.aclose()
        connection = await server.wait_connection()
        await connection.wait_closed()
        assert connection.close_code is None


# Faults


async def test_a_stalled_server_is_lost_by_the_heartbeat(autojump_clock: trio.testing.MockClock) -> None:
    """Neither reads nor answers: a half-open link."""
    async with joined(heartbeat=Heartbeat(interval=20, timeout=10)) as (task, connection):
        connection.stall()
        connection.stall()
        with pytest.raises(SocketLostError, match="pong"):
            await task.receive()


async def test_a_server_that_stops_answering_has_read_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    """And one that stops reading answers nothing, until it resumes."""
    async with joined() as (task, connection):
        connection.stall(reading=False)
        await task.send("read this")
        assert await connection.receive() == "read this"
        await connection.resume()
        connection.stall(answering=False)
        with trio.move_on_after(30) as scope:
            await task.ping()
        assert scope.cancelled_caught
        await connection.resume()
        await task.ping()


@pytest.mark.parametrize("tls", [False, True, None])
async def test_a_ping_that_crosses_the_servers_close(*, tls: bool | None) -> None:
    """Is ignored: the client gets the server's code."""

    async def close(connection: ServerConnection) -> None:
        await connection.receive()
        await connection.close(4000)

    block = open_memory_server(close) if tls is None else open_test_server(close, tls=tls)
    with trio.fail_after(30):
        async with block as server:
            async with connect_socket(server.url, ssl_context=server.ssl_context, dial=server.dial) as task:
                await task.send("bye")
                with pytest.raises(SocketLostError):
                    while True:
                        await task.ping()
                await assert_closed(task, 4000)


async def test_what_a_stall_hides_is_misuse(autojump_clock: trio.testing.MockClock) -> None:
    """Each sentence says to resume."""
    async with joined() as (task, connection):
        connection.stall()
        for call in (connection.wait_closed, connection.close):
            with pytest.raises(MisuseError, match="resume"):
                await call()
        await connection.resume()
        connection.never_answer_close()
        with pytest.raises(MisuseError, match="not seen by the client"):
            await connection.close(4000)
        await connection.half_close()
        for send in (connection.send("x"), connection.send_raw(b"x")):
            with pytest.raises(MisuseError, match="direction to the client has ended"):
                await send
        await assert_closed(task, 1006)


async def test_a_stalled_server_answers_pings_when_it_resumes(autojump_clock: trio.testing.MockClock) -> None:
    """And reads meanwhile, if only answering is stalled."""
    async with joined() as (task, connection), trio.open_nursery() as nursery:
        connection.stall(reading=False)
        nursery.start_soon(task.ping)
        await trio.sleep(1)
        await task.send("read this all the same")
        assert await connection.receive() == "read this all the same"
        assert task.statistics().rtt is None
        await connection.resume()
        await trio.sleep(1)
        assert task.statistics().rtt is not None


async def test_two_tasks_of_a_handler(autojump_clock: trio.testing.MockClock) -> None:
    """Whichever comes first accepts; when the client leaves, both end quietly."""

    async def chatter(connection: ServerConnection) -> None:
        while True:
            await connection.send("tick")
            await trio.sleep(1)

    async def listen(connection: ServerConnection) -> None:
        while True:
            await connection.receive()

    async def both(connection: ServerConnection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter, connection)
            nursery.start_soon(listen, connection)

    async with open_memory_server(both) as server:
        async with connect_socket(server.url, dial=server.dial) as task:
            assert await task.receive() == "tick"


async def test_an_acceptance_that_was_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """Leaves nothing to use."""

    async def late(connection: ServerConnection) -> None:
        connection.delay(5)
        with trio.move_on_after(1):
            await connection.accept()
        await connection.send("x")

    with pytest.raises(MisuseError, match="accepting it cancelled"):
        async with open_memory_server(late) as server, connect_socket(server.url, dial=server.dial):
            pass


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda connection: connection.accept("b"), r"the client offered \['a'\]"),
        (lambda connection: connection.accept(10**5000), "a protocol of str, not a value of the type int"),
        (lambda connection: connection.reject(101), "status from 200 to 599, not 101"),
        (lambda connection: connection.reject("403"), "status from 200 to 599, not '403'"),
        (lambda connection: connection.close(1006), "not 1006; send_raw"),
        (lambda connection: connection.close(99999), "not 99999; send_raw"),
        (lambda connection: connection.delay(-1), "a number of seconds, not -1"),
        (lambda connection: connection.delay("1"), "a number of seconds, not '1'"),
        (lambda connection: connection.delay(10**5000), "a number of seconds, not a value of the type int"),
        (lambda connection: connection.close(1000, None), r"close\(\) takes a reason of str, not None"),
        (lambda connection: connection.close(1000, "\ud800"), "a reason without lone surrogates .U.D800 at position 0"),
        (lambda connection: connection.send("\ud800"), "a message without lone surrogates .U.D800 at position 0"),
        (lambda connection: connection.accept("a", {"a": 1}), "the field 'a' cannot be a value of the type int"),
        (lambda connection: connection.reject(403, {1: "a"}), "the field 1 cannot be sent; its name must be a token"),
    ],
)
async def test_bad_arguments_are_misuse(autojump_clock: trio.testing.MockClock, fault: object, sentence: str) -> None:
    """Named, before anything is sent."""
    assert callable(fault)

    async def misuse(connection: ServerConnection) -> None:
        with pytest.raises(MisuseError, match=sentence):
            await fault(connection)
        await connection.accept("a")

    async with open_memory_server(misuse) as server:
        async with connect_socket(server.url, dial=server.dial, protocols=["a"]):
            pass


async def test_bad_data_is_a_type_error(autojump_clock: trio.testing.MockClock) -> None:
    """As in the client."""
    async with joined() as (_task, connection):
        with pytest.raises(TypeError, match="data must be str or bytes, not dict"):
            await connection.send({})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="data must be bytes, not str"):
            await connection.send_raw("text")  # type: ignore[arg-type]


async def test_raw_bytes_in_the_middle_of_an_echo() -> None:
    """They take their turn."""
    with trio.fail_after(30):
        async with open_test_server(tls=True) as server:
            async with connect_socket(server.url, ssl_context=server.ssl_context) as task:
                connection = await server.wait_connection()
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(task.send, bytes(200_000))
                    for _ in range(20):
                        await connection.send_raw(b"\x8a\x00")
                        assert len(await task.receive()) == 200_000


async def test_a_stall_in_the_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """The client's timeout ends it."""

    async def silent(connection: ServerConnection) -> None:
        connection.stall(reading=False)
        await trio.lowlevel.checkpoint()

    async with open_memory_server(silent) as server:
        with pytest.raises(ConnectTimeoutError):
            async with connect_socket(server.url, dial=server.dial, timeout=5):
                pass


async def test_a_delay(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the server sends takes so much longer."""
    async with joined() as (task, connection):
        connection.delay(0.25)
        assert await task.ping() == pytest.approx(0.25)
        connection.delay(0)


async def test_a_close_that_is_never_answered(autojump_clock: trio.testing.MockClock) -> None:
    """The client waits for its close_timeout."""
    async with joined(close_timeout=3) as (task, connection):
        connection.never_answer_close()
        started = trio.current_time()
        await task.aclose(4000, "please")
        assert trio.current_time() == pytest.approx(started + 3)
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (4000, "please")


async def test_a_handler_that_closes_without_a_word(autojump_clock: trio.testing.MockClock) -> None:
    """After never_answer_close, a handler's end says nothing either, and keeps the connection."""

    async def mute(connection: ServerConnection) -> None:
        await connection.accept()
        connection.never_answer_close()

    async with open_memory_server(mute) as server:
        async with connect_socket(server.url, dial=server.dial, close_timeout=1) as task:
            with trio.move_on_after(60) as scope:
                await task.receive()
            assert scope.cancelled_caught


async def test_garbled_frames(autojump_clock: trio.testing.MockClock) -> None:
    """The client sees a breach of the protocol, after what came before it."""
    async with joined() as (task, connection):
        await connection.send("good")
        connection.garble()
        await connection.send("bad")
        assert await task.receive() == "good"
        with pytest.raises(SocketLostError, match="reserved"):
            await task.receive()


async def test_a_garbled_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """The response is no HTTP."""

    async def babble(connection: ServerConnection) -> None:
        connection.garble()
        await connection.accept()

    async with open_memory_server(babble) as server:
        with pytest.raises(HandshakeError):
            async with connect_socket(server.url, dial=server.dial):
                pass


async def test_raw_bytes(autojump_clock: trio.testing.MockClock) -> None:
    """Any frame, in pieces."""
    async with joined() as (task, connection):
        await connection.send_raw(b"\x01\x01a")
        await connection.send_raw(b"\x80\x01b")
        assert await task.receive() == "ab"


async def test_raw_bytes_instead_of_a_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the handler thinks of."""

    async def redirect(connection: ServerConnection) -> None:
        await connection.send_raw(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")

    async with open_memory_server(redirect) as server:
        with pytest.raises(HandshakeError) as caught:
            async with connect_socket(server.url, dial=server.dial):
                pass
    assert caught.value.header["location"] == "/there"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("fault", ["drop", "half_close"])
async def test_losing_a_real_connection(fault: str, *, tls: bool) -> None:
    """A reset and an early end, on TCP and TLS."""

    async def lose(connection: ServerConnection) -> None:
        await connection.receive()
        await (connection.drop() if fault == "drop" else connection.half_close())
        await connection.wait_closed()

    with trio.fail_after(30):
        async with open_test_server(lose, tls=tls) as server:
            async with connect_socket(server.url, ssl_context=server.ssl_context) as task:
                await task.send("go")
                with pytest.raises(SocketLostError) as caught:
                    await task.receive()
    assert isinstance(caught.value.__cause__, ConnectionResetError) == (fault == "drop")


async def test_half_closing_what_the_client_has_reset() -> None:
    """There is nothing left to end."""
    over = trio.Event()
    streams: list[trio.SocketStream] = []

    async def half_close(connection: ServerConnection) -> None:
        await connection.receive()
        connection.stall()  # so that the reset is not seen before
        await reset(streams[0])
        await connection.half_close()
        over.set()

    async def dial(host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, port)
        streams.append(stream)
        return stream

    with trio.fail_after(30):
        async with open_test_server(half_close) as server, connect_socket(server.url, dial=dial) as task:
            await task.send("go")
            await over.wait()


async def test_a_drop_before_the_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing was answered."""

    async def drop(connection: ServerConnection) -> None:
        await connection.drop()

    async with open_memory_server(drop) as server:
        with pytest.raises(ConnectError, match="reset"):
            async with connect_socket(server.url, dial=server.dial):
                pass


@pytest.mark.parametrize(
    "fault",
    [
        ServerConnection.stall,
        lambda connection: connection.delay(1),
        ServerConnection.never_answer_close,
        ServerConnection.garble,
        ServerConnection.drop,
        ServerConnection.half_close,
    ],
)
async def test_a_fault_on_a_closed_connection_is_misuse(autojump_clock: trio.testing.MockClock, fault: object) -> None:
    """The sentence says what to do."""
    assert callable(fault)
    async with joined() as (task, connection):
        await task.aclose()
        await connection.wait_closed()
        with pytest.raises(MisuseError, match="closed does nothing; put it before"):
            result = fault(connection)
            if result is not None:
                await result


async def test_what_is_sent_to_a_client_that_has_left_ends_its_handler_quietly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Raw bytes as well as messages; so does the end of a stall that held something back."""

    async def send_on(connection: ServerConnection) -> None:
        await connection.accept()
        while True:
            await connection.send_raw(b"\x81\x01x")
            await trio.sleep(1)

    async def resume_late(connection: ServerConnection) -> None:
        await connection.accept()
        connection.stall(reading=False)
        await connection.send("held")
        await trio.sleep(10)
        await connection.resume()

    for handler in (send_on, resume_late):
        async with open_memory_server(handler) as server:
            async with connect_socket(server.url, dial=server.dial, close_timeout=1):
                await trio.sleep(2)
            await trio.sleep(10)


@pytest.mark.parametrize("tls", [None, False, True])
async def test_what_was_held_back_goes_out_first(tls: bool | None) -> None:  # noqa: FBT001 (parametrized)
    """Also when something else is sent while a stall ends; raw bytes are held back as messages are."""

    async def serve(connection: ServerConnection) -> None:
        await connection.accept()
        connection.stall()
        for number in range(5):
            await connection.send(str(number))
        await connection.send_raw(b"\x81\x03raw")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.resume)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(connection.send, "new")
        await connection.wait_closed()

    server_block = open_memory_server(serve) if tls is None else open_test_server(serve, tls=tls)
    with trio.fail_after(30):
        async with server_block as server:
            dial = server.dial if tls is None else None
            async with connect_socket(server.url, dial=dial, ssl_context=server.ssl_context) as task:
                came = [await task.receive() for _ in range(7)]
    assert came == ["0", "1", "2", "3", "4", "raw", "new"]


async def test_raw_bytes_are_delayed(autojump_clock: trio.testing.MockClock) -> None:
    """As everything is."""
    async with joined() as (task, connection):
        connection.delay(5)
        start = trio.current_time()
        await connection.send_raw(b"\x81\x03raw")
        assert await task.receive() == "raw"
        assert trio.current_time() - start >= 5


@pytest.mark.parametrize("tls", [False, True])
async def test_a_half_close_while_something_is_sent(*, tls: bool) -> None:
    """The direction ends all the same."""

    async def serve(connection: ServerConnection) -> None:
        await connection.accept()
        await connection.send("enough to make the client stop reading")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.send, bytes(2 * 10**7))
            await trio.testing.wait_all_tasks_blocked(0.05)
            await connection.half_close()
            nursery.cancel_scope.cancel()
        half_closed.set()
        await connection.wait_closed()

    half_closed = trio.Event()

    with trio.fail_after(30):
        async with open_test_server(serve, tls=tls) as server:
            async with connect_socket(
                server.url, ssl_context=server.ssl_context, max_message_size=10**9, receive_buffer=100
            ) as task:
                await half_closed.wait()
                assert await task.receive() == "enough to make the client stop reading"
                with pytest.raises(SocketLostError):
                    while True:  # Windows takes any number of bytes at once, and then the message comes whole
                        await task.receive()


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda connection: connection.reject(204, body=b"x"), "with 204 takes no body"),
        (lambda connection: connection.reject(403, {}, "hello"), "takes a body of bytes"),
        (lambda connection: connection.reject(403, {"X": "a\r\nY: b"}), "cannot be a str of 7 characters; its value"),
        (
            lambda connection: connection.accept(header={"a b": "c"}),
            "its name must be a token",
        ),
        (lambda connection: connection.reject(403, {"Content-Length": "5"}, b"abc"), "is the server's own to send"),
        (lambda connection: connection.accept(header={"X": "€"}), "cannot be a str of 1 characters; its value"),
        (lambda connection: connection.close(4000, "x" * 124), "a reason of at most 123 bytes"),
    ],
)
async def test_what_cannot_be_sent_is_misuse(
    autojump_clock: trio.testing.MockClock, act: Callable[[ServerConnection], Awaitable[None]], sentence: str
) -> None:
    """Said before anything is sent."""

    async def serve(connection: ServerConnection) -> None:
        with pytest.raises(MisuseError, match=sentence):
            await act(connection)
        await connection.drop()

    async with open_memory_server(serve) as server:
        with suppress(ConnectError):
            async with connect_socket(server.url, dial=server.dial):
                pass
