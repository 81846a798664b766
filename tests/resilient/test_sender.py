"""`_resilient._sender` and `_undelivered`: the queue of messages, when it is full, and reports of what was given up."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from resilient.helpers import until

from trio_socket_task import (
    Acknowledgement,
    ConnectionState,
    GaveUpError,
    Heartbeat,
    Outbox,
    OutboxFullError,
    ResilientSocket,
    Retry,
    SocketClosedError,
    open_resilient_socket,
)
from trio_socket_task.testing import Script, collect, echo, hold, in_turn, open_memory_server

pytestmark = pytest.mark.usefixtures("no_socket_leaks")


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


async def test_a_message_that_is_sent_again_is_asked_for_its_id_once(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever the program's function does, it does once."""
    asked = []

    def sent(data: str | bytes) -> str | bytes:
        asked.append(data)
        return data

    outbox = Outbox(resend=True, proof=Acknowledgement(sent=sent, received=lambda data: data))
    async with open_memory_server(in_turn(Script().expect("a").drop(), echo)) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=outbox) as socket:
            await socket.send("a")
            await socket.wait_delivered()
            assert len(server.connections) == 2
    assert asked == ["a"]


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
        async with open_resilient_socket(server.url, dial=server.dial, outbox=Outbox(max_age=1)) as other:
            await server.wait_connection()
            await full_outbox(other)
            await trio.sleep(2)
            assert caplog.records.pop().getMessage().endswith("on_undelivered(): 2 (expired)")
    assert [record.getMessage() for record in caplog.records] == [
        f"{socket._states.label}: given up and not listened to by on_undelivered(): 2 (stopped)"
    ]


async def test_losses_of_the_first_instant_are_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Though the socket had no time to begin: it need not stop for that."""
    outbox = Outbox(max_messages=2, when_full="drop_oldest")
    async with open_memory_server(hold) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=outbox) as socket:
            for number in range(3):
                socket.send_nowait(str(number))
            await trio.sleep(5)
            assert "given up and not listened to by on_undelivered(): 1 (dropped)" in caplog.text


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


async def test_senders_that_wait_for_room_are_told_of_the_close(autojump_clock: trio.testing.MockClock) -> None:
    """The one whose turn it is, and the one behind it."""
    refused: list[str] = []

    async def send(data: str) -> None:
        with pytest.raises(SocketClosedError):
            await socket.send(data)
        refused.append(data)

    async with open_memory_server(Script().stall()) as server:
        async with open_resilient_socket(server.url, dial=server.dial, outbox=Outbox(max_messages=2)) as socket:
            await server.wait_connection()
            await full_outbox(socket)
            async with trio.open_nursery() as nursery:
                for data in ("c", "d"):
                    nursery.start_soon(send, data)
                    await trio.testing.wait_all_tasks_blocked()
                socket.close()
        assert refused == ["c", "d"]
        assert socket.statistics().undelivered == 2


async def test_a_sender_that_lets_others_run_sees_their_close(autojump_clock: trio.testing.MockClock) -> None:
    """What it was about to send is not taken any more."""
    sent: list[int] = []
    before: list[int] = []

    async def close() -> None:
        socket.close()
        before.extend(sent)

    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket, trio.open_nursery() as nursery:
            await socket.wait_connected()
            nursery.start_soon(close)
            with pytest.raises(SocketClosedError):
                for number in range(1000):
                    await socket.send(str(number))
                    sent.append(number)
    assert sent == before


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


async def test_waiting_until_it_is_delivered_tells_of_what_was_not(autojump_clock: trio.testing.MockClock) -> None:
    """And of nothing else."""
    async with open_memory_server(Script().expect("a").sleep(0.2).close(1000)) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.send("a")
            await socket.wait_delivered()
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
            await socket.wait_delivered()
    async with open_memory_server(Script().sleep(1).expect("a")) as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            await socket.wait_connected()
            await socket.send("a")
            socket.close()
            assert socket.statistics().unconfirmed == 1
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


async def test_listeners_that_come_too_late_end_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """There is nothing more to tell."""
    async with open_memory_server() as server:
        async with open_resilient_socket(server.url, dial=server.dial) as socket:
            pass
    assert [event async for event in socket.on_undelivered()] == []


async def test_what_has_waited_for_too_long_is_not_given_to_a_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Even where the program has let no other task run, so that the message was not given up in time."""

    class Given:
        def send_waiting(self) -> None:
            given.append(len(sender.queue.waiting))

    given: list[int] = []
    async with open_resilient_socket("ws://a.test/", dial=never, outbox=Outbox(max_age=10)) as socket:
        undelivered = socket.on_undelivered()
        await socket.send("old")
        sender = socket._sender
        autojump_clock.jump(11)
        sender.begin_connection(Given())  # type: ignore[arg-type]
        sender.delivery = None
        assert given == [0]
        assert (await undelivered.receive()).why == "expired"


async def never(_host: str, _port: int) -> trio.abc.Stream:
    """Dial a host that does not answer."""
    await trio.sleep_forever()
