"""The resilient socket: connections, one after another."""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from trio_socket_task import (
    Backoff,
    CloseEvent,
    Coexist,
    ConnectionState,
    ConnectOptions,
    GaveUpError,
    HandshakeError,
    Heartbeat,
    InvalidOptionsError,
    Outbox,
    OutboxFullError,
    ReplacePrevious,
    ResilientSocket,
    Retry,
    SocketClosedError,
    SocketLostError,
    SocketManager,
    SocketNotOpenError,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._manager import members_of
from trio_socket_task._socket_task import session_of
from trio_socket_task.testing import (
    MisuseError,
    Script,
    ServerConnection,
    collect,
    echo,
    hold,
    in_turn,
    open_memory_server,
)

HALF = Backoff(random=lambda: 0.5)
"""Delays of 0.5, 1, 2, 4 ... seconds."""

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


async def until(socket: ResilientSocket, state: ConnectionState) -> None:
    """Wait for a state; one that it is in counts."""
    async with socket.on_state() as events:
        async for event in events:
            if event.state is state:
                return


async def test_messages_go_both_ways_across_a_reconnection(autojump_clock: trio.testing.MockClock) -> None:
    """A drop in the middle: the program goes on, and nothing of it shows but the time."""
    first = Script().expect("one").send("1").drop()
    second = Script().expect("two").send("2").expect_close(1000)
    async with (
        open_memory_server(in_turn(first, second)) as server,
        open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket,
    ):
        number = socket._states.label.number
        assert repr(socket) == f"<ResilientSocket {number} CONNECTING ws://memory.test/, connection 0>"
        await socket.send("one")
        assert await socket.receive() == "1"
        start = trio.current_time()
        await until(socket, ConnectionState.WAITING)
        await socket.send("two")
        assert await socket.receive() == "2"
        assert round(trio.current_time() - start, 6) == 0.5
        assert repr(socket) == f"<ResilientSocket {number} CONNECTED ws://memory.test/, connection 2>"
    assert repr(socket) == f"<ResilientSocket {number} STOPPED ws://memory.test/, connection 2>"
    assert socket.close_event == CloseEvent(code=1000)


async def test_iteration_goes_on_across_reconnections(autojump_clock: trio.testing.MockClock) -> None:
    """And ends quietly when the server says that it is done."""
    scripts = in_turn(Script().send("a").send("b").drop(), Script().reject(503), Script().send("c").close(1000))
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            assert [data async for data in socket] == ["a", "b", "c"]
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            with pytest.raises(GaveUpError, match="the server closed with 1000, after which the retry policy stops"):
                await socket.send("too late")


async def test_it_gives_up_by_the_evidence(autojump_clock: trio.testing.MockClock) -> None:
    """The program's own calls say so, with the attempts."""
    scripts = in_turn(Script().send("a").drop(), Script().reject(403))
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            assert await socket.receive() == "a"
            with pytest.raises(GaveUpError, match="403") as caught:
                await socket.receive()
            assert isinstance(caught.value.__cause__, HandshakeError)
            assert [type(attempt.error) for attempt in caught.value.attempts] == [SocketLostError, HandshakeError]
            for call in (socket.send("x"), socket.wait_connected(), socket.receive()):
                with pytest.raises(GaveUpError):
                    await call
            with pytest.raises(GaveUpError):
                socket.send_nowait("x")
            socket.reconnect()
            await socket.aclose()
            assert socket.state.state is ConnectionState.STOPPED
            assert "403" in socket.state.why


async def test_a_policy_of_the_program_s_own_that_raises_is_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """And is told of."""
    async with open_memory_server(Script().drop()) as server:
        retry = Retry(decide=lambda _attempt, _failures: 1 / 0)  # type: ignore[arg-type, return-value]
        async with open_resilient_socket(server.url, dial=server.dial, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="the backoff or the retry policy raised ZeroDivisionError"):
                await socket.receive()


async def test_limits_of_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """Then it gives up."""
    async with open_memory_server(Script().reject(500)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, retry=Retry(max_attempts=3)) as socket:
            with pytest.raises(GaveUpError, match="3 attempts in a row have failed"):
                await socket.wait_connected()
        assert len(server.connections) == 3


async def test_delays_start_over_after_a_useful_connection(autojump_clock: trio.testing.MockClock) -> None:
    """And only after one: a server that accepts and closes meets ever longer delays."""
    scripts = in_turn(*[Script().drop()] * 3, Script().sleep(31).drop(), Script().sleep(29).drop(), hold)
    delays = []
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF, heartbeat=None) as socket:
            async with socket.on_state() as states:
                while len(server.connections) < 6:
                    event = await states.receive()
                    if event.state is ConnectionState.WAITING:
                        delays.append(event.delay)
    assert delays == [0.5, 1.0, 2.0, 0.5, 1.0]


async def test_a_busy_server_is_given_time(autojump_clock: trio.testing.MockClock) -> None:
    """Retry-After, and the jitter on top."""
    scripts = in_turn(Script().reject(503, {"Retry-After": "30"}), hold)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            await socket.wait_connected()
            assert round(trio.current_time(), 3) == 30.5


async def test_the_target_is_asked_before_each_attempt(autojump_clock: trio.testing.MockClock) -> None:
    """A fresh token each time; when it cannot be asked, that attempt has failed."""
    asked: list[int] = []

    async def target() -> str | tuple[str, ConnectOptions]:
        asked.append(len(asked))
        await trio.lowlevel.checkpoint()
        if len(asked) == 1:
            raise OSError("the token server is down")
        return f"ws://a.test/{len(asked)}", {"header": {"token": f"t{len(asked)}"}}

    async with open_memory_server(in_turn(Script().drop(), hold)) as server:
        async with open_resilient_socket(target, dial=server.dial) as socket:
            await server.wait_connection(2)
            await socket.wait_connected()
            assert [connection.path for connection in server.connections] == ["/2", "/3"]
            assert [connection.header["token"] for connection in server.connections] == ["t2", "t3"]


async def test_a_target_that_gives_nonsense_is_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing would get better."""

    async def target() -> str:
        await trio.lowlevel.checkpoint()
        return "http://a.test/"

    async with open_resilient_socket(target) as socket:
        with pytest.raises(GaveUpError, match="must be absolute") as caught:
            await socket.wait_connected()
        assert isinstance(caught.value.__cause__, InvalidOptionsError)


async def test_on_connected_comes_before_everything(autojump_clock: trio.testing.MockClock) -> None:
    """On every connection: what waits is sent after it, and its own messages are its own."""
    story = Script().expect("login").send("welcome").expect("waiting").send("news").drop()
    again = Script().expect("login").send("welcome").expect("more")
    welcomes = []

    async def log_in(task: SocketTask) -> None:
        await task.send("login")
        welcomes.append(await task.receive())

    async with open_memory_server(in_turn(story, again)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            await socket.send("waiting")
            assert await socket.receive() == "news"
            await until(socket, ConnectionState.WAITING)
            await socket.send("more")
            await socket.wait_delivered()
    assert welcomes == ["welcome", "welcome"]


async def test_what_was_not_received_before_a_reconnection_is_received_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Before anything of the new connection, also what on_connected has left."""
    scripts = in_turn(Script().send("old 1").send("old 2").drop(), Script().send("login").send("new"))

    async def log_in(task: SocketTask) -> None:
        if len(server.connections) == 2:
            assert await task.receive() == "login"

    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            await server.wait_connection(2)
            await socket.wait_connected()
            await trio.testing.wait_all_tasks_blocked()
            assert await collect(socket, 3) == ["old 1", "old 2", "new"]


async def test_a_connection_whose_greeting_fails_has_failed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What it brought is not received, and the next is made after a delay; the log tells why."""
    scripts = in_turn(Script().send("unheard"), Script().expect("hello"))

    async def log_in(task: SocketTask) -> None:
        await trio.sleep(1)
        if len(server.connections) == 1:
            raise PermissionError("no login today")

    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            await until(socket, ConnectionState.WAITING)
            assert socket.state.why == "no login today"
            await socket.send("hello")
            await socket.wait_delivered()
            assert socket.statistics().generation == 1
    assert "on_connected raised" in caplog.text


@pytest.mark.parametrize("code", [4001, 1012])
async def test_a_close_during_the_greeting_counts_as_a_close(autojump_clock: trio.testing.MockClock, code: int) -> None:
    """The server refuses a login by closing: the code decides, not the error that on_connected met."""

    async def log_in(task: SocketTask) -> None:
        await task.send("login")
        await task.receive()

    scripts = in_turn(Script().expect("login").close(code), Script().expect("login").send("ok"))
    async with open_memory_server(scripts if code == 1012 else Script().expect("login").close(code)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=log_in) as socket:
            if code == 1012:
                await socket.wait_connected()
            else:
                with pytest.raises(GaveUpError, match="the server closed with 4001"):
                    await socket.wait_connected()


async def test_a_greeting_ends_with_its_connection(autojump_clock: trio.testing.MockClock) -> None:
    """Even when it waits for something else; what it raises on its way out is told in the log."""

    async def never_ends(task: SocketTask) -> None:
        try:
            await trio.sleep_forever()
        finally:
            if len(server.connections) == 1:
                raise ValueError("on the way out")

    async with open_memory_server(in_turn(Script().drop(), Script().drop(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=never_ends):
            await server.wait_connection(3)


async def test_a_greeting_that_is_not_async_is_a_mistake(autojump_clock: trio.testing.MockClock) -> None:
    """Said at once."""
    async with open_memory_server(hold) as server:
        bad = open_resilient_socket(server.url, dial=server.dial, on_connected=lambda _task: None)  # type: ignore[arg-type, return-value]
        async with bad as socket:
            with pytest.raises(GaveUpError, match="on_connected must be an async function"):
                await socket.wait_connected()


async def test_states_tell_the_story(autojump_clock: trio.testing.MockClock) -> None:
    """The present one first, whenever the listener comes; and the end."""
    async with open_memory_server(in_turn(Script().accept().drop(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            states = socket.on_state()
            await server.wait_connection(2)
            await socket.wait_connected()
            late = socket.on_state()
        story = [event async for event in states]
        assert [(event.state.value, event.generation, event.failures, event.delay) for event in story] == [
            ("connecting", 0, 0, None),
            ("connected", 1, 0, None),
            ("waiting", 1, 1, 0.5),
            ("connecting", 1, 1, None),
            ("connected", 2, 0, None),
            ("stopped", 2, 0, None),
        ]
        assert [event.state.value async for event in late] == ["connected", "stopped"]
        assert [event.state.value async for event in socket.on_state()] == ["stopped"]


async def test_reconnect_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Neither for a server that is gone, nor for the delay; and it is no failure."""
    scripts = in_turn(Script().stall(), Script().reject(503), echo)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF, heartbeat=None) as socket:
            await server.wait_connection(1)
            start = trio.current_time()
            socket.reconnect()  # while the handshake hangs
            await until(socket, ConnectionState.WAITING)
            socket.reconnect()
            await socket.send("hello")
            assert await socket.receive() == "hello"
            socket.reconnect()  # while it is connected
            await socket.send("again")
            assert await socket.receive() == "again"
            assert trio.current_time() - start < 0.5
            assert socket.statistics().generation == 2


@pytest.mark.parametrize("when", ["waiting", "dialling", "asking", "greeting", "full"])
async def test_it_can_be_closed_at_any_time(autojump_clock: trio.testing.MockClock, when: str) -> None:
    """In the middle of whatever it does, without waiting for that."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        if when == "waiting":
            raise ConnectionRefusedError
        if when == "dialling":
            await trio.sleep_forever()
        return await server.dial(_host, _port)

    async def target() -> str:
        if when == "asking":
            await trio.sleep_forever()
        return "ws://a.test/"

    async def greet(task: SocketTask) -> None:
        await trio.sleep_forever()

    async with open_memory_server(hold) as server, open_socket_manager(Coexist(1), dial=server.dial) as manager:
        if when == "full":
            await manager.connect_socket(server.url).wait_open()
        async with open_resilient_socket(
            target, dial=dial, backoff=Backoff(random=lambda: 1.0), on_connected=greet, manager=manager
        ) as socket:
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            await socket.aclose(4000, "enough")
            assert trio.current_time() == start
            assert socket.close_event == CloseEvent(code=4000, reason="enough")
            for call in (socket.send("x"), socket.wait_connected()):
                with pytest.raises(SocketClosedError):
                    await call
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
        for task in manager.sockets:
            await task.aclose()


async def test_closing_gives_the_connection_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    """More than its buffer takes at once; then the close handshake shows that all was read."""
    received = []

    async def read(connection: ServerConnection) -> None:
        received.extend([data async for data in connection])

    async with open_memory_server(read) as server:
        async with open_resilient_socket(server.url, dial=server.dial, send_buffer=1000) as socket:
            undelivered = socket.on_undelivered()
            for number in range(100):
                await socket.send(f"{number} {'x' * 100_000}")
            await socket.aclose()
        assert [str(data).split()[0] for data in received] == [str(number) for number in range(100)]
        assert [event async for event in undelivered] == []
        assert socket.statistics().delivered == 100


async def test_a_close_with_bad_arguments_harms_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """It is refused, and the socket goes on."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            with pytest.raises(InvalidOptionsError):
                socket.close(1001)
            with pytest.raises(InvalidOptionsError):
                await socket.aclose(1000, "x" * 124)
            await socket.send("hello")
            assert await socket.receive() == "hello"
            socket.close()
            with pytest.raises(SocketClosedError):
                await socket.send("late")


async def test_a_full_manager_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """And a place is taken only while there is a connection."""
    async with open_memory_server(in_turn(hold, Script().drop(), hold)) as server:
        async with open_socket_manager(Coexist(1), dial=server.dial) as manager:
            other = manager.connect_socket(server.url)
            await other.wait_open()
            async with open_resilient_socket(server.url, manager=manager, backoff=HALF) as socket:
                await until(socket, ConnectionState.WAITING)
                assert socket.state.delay is None
                assert "1 sockets exist" in socket.state.why
                states = socket.on_state()
                await other.aclose()
                while (await states.receive()).delay != 0.5:
                    pass
                assert manager.sockets == ()
                await socket.wait_connected()
                assert len(manager.sockets) == 1


async def test_what_somebody_else_closes_stays_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A replacement, or a close of the SocketTask, is this side's will."""
    async with open_memory_server() as server, open_socket_manager(ReplacePrevious(), dial=server.dial) as manager:
        async with open_resilient_socket(server.url, manager=manager) as socket:
            await socket.wait_connected()
            new = manager.connect_socket(server.url)
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            assert socket.close_event is not None
            assert socket.close_event.reason == "replaced by a new connection"
            await new.wait_open()
            with pytest.raises(SocketClosedError):
                await socket.send("x")
        await new.aclose()


async def test_the_end_of_its_manager_is_its_end(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Whether it is connected then or waits for a place."""
    end = trio.Event()

    async def lend(task_status: trio.TaskStatus[SocketManager]) -> None:
        async with open_socket_manager(Coexist(1), dial=server.dial) as manager:
            task_status.started(manager)
            await end.wait()

    async with open_memory_server(hold) as server:
        manager = await nursery.start(lend)
        async with open_resilient_socket(server.url, manager=manager) as connected:
            await connected.wait_connected()
            async with open_resilient_socket(server.url, manager=manager) as waiting:
                await until(waiting, ConnectionState.WAITING)
                end.set()
                await until(waiting, ConnectionState.STOPPED)
                await until(connected, ConnectionState.STOPPED)
                with pytest.raises(SocketClosedError):
                    await connected.send("x")
                with pytest.raises(GaveUpError, match="block has ended"):
                    await waiting.send("x")


async def test_without_an_outbox_a_send_needs_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    """It is the connection's own send."""
    async with open_memory_server(in_turn(Script().expect("a").drop(), echo)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=None) as socket:
            with pytest.raises(SocketNotOpenError, match="wait_connected"):
                await socket.send("too early")
            with pytest.raises(SocketNotOpenError):
                socket.send_nowait("too early")
            await socket.wait_connected()
            await socket.send("a")
            await until(socket, ConnectionState.WAITING)
            await socket.wait_connected()
            socket.send_nowait("b")
            assert await socket.receive() == "b"
            await socket.wait_delivered()
            assert socket.task is not None
            assert socket.statistics().sockets.messages_sent == 2


async def test_lost_messages_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    """What the server has shown to have read is not among them; nothing is sent twice."""
    first = Script().expect("a").sleep(1).stall()
    second = Script().expect("c")
    async with open_memory_server(in_turn(first, second)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, heartbeat=Heartbeat(interval=5)) as socket:
            undelivered = socket.on_undelivered()
            await socket.send("a")
            await socket.wait_delivered()
            await trio.sleep(2)
            await socket.send("b")
            await until(socket, ConnectionState.WAITING)
            await socket.send("c")
            await socket.wait_delivered()
            event = await undelivered.receive()
            assert (event.data, event.why) == ("b", "lost")
            figures = socket.statistics()
            assert (figures.delivered, figures.undelivered, figures.outbox_bytes) == (2, 1, 0)


async def test_or_sent_again_when_that_was_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    """In their order, before what came later."""
    first = Script().expect("a").sleep(1).stall()
    second = Script().expect("b").expect("c").expect("d")
    async with open_memory_server(in_turn(first, second)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=Outbox(resend=True)) as socket:
            await socket.send("a")
            await socket.wait_delivered()
            await trio.sleep(2)
            await socket.send("b")
            await socket.send("c")
            await until(socket, ConnectionState.WAITING)
            await socket.send("d")
            await socket.wait_delivered()
            assert socket.statistics().undelivered == 0


async def test_losses_that_nobody_listens_to_are_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a time, not once a message."""
    caplog.set_level(logging.WARNING)
    async with open_memory_server(Script().stall()) as server:
        async with open_resilient_socket(server.url, dial=server.dial, timeout=1) as socket:
            await server.wait_connection()
            await full_outbox(socket)
            socket.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"{socket._states.label}: given up and not listened to by on_undelivered(): 2 (stopped)"
    ]


async def full_outbox(socket: ResilientSocket) -> None:
    """Fill an outbox of two messages."""
    await socket.send("a")
    await socket.send("b")


async def test_a_full_outbox_lets_senders_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Until the server has read something; a cancelled sender has sent nothing."""
    async with open_memory_server(Script().delay(5).expect("a").expect("b").expect("c")) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=Outbox(max_messages=2)) as socket:
            await full_outbox(socket)
            with pytest.raises(trio.WouldBlock):
                socket.send_nowait("x")
            with trio.move_on_after(1) as scope:
                await socket.send("cancelled")
            assert scope.cancelled_caught
            await socket.send("c")
            assert trio.current_time() >= 5
            await socket.wait_delivered()


async def test_or_refuses(autojump_clock: trio.testing.MockClock) -> None:
    """With the figures."""
    outbox = Outbox(max_messages=2, when_full="refuse")
    async with open_memory_server(Script().stall()) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=outbox) as socket:
            await server.wait_connection()
            await full_outbox(socket)
            with pytest.raises(OutboxFullError, match="full with 2 messages of 2 bytes"):
                await socket.send("c")
            with pytest.raises(trio.WouldBlock):
                socket.send_nowait("c")
            undelivered = socket.on_undelivered()
            socket.close()
        assert [event.why async for event in undelivered] == ["stopped", "stopped"]


async def test_or_drops_the_oldest(autojump_clock: trio.testing.MockClock) -> None:
    """Which is reported; what a connection was given is waited for."""
    outbox = Outbox(max_messages=2, when_full="drop_oldest")
    async with open_memory_server(Script().delay(1).expect("b").expect("c").expect("d")) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=outbox) as socket:
            undelivered = socket.on_undelivered()
            await full_outbox(socket)
            socket.send_nowait("c")
            event = await undelivered.receive()
            assert (event.data, event.why) == ("a", "dropped")
            await socket.wait_connected()
            start = trio.current_time()
            await socket.send("d")
            assert trio.current_time() > start
            await socket.wait_delivered()


async def test_old_messages_are_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Also while somebody waits for their place, or for the outbox to be empty."""
    outbox = Outbox(max_messages=2, max_age=10)
    async with open_memory_server(Script().stall()) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=outbox) as socket:
            undelivered = socket.on_undelivered()
            await full_outbox(socket)
            await trio.sleep(5)
            await socket.send("c")
            assert trio.current_time() == 10
            assert [event.data for event in await collect(undelivered, 2)] == ["a", "b"]
            await socket.wait_delivered()
            assert trio.current_time() == 20
            assert (await undelivered.receive()).why == "expired"


async def test_data_is_checked_before_anything_else(autojump_clock: trio.testing.MockClock) -> None:
    """And refused without harm."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=Outbox(max_bytes=10)) as socket:
            with pytest.raises(TypeError):
                await socket.send(3)  # type: ignore[arg-type]
            with pytest.raises(InvalidOptionsError, match="must fit into the outbox, whose max_bytes is 10"):
                await socket.send("x" * 11)
            buffer = bytearray(b"mine")
            await socket.send(buffer)
            buffer[:] = b"yours"
            assert await socket.receive() == b"mine"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("target", "http://a.test/"),
        ("target", 3),
        ("backoff", 3),
        ("retry", 3),
        ("outbox", 3),
        ("on_connected", 3),
        ("manager", 3),
        ("timeout", 0),
    ],
)
async def test_arguments_are_checked_before_any_io(argument: str, value: object) -> None:
    """At the call, by name."""
    arguments = {"target": "ws://a.test/", argument: value}
    argument = "url" if argument == "target" and isinstance(value, str) else argument
    with pytest.raises(InvalidOptionsError, match=f"^{argument} "):
        open_resilient_socket(**arguments)  # type: ignore[arg-type]


async def test_a_block_can_be_entered_once() -> None:
    """As the others."""
    async with open_memory_server(hold) as server:
        block = open_resilient_socket(server.url, dial=server.dial)
        async with block:
            with pytest.raises(RuntimeError, match="entered once"):
                await block.__aenter__()


async def leave_by_break(socket: ResilientSocket) -> None:
    """Leave an iteration."""
    async for _ in socket:
        break


async def leave_by_exception(socket: ResilientSocket) -> None:
    """Raise."""
    await socket.receive()
    raise KeyError("mine")


async def leave_by_cancellation(socket: ResilientSocket) -> None:
    """Be cancelled while sending and receiving."""
    await socket.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_exception, leave_by_cancellation])
@pytest.mark.parametrize("handler", [Script().send("a"), Script().send("a").drop()], ids=["connected", "waiting"])
async def test_a_block_can_be_left_in_any_way(
    autojump_clock: trio.testing.MockClock, leave: Callable[[ResilientSocket], Awaitable[None]], handler: Script
) -> None:
    """The body's exception comes out unchanged, and nothing is left."""
    async with open_memory_server(handler) as server:
        tasks = trio.lowlevel.current_statistics().tasks_living
        try:
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await leave(socket)
        except KeyError as error:
            assert error.args == ("mine",)  # noqa: PT017 (it is raised in one case of three)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= tasks


async def test_a_cancelled_block_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Even while it is being left, and the server answers nothing."""
    async with open_memory_server(Script().expect("a").stall()) as server:
        start = trio.current_time()
        with trio.move_on_after(5):
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await socket.send("a")
                await socket.wait_delivered()
                await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - start <= 5.2


async def test_an_application_s_heartbeat(autojump_clock: trio.testing.MockClock) -> None:
    """Its replies are its own; when they fail to come, the connection is lost and made again."""

    async def serve(connection: ServerConnection) -> None:
        pings = 0
        async for data in connection:
            if data == "ping" and pings < 3:
                pings += 1
                await connection.send("pong")
                await connection.send(f"news {pings}")

    heartbeat = Heartbeat(interval=10, timeout=5, message="ping", reply="pong")
    async with open_memory_server(serve) as server:
        async with open_resilient_socket(server.url, dial=server.dial, heartbeat=heartbeat, backoff=HALF) as socket:
            assert await collect(socket, 6, within=300) == ["news 1", "news 2", "news 3"] * 2
            assert socket.statistics().generation == 2


async def test_a_reply_function_that_raises_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And the message is the program's."""
    heartbeat = Heartbeat(message=b"?", reply=lambda data: data.startswith(b"!"))  # type: ignore[arg-type]
    async with open_memory_server(Script().send("text").expect(b"?").send(b"!")) as server:
        async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat) as task:
            assert await task.receive() == "text"
            await trio.sleep(25)
            assert task.statistics().messages_received == 1
    assert "the heartbeat's reply function raised" in caplog.text


async def test_silence_is_an_end(autojump_clock: trio.testing.MockClock) -> None:
    """By receive_timeout: pongs are no messages."""
    script = Script().send("a").sleep(9).send("b")
    async with open_memory_server(script) as server:
        async with connect_socket(server.url, dial=server.dial, receive_timeout=10, heartbeat=Heartbeat()) as task:
            assert await collect(task, 2, within=20) == ["a", "b"]
            with pytest.raises(SocketLostError, match="no message within 10 seconds"):
                await task.receive()
            assert round(trio.current_time(), 3) == 19


async def test_silence_that_this_side_causes_is_none(autojump_clock: trio.testing.MockClock) -> None:
    """While the buffer is full nothing can come."""
    async with open_memory_server(Script().send("a" * 1000).send("b")) as server:
        async with connect_socket(server.url, dial=server.dial, receive_timeout=10, receive_buffer=500) as task:
            await trio.sleep(100)
            assert await collect(task, 2) == ["a" * 1000, "b"]
            task.close()
            await trio.sleep(100)


async def test_a_thousand_reconnections_leak_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Neither tasks, nor sockets, nor places, nor listeners, nor memory for what has been."""

    async def greet_and_drop(connection: ServerConnection) -> None:
        await connection.send(str(len(server.connections)))
        await connection.drop()

    async with open_memory_server(greet_and_drop) as server, open_socket_manager(dial=server.dial) as manager:
        async with open_resilient_socket(server.url, manager=manager, backoff=Backoff(random=lambda: 0.0)) as socket:
            for number in range(1, 1001):
                assert await socket.receive() == str(number)
                if number == 100:
                    gc.collect()
                    before = trio.lowlevel.current_statistics().tasks_living, count(SocketTask)
            gc.collect()
            after = trio.lowlevel.current_statistics().tasks_living, count(SocketTask)
            assert all(late <= early + 8 for early, late in zip(before, after, strict=True)), (before, after)
            assert len(manager.sockets) <= 1
            assert members_of(manager)._room.statistics().tasks_waiting == 0


def count(kind: type) -> int:
    """Count what is alive of a class."""
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_a_fault_on_the_server_s_side_is_not_swallowed(autojump_clock: trio.testing.MockClock) -> None:
    """The kit's own errors come out of its block."""
    with pytest.raises(MisuseError):
        async with open_memory_server(lambda _connection: None) as server:  # type: ignore[arg-type, return-value]
            async with open_resilient_socket(server.url, dial=server.dial) as socket:
                await socket.receive()


@pytest.mark.parametrize("greets", [False, True])
async def test_words_before_an_early_close_are_received(
    autojump_clock: trio.testing.MockClock, *, greets: bool
) -> None:
    """Even when the close came before the program had the connection."""

    async def greet(task: SocketTask) -> None:
        await trio.sleep(1)

    async with open_memory_server(Script().send("news").close(1000)) as server:
        greeting = greet if greets else None
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=greeting) as socket:
            assert await socket.receive() == "news"
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()


@pytest.mark.parametrize("where", ["target", "on_connected", "a task of on_connected"])
async def test_it_may_be_closed_by_its_own_functions(autojump_clock: trio.testing.MockClock, where: str) -> None:
    """They do not wait for themselves."""

    async def target() -> str:
        if where == "target":
            await socket.aclose(4000)
        return server.url

    async def greet(task: SocketTask) -> None:
        if where == "on_connected":
            await socket.aclose(4000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.aclose, 4000)

    with trio.fail_after(1000):
        async with open_memory_server(echo) as server:
            async with open_resilient_socket(target, dial=server.dial, on_connected=greet) as socket:
                with pytest.raises(trio.EndOfChannel):
                    await socket.receive()
    assert socket.close_event == CloseEvent(code=4000)


async def test_reconnect_ends_one_thing_only(autojump_clock: trio.testing.MockClock) -> None:
    """The delay after the next failure is waited for, and what a server asks for is honoured."""
    scripts = in_turn(Script().accept(), Script().reject(503, {"Retry-After": "30"}), hold)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket:
            await socket.wait_connected()
            start = trio.current_time()
            socket.reconnect()
            await server.wait_connection(3)
            assert trio.current_time() - start >= 30


async def test_reconnect_while_the_target_is_asked(autojump_clock: trio.testing.MockClock) -> None:
    """It is asked anew; what the connection then ends with is judged as ever."""
    asked: list[float] = []

    async def target() -> str:
        asked.append(trio.current_time())
        if len(asked) == 1:
            await trio.sleep_forever()
        return "ws://a.test/"

    async with open_memory_server(Script().accept().close(4001)) as server:
        async with open_resilient_socket(target, dial=server.dial) as socket:
            await trio.testing.wait_all_tasks_blocked()
            socket.reconnect()
            with pytest.raises(GaveUpError, match="4001"):
                await socket.receive()
    assert len(asked) == 2


async def test_a_useful_connection_counts_though_it_was_ended_by_reconnect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Limits and delays start over after it."""
    scripts = in_turn(*[Script().reject(503)] * 5, hold, Script().reject(503), hold)
    async with open_memory_server(scripts) as server:
        async with open_resilient_socket(
            server.url, dial=server.dial, backoff=HALF, retry=Retry(max_seconds=60)
        ) as socket:
            await socket.wait_connected()
            await trio.sleep(3600)
            socket.reconnect()
            states = socket.on_state()
            while (await states.receive()).delay is None:
                pass
            assert socket.state.delay == 0.5
            await socket.wait_connected()


async def test_unread_messages_of_many_connections_are_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that does not receive gets no more connections when its buffer is full, and is told."""

    async def flood(connection: ServerConnection) -> None:
        for _ in range(100):
            await connection.send("x" * 1000)
        await connection.drop()

    async def greet(task: SocketTask) -> None:
        await trio.sleep(1)

    async with open_memory_server(flood) as server:
        async with open_resilient_socket(
            server.url, dial=server.dial, on_connected=greet, receive_buffer=50_000, backoff=HALF
        ) as socket:
            await trio.sleep(3600)
            assert len(server.connections) < 5
            assert socket._attempts.backlog.size < 2 * 50_000 + 2**16
            assert "go on receiving" in socket.state.why
            assert "not connecting" in caplog.text
            before = len(server.connections)
            for _ in range(100):
                await socket.receive()
            await server.wait_connection(before + 1)


@pytest.mark.parametrize("random", [lambda: 1 / 0, lambda: None, lambda: -1.0])
async def test_a_backoff_that_makes_no_sense_is_the_end(
    autojump_clock: trio.testing.MockClock, random: Callable[[], float]
) -> None:
    """Said by the program's own calls."""
    async with open_memory_server(Script().drop()) as server:
        async with open_resilient_socket(server.url, dial=server.dial, backoff=Backoff(random=random)) as socket:
            with pytest.raises(GaveUpError, match="the backoff or the retry policy raised"):
                await socket.receive()


async def test_replaced_while_it_connects(autojump_clock: trio.testing.MockClock) -> None:
    """As when it is connected: this side has closed it."""
    async with open_memory_server() as server, open_socket_manager(ReplacePrevious(), dial=server.dial) as manager:

        async def greet(task: SocketTask) -> None:
            await task.receive()

        async with open_resilient_socket(server.url, manager=manager, on_connected=greet) as socket:
            await server.wait_connection()
            await trio.testing.wait_all_tasks_blocked()
            new = manager.connect_socket(server.url)
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            with pytest.raises(SocketClosedError):
                await socket.send("x")
        await new.aclose()


async def test_what_another_socket_of_the_greeting_met_is_told(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of some other channel is an error of on_connected's own."""

    async def greet(task: SocketTask) -> None:
        raise trio.EndOfChannel("of the login service")

    async with open_memory_server(hold) as server:
        retry = Retry(max_attempts=1)
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=greet, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="of the login service"):
                await socket.receive()
    assert "on_connected raised" in caplog.text


async def test_waiting_until_it_is_delivered_tells_of_what_was_not(autojump_clock: trio.testing.MockClock) -> None:
    """And of nothing else."""
    async with open_memory_server(Script().expect("a").sleep(0.2).close(1000)) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.send("a")
            await socket.wait_delivered()
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            await socket.wait_delivered()
    async with open_memory_server(Script().stall()) as server:
        once = Retry(max_attempts=1)
        async with open_resilient_socket(server.url, dial=server.dial, timeout=1, retry=once) as socket:
            await server.wait_connection()
            await socket.send("a")
            with pytest.raises(GaveUpError):
                await socket.wait_delivered()
            with pytest.raises(GaveUpError):
                await socket.wait_delivered()


async def test_a_socket_that_closes_is_not_connected(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for a connection then waits for the next."""

    async def close_only(connection: ServerConnection) -> None:
        await connection.accept()
        if len(server.connections) == 1:
            await connection.send_raw(b"\x88\x02\x03\xf4")  # Close 1012, and no end of the connection
            await trio.sleep_forever()
        await echo(connection)

    async with open_memory_server(close_only) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=None, backoff=HALF) as socket:
            await server.wait_connection()
            await trio.sleep(1)
            await socket.wait_connected()
            await socket.send("x")
            assert await socket.receive() == "x"


async def test_the_manager_s_heartbeat_stands(autojump_clock: trio.testing.MockClock) -> None:
    """Only where nobody says is there one of its own."""
    async with open_memory_server() as server:
        heartbeat = Heartbeat(interval=3)
        async with open_socket_manager(dial=server.dial, heartbeat=heartbeat) as manager:
            for options, expected in (({}, heartbeat), ({"heartbeat": None}, None)):
                async with open_resilient_socket(server.url, manager=manager, **options) as socket:  # type: ignore[arg-type]
                    await socket.wait_connected()
                    assert socket.task is not None
                    assert session_of(socket.task).options.heartbeat == expected
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            assert socket.task is not None
            assert session_of(socket.task).options.heartbeat == Heartbeat()


async def test_a_black_hole_is_not_useful(autojump_clock: trio.testing.MockClock) -> None:
    """However long it takes to find out: what counts is the last sign of life."""
    async with open_memory_server(Script().accept().stall()) as server:
        retry = Retry(max_attempts=5)
        async with open_resilient_socket(server.url, dial=server.dial, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="5 attempts in a row"):
                await socket.receive()


async def test_figures_of_connections_that_have_gone(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is buffered in them."""
    async with open_memory_server(in_turn(Script().accept().stall(), hold)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=None) as socket:
            await socket.wait_connected()
            await socket.send("x" * 100_000)
            await socket.send("x" * 100_000)
            socket.reconnect()
            await server.wait_connection(2)
            assert socket.statistics().sockets.send_buffered == 0


async def test_a_global_listener_takes_nothing_away(autojump_clock: trio.testing.MockClock) -> None:
    """It hears what the program receives."""
    async with open_memory_server(Script().send("early")) as server, open_socket_manager(dial=server.dial) as manager:
        listener = manager.on_socket_message()
        async with open_resilient_socket(server.url, manager=manager) as socket:
            assert await socket.receive() == "early"
            assert (await listener.receive()).data == "early"
        listener.close()


async def test_an_application_s_heartbeat_waits_for_the_greeting(autojump_clock: trio.testing.MockClock) -> None:
    """Ping frames do until then."""

    async def log_in(task: SocketTask) -> None:
        await trio.sleep(50)
        await task.send("login")

    heartbeat = Heartbeat(interval=10, message="beat", reply="beaten")
    script = Script().expect("login").expect("beat").send("beaten")
    async with open_memory_server(script) as server:
        async with open_resilient_socket(
            server.url, dial=server.dial, heartbeat=heartbeat, on_connected=log_in
        ) as socket:
            await socket.wait_connected()
            await trio.sleep(15)


async def test_replies_are_no_messages(autojump_clock: trio.testing.MockClock) -> None:
    """For receive_timeout, as for the program."""

    async def serve(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send("beaten")

    heartbeat = Heartbeat(interval=10, message="beat", reply="beaten")
    async with open_memory_server(serve) as server:
        async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat, receive_timeout=30) as task:
            with pytest.raises(SocketLostError, match="no message within 30 seconds"):
                await task.receive()


async def test_the_program_s_own_pings_do_not_hide_a_dead_link(autojump_clock: trio.testing.MockClock) -> None:
    """The heartbeat's deadline is its own."""
    async with open_memory_server(Script().accept().stall()) as server:
        heartbeat = Heartbeat(interval=10, timeout=5)
        async with connect_socket(server.url, dial=server.dial, heartbeat=heartbeat) as task:
            await task.send("x" * 200_000)

            async def ping() -> None:
                with suppress(SocketLostError):
                    while True:
                        with trio.move_on_after(3):
                            await task.ping()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ping)
                with pytest.raises(SocketLostError, match="no pong"):
                    await task.receive()
                nursery.cancel_scope.cancel()
            assert trio.current_time() < 40


async def test_a_greeting_that_fails_in_several_ways_while_it_is_cancelled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no cancellation is told, and the attempt has failed."""

    async def object_to_it() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    async def greet(task: SocketTask) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(object_to_it)
            await trio.sleep_forever()

    async with open_memory_server(Script().accept().drop()) as server:
        retry = Retry(max_attempts=1)
        async with open_resilient_socket(server.url, dial=server.dial, on_connected=greet, retry=retry) as socket:
            with pytest.raises(GaveUpError, match="1 attempts in a row"):
                await socket.receive()
    assert "on the way out" in caplog.text


async def test_listeners_that_come_too_late_end_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """There is nothing more to tell."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            pass
    assert [event async for event in socket.on_undelivered()] == []


async def test_a_close_ends_the_wait_for_words(autojump_clock: trio.testing.MockClock) -> None:
    """It has a deadline of its own."""
    async with open_memory_server(Script().accept().never_answer_close()) as server:
        async with connect_socket(server.url, dial=server.dial, receive_timeout=5, close_timeout=60) as task:
            await trio.sleep(1)
            start = trio.current_time()
            await task.aclose(4000)
            assert trio.current_time() - start == pytest.approx(60)
            assert [event async for event in task.on_error()] == []


async def test_figures_never_go_down(autojump_clock: trio.testing.MockClock) -> None:
    """Not for an instant, when a connection has ended and the next has not begun."""
    seen: list[int] = []

    async def look(socket: ResilientSocket) -> None:
        while len(seen) < 1000:
            seen.append(socket.statistics().sockets.messages_sent)
            await trio.lowlevel.checkpoint()

    async with (
        open_memory_server(in_turn(Script().expect("one").drop(), hold)) as server,
        open_resilient_socket(server.url, dial=server.dial, backoff=HALF) as socket,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(look, socket)
        await socket.send("one")
        await until(socket, ConnectionState.WAITING)
    assert seen == sorted(seen)
    assert seen[-1] == 1
