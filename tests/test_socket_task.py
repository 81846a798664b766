"""`_task`: what a program does with a socket."""

from __future__ import annotations

from typing import cast

import pytest
import trio
from conftest import Serve, ServeTcp
from peer import BINARY, PONG, TEXT, URL, Peer, close_frame, echo, frame, reset, silent
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_socket_task import (
    CloseEvent,
    ConnectError,
    ErrorEvent,
    InvalidOptionsError,
    MessageEvent,
    OpenEvent,
    ReadyState,
    SocketClosedError,
    SocketLostError,
    SocketNotOpenError,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task._socket_task import session_of
from trio_socket_task.testing import SocketServer


async def refuse(peer: Peer) -> None:
    """End the connection in the handshake."""
    await peer.stream.aclose()


async def stall(peer: Peer) -> None:
    """Accept, and then do not read."""
    await peer.accept()
    await trio.sleep_forever()


async def test_repr_states_the_state(memory_socket_server: SocketServer) -> None:
    """CONNECTING, OPEN, CLOSING, CLOSED."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=memory_socket_server.dial)
        assert repr(task) == f"<SocketTask CONNECTING {URL}>"
        assert (task.protocol, dict(task.header), task.close_event, task.url) == (None, {}, None, URL)
        await task.wait_open()
        assert repr(task) == f"<SocketTask OPEN {URL}>"
        task.close()
        assert repr(task) == f"<SocketTask CLOSING {URL}>"
        await task.wait_closed()
        assert repr(task) == f"<SocketTask CLOSED {URL}>"


async def test_events_of_a_good_life(serve: Serve) -> None:
    """Listeners registered before the next checkpoint miss nothing (contract 2.1)."""

    async def script(peer: Peer) -> None:
        await peer.accept("X-A: b", then=frame(TEXT, b"hi"))
        await peer.finish()

    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(script))
        opens, messages, errors, closes = task.on_open(), task.on_message(), task.on_error(), task.on_close()
        opened = await opens.receive()
        assert isinstance(opened, OpenEvent)
        assert opened.header["x-a"] == "b"
        assert await messages.receive() == MessageEvent("hi")
        await task.aclose(3000, "done")
        event = CloseEvent(code=3000, reason="done", peer_code=3000, peer_reason="done")
        assert [one async for one in closes] == [event]
        assert [one async for one in messages] == []
        assert [one async for one in errors] == []
        assert [one async for one in task.on_close()] == [event]


async def test_events_of_a_socket_that_never_opens(serve: Serve) -> None:
    """Error, then close 1006 (contract 2.3)."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(refuse))
        with pytest.raises(ConnectError, match="during the handshake") as caught:
            await task.wait_open()
        assert [event async for event in task.on_open()] == []
        (error,) = [event async for event in task.on_error()]
        assert isinstance(error, ErrorEvent)
        assert error.err_msg == str(error.error) == str(caught.value)
        assert [event async for event in task.on_close()] == [CloseEvent(code=1006)]
        for call in (task.receive, task.ping, lambda: task.send("x")):
            with pytest.raises(SocketLostError, match="during the handshake") as lost:
                await call()
            assert isinstance(lost.value.__cause__, ConnectError)


async def test_calls_before_open(serve: Serve, autojump_clock: MockClock) -> None:
    """Send and ping raise; receive and iteration wait."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(silent))
        with pytest.raises(SocketNotOpenError, match=r"await task\.wait_open"):
            await task.send("x")
        with pytest.raises(SocketNotOpenError):
            task.send_nowait("x")
        with pytest.raises(SocketNotOpenError):
            await task.ping()
        with trio.move_on_after(0.01) as scope:
            await task.receive()
        assert scope.cancelled_caught
        assert task.ready_state is ReadyState.CONNECTING
        task.close()


async def test_calls_after_close(memory_socket_server: SocketServer) -> None:
    """This side closed it: SocketClosedError; reading ends; closing again changes nothing."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        await task.aclose(4000, "first")
        await task.aclose(4001, "second")
        task.close(4002)
        assert (await task.wait_closed()).code == 4000
        for call in (task.ping, lambda: task.send("x")):
            with pytest.raises(SocketClosedError) as caught:
                await call()
            assert caught.value.close_event.code == 4000
        with pytest.raises(SocketClosedError):
            task.send_nowait("x")
        with assert_checkpoints(), pytest.raises(trio.EndOfChannel):
            await task.receive()
        assert (await task.wait_open()).header == task.header


@pytest.mark.parametrize("data", [None, 5, [b"x"]])
async def test_data_of_another_type_harms_nothing(memory_socket_server: SocketServer, data: object) -> None:
    """A TypeError, and the socket goes on (contract 2.9)."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        with pytest.raises(TypeError):
            await task.send(cast("str", data))
        with pytest.raises(TypeError):
            task.send_nowait(cast("str", data))
        with pytest.raises(InvalidOptionsError):
            await task.send("\ud800")
        await task.send("fine")
        assert await task.receive() == "fine"


@pytest.mark.parametrize(("code", "reason"), [(1001, ""), (999, ""), (1000, "汉" * 42)])
async def test_a_refused_close_harms_nothing(memory_socket_server: SocketServer, code: int, reason: str) -> None:
    """The socket stays open and usable (contract 2.8)."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        with pytest.raises(InvalidOptionsError):
            task.close(code, reason)
        with pytest.raises(InvalidOptionsError):
            await task.aclose(code, reason)
        await task.send("fine")
        assert await task.receive() == "fine"
        task.close(1000, "汉" * 41)
        assert (await task.wait_closed()).peer_reason == "汉" * 41


async def test_send_waits_while_the_buffer_is_full(serve: Serve, autojump_clock: MockClock) -> None:
    """And send_nowait raises; a cancelled send was not queued (hazard R2)."""
    got: list[bytes] = []
    go = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        while (item := await peer.read_frame())[0] == BINARY:
            got.append(item[1])
        await peer.send(close_frame(1000))
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script, lockstep=True), send_buffer=1000) as task:
        await task.send(b"1" * 2000)
        with pytest.raises(trio.WouldBlock):
            task.send_nowait(b"no")
        with trio.CancelScope() as scope:
            scope.cancel()
            await task.send(b"cancelled")
        with trio.move_on_after(0.01) as scope:
            await task.send(b"cancelled")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.send, b"2")
            await wait_all_tasks_blocked()
            go.set()
        await task.send(b"3")
    assert got == [b"1" * 2000, b"2", b"3"]


async def test_a_bytearray_is_sent_as_it_was(serve: Serve) -> None:
    """Whatever its owner does with it while `send` waits for room."""
    go = trio.Event()
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        got.extend([(await peer.read_frame())[1] for _ in range(2)])
        await peer.finish()

    async with connect_socket(URL, dial=serve(script, lockstep=True), send_buffer=1) as task:
        await task.send(b"x")
        data = bytearray(b"good")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.send, data)
            await wait_all_tasks_blocked()
            data[:] = b"evil, and longer"
            go.set()
    assert got == [b"x", b"good"]


async def test_a_cancelled_receive_loses_nothing_beside_a_listener(serve: Serve, autojump_clock: MockClock) -> None:
    """What comes between two calls is kept for the next, though a listener has it as well."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(1)
        await peer.send(frame(TEXT, b"between"))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        with trio.move_on_after(0.1):
            await task.receive()
        async with task.on_message() as listener:
            await trio.sleep(2)
            assert await task.receive() == "between"
            assert await listener.receive() == MessageEvent("between")


async def test_send_nowait(memory_socket_server: SocketServer) -> None:
    """It queues without a checkpoint."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        for number in range(3):
            task.send_nowait(f"{number}")
        assert [await task.receive() for _ in range(3)] == ["0", "1", "2"]


async def test_every_listener_has_every_message_while_the_socket_is_read_too(
    memory_socket_server: SocketServer,
) -> None:
    """Reading the socket and listening to it do not take messages from each other."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        await task.send("0")
        assert await task.receive() == "0"
        async with task.on_message() as one, task.on_message() as two:
            await task.send("1")
            assert await task.receive() == "1"
            assert (await one.receive(), await two.receive()) == (MessageEvent("1"), MessageEvent("1"))


async def test_a_greeting_is_not_lost(serve: Serve, autojump_clock: MockClock) -> None:
    """What comes between the opening and the first reader waits for it (contract 2.2)."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"hello"))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        await trio.sleep(10)
        async with task.on_message() as listener:
            assert await listener.receive() == MessageEvent("hello")
    async with connect_socket(URL, dial=serve(script)) as task:
        await trio.sleep(10)
        assert await task.receive() == "hello"


@pytest.mark.parametrize("end", ["drop", "close"])
async def test_r5_a_ping_under_way_when_the_connection_ends(serve: Serve, end: str) -> None:
    """It raises at once."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        if end == "close":
            await peer.send(close_frame(1011))
        await peer.stream.aclose()

    async with connect_socket(URL, dial=serve(script)) as task:
        with pytest.raises(SocketLostError):
            await task.ping()


async def test_a_pong_is_seen_at_once(serve: Serve, autojump_clock: MockClock) -> None:
    """Also just after a message, when the program is expected back to read for itself."""
    async with connect_socket(URL, dial=serve(echo)) as task:
        for in_order in (False, True):
            await task.send("x")
            await task.receive()
            assert await session_of(task).ping(in_order=in_order) == 0


async def test_ping_measures_the_round_trip(serve: Serve, autojump_clock: MockClock) -> None:
    """In seconds; messages before the pong are kept."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        _, payload = await peer.read_frame()
        await trio.sleep(0.5)
        await peer.send(frame(TEXT, b"first"), frame(PONG, payload))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert await task.ping() == pytest.approx(0.5)
        assert await task.receive() == "first"
        with trio.move_on_after(0.1) as scope:
            await task.ping()
        assert scope.cancelled_caught


class Others:
    """A task that counts how often it could run."""

    turns = 0

    async def run(self) -> None:
        while True:
            self.turns += 1
            await trio.lowlevel.checkpoint()


async def test_a_busy_reader_lets_others_run(serve: Serve) -> None:
    """Every call is a cancel point; others run at least once per 32 messages, or 1 MiB (fairness)."""
    for count, size in ((3300, 1), (20, 2**18)):

        async def script(peer: Peer, count: int = count, size: int = size) -> None:
            await peer.accept()
            await peer.send(*[frame(BINARY, b"x" * size)] * count)
            await peer.finish()

        others = Others()
        async with connect_socket(URL, dial=serve(script)) as task, trio.open_nursery() as nursery:
            await wait_all_tasks_blocked()
            await task.receive()
            nursery.start_soon(others.run)
            await trio.lowlevel.checkpoint()
            before = others.turns
            for _ in range(count - 2):
                await task.receive()
            assert others.turns - before >= (count - 2) * max(1, size >> 15) // 32 - 1
            with trio.CancelScope() as scope:
                scope.cancel()
                await task.receive()
            assert scope.cancelled_caught
            await task.receive()
            nursery.cancel_scope.cancel()


async def test_a_busy_sender_lets_others_run(memory_socket_server: SocketServer) -> None:
    """A burst does not hold up the other tasks, nor its own writer."""
    async with connect_socket(URL, dial=memory_socket_server.dial) as task:
        others = Others()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others.run)
            await trio.lowlevel.checkpoint()
            before = others.turns
            for _ in range(3200):
                await task.send("x")
            assert others.turns - before >= 3200 // 32 - 1
            nursery.cancel_scope.cancel()


async def test_nothing_follows_the_close_of_another_task_that_a_send_let_run(serve: Serve) -> None:
    """Whichever of the two comes first."""
    rest = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_close() == (4000, "")
        await peer.send(close_frame(4000))
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.stream.send_eof()
        rest.append(peer.leftover + b"".join([data async for data in peer.stream]))

    refused = 0
    for _ in range(40):
        async with connect_socket(URL, dial=serve(script)) as task, trio.open_nursery() as nursery:
            for _ in range(31):
                await task.send("x")
            nursery.start_soon(task.aclose, 4000)
            try:
                await task.send("perhaps one too many")
            except SocketClosedError:
                refused += 1
    assert refused
    assert rest == [b""] * 40


async def test_c9_every_way_out_of_an_iteration_is_clean(serve: Serve) -> None:
    """Break, return, exception, cancellation: the socket goes on, or closes with its block."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*[frame(TEXT, b"%d" % number) for number in range(10)])
        await peer.finish()

    async def leave_by_return() -> str | bytes:
        async with connect_socket(URL, dial=serve(script)) as task:
            async for data in task:
                return data
        raise AssertionError

    assert await leave_by_return() == "0"
    with pytest.raises(KeyError):
        async with connect_socket(URL, dial=serve(script)) as task:
            async for _ in task:
                raise KeyError
    with trio.CancelScope() as scope:
        async with connect_socket(URL, dial=serve(script)) as task:
            async for _ in task:
                scope.cancel()
    assert scope.cancelled_caught
    async with connect_socket(URL, dial=serve(script)) as task:
        async for _ in task:
            break
        assert await task.receive() == "1"


async def test_it_is_a_trio_channel(memory_socket_server: SocketServer) -> None:
    """And an async context manager, as every Trio resource."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=memory_socket_server.dial)
        await task.wait_open()
        assert isinstance(task, trio.abc.Channel)
        async with task:
            pass
        assert task.ready_state is ReadyState.CLOSED


@pytest.mark.needs("files as sockets")
async def test_a_send_that_cannot_be_written_raises(serve_tcp: ServeTcp) -> None:
    """Where the write is tried at once, its failure is the sender's to hear of."""
    gone = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.send(frame(TEXT, b"last"))
        assert isinstance(peer.stream, trio.SocketStream)
        await reset(peer.stream)
        gone.set()

    async with connect_socket(await serve_tcp(script)) as task:
        await task.send("go")
        assert await task.receive() == "last"
        await gone.wait()
        with pytest.raises(SocketLostError):
            await task.send("lost")
        assert task.statistics().messages_sent == 1


async def test_a_program_that_reads_for_itself_over_tcp(socket_server: SocketServer) -> None:
    """Many round trips, one at a time, and the background reader in between."""
    async with connect_socket(socket_server.url) as task:
        for number in range(200):
            await task.send(str(number))
            assert await task.receive() == str(number)
            if number % 50 == 0:
                assert await task.ping() < 10


async def test_receive_nowait(serve: Serve, autojump_clock: MockClock) -> None:
    """What is here comes, in its order; what is not here yet, would block; and the end is that of `receive`."""
    more = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"1") + frame(BINARY, b"2"))
        await more.wait()
        await peer.send(frame(TEXT, b"3"), close_frame(1000))
        await peer.read_end()

    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=serve(script))
        with pytest.raises(trio.WouldBlock):
            task.receive_nowait()
        await task.wait_open()
        assert task.receive_nowait() == "1"
        assert task.receive_nowait() == b"2"
        with pytest.raises(trio.WouldBlock):
            task.receive_nowait()
        more.set()
        await task.wait_closed()
        assert task.receive_nowait() == "3"
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                task.receive_nowait()


async def test_receive_nowait_beside_a_listener_gets_what_comes_from_then_on(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """Though the listener was there before, and would have had the messages for itself."""
    async with connect_socket(URL, dial=serve(echo)) as task:
        listener = task.on_message()
        with pytest.raises(trio.WouldBlock):
            task.receive_nowait()
        await task.send("x")
        assert (await listener.receive()).data == "x"
        assert task.receive_nowait() == "x"


async def test_a_program_that_only_asks_gets_everything(serve: Serve, autojump_clock: MockClock) -> None:
    """The background task reads for it; a socket that is lost says so."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(100):
            await peer.send(frame(TEXT, b"%d" % number))
            await trio.sleep(0.01)
        await peer.send(close_frame(4000, "enough"))
        await peer.read_end()

    received = []
    with pytest.raises(SocketLostError, match="enough"):
        async with connect_socket(URL, dial=serve(script)) as task:
            while True:
                try:
                    received.append(task.receive_nowait())
                except trio.WouldBlock:
                    await trio.sleep(0.001)
    assert received == [str(number) for number in range(100)]


async def test_receive_nowait_makes_room(serve: Serve, autojump_clock: MockClock) -> None:
    """A socket that stopped reading goes on."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*[frame(BINARY, bytes(50))] * 10)
        await peer.finish()

    async with connect_socket(URL, dial=serve(script), receive_buffer=100) as task:
        taken = 0
        while taken < 10:
            await trio.sleep(1)
            while True:
                try:
                    taken += len(task.receive_nowait()) // 50
                except trio.WouldBlock:
                    break


async def test_facts_of_a_connection(serve: Serve, serve_tcp: ServeTcp) -> None:
    """None before it is open, and where a stream has none."""
    async with open_socket_manager() as manager:
        task = manager.connect_socket(await serve_tcp(echo))
        assert (task.local_address, task.remote_address, task.tls) == (None, None, None)
        assert task.statistics().dial_seconds is None
        await task.wait_open()
        assert isinstance(task.local_address, tuple)
        assert isinstance(task.remote_address, tuple)
        assert task.url == f"ws://{task.remote_address[0]}:{task.remote_address[1]}/"
        assert task.tls is None
        other = manager.connect_socket(URL, dial=serve(echo))
        await other.wait_open()
        assert (other.local_address, other.remote_address, other.tls) == (None, None, None)
