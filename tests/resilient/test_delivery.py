"""What counts as delivered, and what becomes of the rest: peers that speak raw frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from itertools import pairwise
from typing import cast

import pytest
import trio
from conftest import Serve
from peer import CLOSE, PING, PONG, TEXT, URL, Peer, close_frame, frame
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import (
    Acknowledgement,
    Backoff,
    ConnectionState,
    Heartbeat,
    Outbox,
    OutboxFullError,
    SocketTask,
    UndeliveredEvent,
    open_resilient_socket,
)
from trio_socket_task._resilient import _delivery
from trio_socket_task._resilient._label import SocketLabel
from trio_socket_task._resilient._proof import MessageIds, ProofKind, ProofMonitor
from trio_socket_task._session._session import Session
from trio_socket_task.testing import collect, hold, open_memory_server, open_test_server

SOON = Backoff(random=lambda: 0.01)


class Told:
    """A peer that notes messages and answers the rest, as `answer` says."""

    def __init__(self, answer: Callable[[Peer, int, bytes], Awaitable[None]] | None = None) -> None:
        self.messages: list[str] = []
        self._answer = answer

    async def __call__(self, peer: Peer) -> None:
        await peer.accept()
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == TEXT:
                self.messages.append(payload.decode())
            elif self._answer is not None:
                await self._answer(peer, opcode, payload)
            else:
                await peer.send(frame(PONG if opcode == PING else opcode, payload))
            if opcode == CLOSE:
                await peer.stream.aclose()
                return


async def crossing(peer: Peer) -> None:
    """Read nothing, and close when told to by time."""
    await peer.accept()
    await trio.sleep(1)
    with suppress(trio.BrokenResourceError):
        await peer.send(close_frame(1012))
    await trio.sleep(100)


async def test_a_close_that_crosses_ours_proves_nothing(autojump_clock: MockClock, serve: Serve) -> None:
    """What this side was closing behind is given up and reported, or sent again where it reconnects."""
    async with open_resilient_socket(URL, dial=serve(crossing)) as socket:
        undelivered = socket.on_undelivered()
        await socket.send("unread")
        await trio.sleep(0.9)
        await socket.aclose()
        assert [event async for event in undelivered] == [UndeliveredEvent(data="unread", why="lost")]
    told = Told()
    async with open_resilient_socket(
        URL, dial=serve(crossing, told), outbox=Outbox(resend=True), backoff=SOON
    ) as socket:
        await socket.send("unread")
        await trio.sleep(0.95)
        socket.reconnect()
        await socket.send("later")
        await socket.wait_delivered()
    assert told.messages == ["unread", "later"]


@pytest.mark.parametrize("most", [1, 32])
async def test_a_slow_link_is_waited_for(
    autojump_clock: MockClock, serve: Serve, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A round trip may take longer than the time after which another ping is sent, of which there is a most."""
    monkeypatch.setattr(_delivery, "_MAX_PINGS", most)

    async def answer(peer: Peer, opcode: int, payload: bytes) -> None:
        pong = frame(PONG if opcode == PING else opcode, payload)
        nursery.start_soon(send_later, peer, 25.0 if opcode == PING else 0.0, pong)
        if opcode == CLOSE:
            await trio.sleep(1)

    async def send_later(peer: Peer, seconds: float, data: bytes) -> None:
        await trio.sleep(seconds)
        async with turn:
            await peer.send(data)

    turn = trio.Lock()

    async with trio.open_nursery() as nursery:
        async with open_resilient_socket(URL, dial=serve(Told(answer)), heartbeat=Heartbeat(timeout=60)) as socket:
            for number in range(30):
                await socket.send(str(number))
            await socket.wait_delivered()
            assert socket.statistics().generation == 1
            assert trio.current_time() < 180
        nursery.cancel_scope.cancel()


async def test_a_peer_that_answers_the_latest_ping_only_is_alive(autojump_clock: MockClock, serve: Serve) -> None:
    """Whichever of heartbeat and proof that is (RFC 6455 section 5.5.3)."""
    latest: list[bytes] = []

    async def answer(peer: Peer, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            latest[:] = [payload]
        else:
            await peer.send(frame(opcode, payload))

    async def answer_each_second(peer: Peer) -> None:
        while True:
            await trio.sleep(1)
            if latest:
                await peer.send(frame(PONG, latest.pop()))

    async def both(peer: Peer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_each_second, peer)
            await told(peer)
            nursery.cancel_scope.cancel()

    told = Told(answer)
    async with open_resilient_socket(URL, dial=serve(both), heartbeat=Heartbeat(interval=2, timeout=3)) as socket:
        for number in range(200):
            await socket.send(str(number))
            await trio.sleep(0.5)
        await socket.wait_delivered()
        assert socket.statistics().generation == 1
    assert len(told.messages) == 200


async def test_what_no_connection_has_taken_is_not_lost_with_it(autojump_clock: MockClock, serve: Serve) -> None:
    """A full connection that dies leaves what waits in front of it to the next."""

    async def read_little(peer: Peer) -> None:
        await peer.accept()
        first.extend([(await peer.read_frame())[1].split()[0].decode() for _ in range(3)])
        await trio.sleep(1)
        await peer.stream.aclose()

    first: list[str] = []
    told = Told()
    dial = serve(read_little, told, lockstep=True)
    async with open_resilient_socket(URL, dial=dial, send_buffer=1000, backoff=SOON) as socket:
        undelivered = socket.on_undelivered()
        for number in range(20):
            await socket.send(f"{number} " + "x" * 600)
        await socket.wait_delivered()
        figures = socket.statistics()
        lost = [str(event.data).split()[0] for event in await collect(undelivered, figures.undelivered)]
    second = [message.split()[0] for message in told.messages]
    assert [*lost, *second] == [str(number) for number in range(20)]
    assert first == lost[:3]
    assert len(lost) < 10


async def test_waiting_senders_keep_their_order(autojump_clock: MockClock, serve: Serve) -> None:
    """First come, first served; a newcomer is not served before them."""
    told = Told()

    async def slow_dial(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep(5)
        return await serve(told)(host, port)

    async with open_resilient_socket(URL, dial=slow_dial, outbox=Outbox(max_messages=1)) as socket:
        await socket.send("0")
        async with trio.open_nursery() as nursery:
            for number in range(1, 6):
                nursery.start_soon(socket.send, str(number))
                await wait_all_tasks_blocked()
            with pytest.raises(trio.WouldBlock):
                socket.send_nowait("too early")
        await socket.wait_delivered()
    assert told.messages == list("012345")


async def test_every_report_reaches_a_reader(autojump_clock: MockClock, serve: Serve) -> None:
    """However many small messages are given up at once."""
    async with open_resilient_socket(URL, dial=serve(Told()), outbox=Outbox(max_bytes=10_000)) as socket:
        undelivered = socket.on_undelivered()
        for _ in range(10_000):
            socket.send_nowait("x")
        socket._supervisor.abort()
        assert len([event async for event in undelivered]) == socket.statistics().undelivered > 9000


async def test_old_messages_expire_in_time(autojump_clock: MockClock) -> None:
    """Though nobody calls anything."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError("down")

    async with open_resilient_socket(URL, dial=dial, outbox=Outbox(max_age=10)) as socket:
        undelivered = socket.on_undelivered()
        await trio.sleep(3)
        await socket.send("old")
        assert (await undelivered.receive()).why == "expired"
        assert trio.current_time() == 13
        assert socket.state.state in {ConnectionState.WAITING, ConnectionState.CONNECTING}


async def test_an_acknowledgement_behind_another_message_is_seen(autojump_clock: MockClock, serve: Serve) -> None:
    """Though both have come at once."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.send(frame(TEXT, b"news"), frame(TEXT, b"1"))
        await peer.finish()

    outbox = Outbox(proof=Acknowledgement(sent=lambda data: data, received=lambda data: data))
    async with open_resilient_socket(URL, dial=serve(script), outbox=outbox) as socket:
        await socket.send("1")
        with trio.fail_after(5):
            await socket.wait_delivered()
        assert socket.statistics().delivered == 1


async def test_an_application_that_has_acknowledged_anything_may_take_its_time(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of the second message, which waits for longer than a first acknowledgement may take."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await trio.sleep(1)
        await peer.send(frame(TEXT, b"1"))
        await peer.finish()

    proof = Acknowledgement(sent=lambda data: data, received=lambda data: data)
    outbox = Outbox(proof=proof, proof_timeout=5)
    async with open_resilient_socket(URL, dial=serve(script), heartbeat=None, outbox=outbox) as socket:
        await socket.send("1")
        await socket.wait_delivered()
        await socket.send("2")
        await trio.sleep(20)
    assert "acknowledged" not in caplog.text


async def test_an_application_that_acknowledges_nothing_is_told_of_once(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """When its time is over."""
    proof = Acknowledgement(sent=lambda data: data, received=lambda _data: None)
    outbox = Outbox(proof=proof, proof_timeout=5)
    async with open_resilient_socket(URL, dial=serve(Told()), outbox=outbox) as socket:
        await socket.wait_connected()
        await socket.send("1")
        await trio.sleep(4.9)
        assert not caplog.records
        for number in range(2, 20):
            await socket.send(str(number))
            await trio.sleep(1)
        assert [record.getMessage().partition(": ")[2][:46] for record in caplog.records] == [
            "no message was acknowledged within 5 seconds, "
        ]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_message_has_all_its_time_to_be_acknowledged(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture, *, waits: bool
) -> None:
    """From when it is sent, also where it has waited for a connection."""
    proof = Acknowledgement(sent=lambda data: data, received=lambda _data: None)
    outbox = Outbox(proof=proof, proof_timeout=5)
    await trio.sleep(100)
    async with open_resilient_socket(URL, dial=serve(Told()), outbox=outbox) as socket:
        if not waits:
            await socket.wait_connected()
        await socket.send("1")
        await trio.sleep(4.9)
        assert not caplog.records
        await trio.sleep(0.2)
        assert "no message was acknowledged within 5 seconds" in caplog.text


@pytest.mark.needs("files as sockets")
@pytest.mark.parametrize("waits", [False, True])
async def test_a_message_counts_as_written_at_once(*, waits: bool) -> None:
    """Where that is the proof, nothing that comes later is waited for; also where it has waited for a connection."""
    async with open_test_server(hold) as server:
        outbox = Outbox(proof="written")
        async with open_resilient_socket(server.url, heartbeat=None, outbox=outbox) as socket:
            if waits:
                await socket.send("1")
            with trio.fail_after(30):
                await socket.wait_connected()
            if not waits:
                await socket.send("1")
            assert socket.statistics().delivered == 1


async def say_nothing(_peer: Peer, _opcode: int, _payload: bytes) -> None:
    """Answer nothing, not even a Close."""
    await trio.lowlevel.checkpoint()


async def test_what_is_sent_meanwhile_gives_a_pong_no_more_time(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts from when the first Ping was written."""
    outbox = Outbox(proof_timeout=5)
    with trio.move_on_after(6.5):
        async with open_resilient_socket(URL, dial=serve(Told(say_nothing)), heartbeat=None, outbox=outbox) as socket:
            for number in range(20):
                await socket.send(str(number))
                await trio.sleep(1)
    assert "no pong came" in caplog.text


async def test_the_first_pong_lets_more_be_sent(autojump_clock: MockClock, serve: Serve) -> None:
    """It is not waited for that of a Ping which followed because the first was slow."""
    asked: list[bytes] = []

    async def answer_late(peer: Peer, opcode: int, payload: bytes) -> None:
        asked.append(payload)
        if opcode == PING and len(asked) == 2:
            await trio.sleep(2)
            await peer.send(frame(PONG, asked[0]))

    told = Told(answer_late)
    with trio.move_on_after(15):
        outbox = Outbox(proof_timeout=100)
        async with open_resilient_socket(URL, dial=serve(told), heartbeat=None, outbox=outbox) as socket:
            for number in range(20):
                await socket.send(str(number))
            await trio.sleep_forever()
    assert len(told.messages) == 20


async def test_connections_that_were_given_nothing_say_nothing_of_pings(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """However many are lost in a row."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    with trio.move_on_after(10):
        async with open_resilient_socket(URL, dial=serve(script), backoff=SOON):
            await trio.sleep_forever()
    assert "in a row were lost" not in caplog.text


async def test_connections_lost_on_their_first_ping_are_told_of(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Some servers cannot bear one."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        while (await peer.read_frame())[0] != PING:
            pass
        await peer.stream.aclose()

    with trio.move_on_after(10):
        async with open_resilient_socket(URL, dial=serve(script), backoff=SOON, outbox=Outbox(resend=True)) as socket:
            await socket.send("x")
            await trio.sleep_forever()
    assert "3 connections in a row were lost while the first pong was awaited" in caplog.text


async def test_what_is_to_be_sent_again_expires_in_time_too(autojump_clock: MockClock, serve: Serve) -> None:
    """Though no connection comes any more."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.stream.aclose()

    async def hang(_peer: Peer) -> None:
        await trio.sleep_forever()

    outbox = Outbox(resend=True, max_age=10)
    async with open_resilient_socket(URL, dial=serve(script, hang), timeout=100, outbox=outbox) as socket:
        undelivered = socket.on_undelivered()
        await socket.wait_connected()
        await socket.send("x")
        with trio.fail_after(11):
            assert (await undelivered.receive()).why == "expired"


async def test_what_a_later_connection_has_written_counts_too(autojump_clock: MockClock, serve: Serve) -> None:
    """Its writer counts anew."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(3):
            await peer.read_frame()
        await peer.stream.aclose()

    outbox = Outbox(proof="written")
    async with open_resilient_socket(URL, dial=serve(script, Told()), backoff=SOON, outbox=outbox) as socket:
        await socket.wait_connected()
        for number in range(3):
            await socket.send(str(number))
        async with socket.on_state() as events:
            async for event in events:
                if event.generation == 2 and event.state is ConnectionState.CONNECTED:
                    break
        await socket.send("x")
        with trio.fail_after(5):
            await socket.wait_delivered()
        assert socket.statistics().delivered == 4


async def test_an_id_that_cannot_be_looked_up_is_none(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells, and messages are sent and received all the same."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"hello"))
        await peer.finish()

    def name(data: str | bytes) -> Hashable:
        return cast("Hashable", [data])

    outbox = Outbox(proof=Acknowledgement(sent=name, received=name))
    async with open_resilient_socket(URL, dial=serve(script), outbox=outbox) as socket:
        await socket.send("x")
        assert await socket.receive() == "hello"
    assert "unhashable" in caplog.text


@pytest.mark.parametrize("heartbeat", [Heartbeat(interval=60, timeout=60), None])
async def test_a_silent_peer_is_given_all_there_is_only_where_nothing_else_finds_it_out(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture, heartbeat: Heartbeat | None
) -> None:
    """It may be gone, which a heartbeat tells; without one it may not know of Pings."""
    told = Told(say_nothing)
    with trio.move_on_after(30):
        outbox = Outbox(proof_timeout=5)
        async with open_resilient_socket(URL, dial=serve(told), heartbeat=heartbeat, outbox=outbox) as socket:
            for number in range(20):
                await socket.send(str(number))
            await trio.sleep_forever()
    assert len(told.messages) == (20 if heartbeat is None else 8)
    assert ("no pong came" in caplog.text) is (heartbeat is None)


async def test_a_peer_that_speaks_and_answers_no_ping_is_given_all_there_is(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not gone, so there is nothing for a heartbeat to find out."""

    async def speak(peer: Peer, _opcode: int, _payload: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # where the client has left in the same step
            await peer.send(frame(TEXT, b"news"))

    told = Told(speak)
    with trio.move_on_after(30):
        heartbeat, outbox = Heartbeat(interval=60, timeout=60), Outbox(proof_timeout=5)
        async with open_resilient_socket(URL, dial=serve(told), heartbeat=heartbeat, outbox=outbox) as socket:
            for number in range(20):
                await socket.send(str(number))
            await trio.sleep_forever()
    assert len(told.messages) == 20
    assert "no pong came" in caplog.text


def test_lost_proofs_are_told_of_once_and_not_too_soon(caplog: pytest.LogCaptureFixture) -> None:
    """The third connection in a row is no chance any more, unless there ever was a proof, or the application proves."""
    label = SocketLabel(URL)
    monitor = ProofMonitor(ProofKind.PONG, 10, label)
    for expected in (0, 0, 1, 1):
        monitor.note_lost_connection()
        assert len(caplog.records) == expected
    proven, by_application = (ProofMonitor(kind, 10, label) for kind in (ProofKind.PONG, ProofKind.ACKNOWLEDGEMENT))
    proven.note_proof()
    for _ in range(4):
        proven.note_lost_connection()
        by_application.note_lost_connection()
    assert len(caplog.records) == 1


async def test_the_first_messages_of_a_connection_are_asked_for_in_time(autojump_clock: MockClock) -> None:
    """Few may be under way at first; so it is asked how far the server has read before they all are."""
    async with open_memory_server() as server, open_resilient_socket(server.url, dial=server.dial) as socket:
        await socket.wait_connected()
        started = trio.current_time()
        for _ in range(200):
            await socket.send("x")
            assert await socket.receive() == "x"
        assert trio.current_time() == started
        assert 0 < socket.statistics().unconfirmed < 200


def test_messages_have_no_ids_without_an_acknowledgement() -> None:
    """Neither those that go nor those that come."""
    ids = MessageIds(None, SocketLabel(URL))
    assert (ids.of_sent("x", repr), ids.of_received("x", repr)) == ("None", "None")


@pytest.mark.parametrize(("messages", "seconds"), [(3, 0.05), (4, 0)])
async def test_less_than_half_of_what_may_be_under_way_may_wait_to_be_asked_for(
    autojump_clock: MockClock, serve: Serve, messages: int, seconds: float
) -> None:
    """For more messages, to which one ping is enough."""
    asked: list[float] = []

    async def answer(peer: Peer, opcode: int, payload: bytes) -> None:
        asked.append(trio.current_time())
        await peer.send(frame(PONG if opcode == PING else opcode, payload))

    async with open_resilient_socket(URL, dial=serve(Told(answer)), heartbeat=None) as socket:
        await socket.wait_connected()
        started = trio.current_time()
        for _ in range(messages):
            socket.send_nowait("x")
        await socket.wait_delivered()
    assert asked[0] - started == pytest.approx(seconds)


async def test_each_pong_lets_twice_as_many_be_under_way(autojump_clock: MockClock, serve: Serve) -> None:
    """From eight on, as many as the outbox may hold at most."""
    given: list[int] = []

    async def answer(peer: Peer, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            await trio.sleep(1)
            given.append(len(told.messages))
        await peer.send(frame(PONG if opcode == PING else opcode, payload))

    told = Told(answer)
    outbox = Outbox(max_messages=90)
    async with open_resilient_socket(URL, dial=serve(told), heartbeat=None, outbox=outbox) as socket:
        await socket.wait_connected()
        for number in range(300):
            await socket.send(f"{number}")
        await socket.wait_delivered()
    assert given[:4] == [8, 8 + 16, 8 + 16 + 32, 8 + 16 + 32 + 64]
    assert max(later - earlier for earlier, later in pairwise(given)) <= 90


async def test_so_many_pings_wait_for_their_pongs_at_most(autojump_clock: MockClock, serve: Serve) -> None:
    """A peer that answers none is not asked for ever."""
    asked: list[bytes] = []

    async def answer(peer: Peer, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            asked.append(payload)
        else:
            await peer.send(frame(opcode, payload))

    async with open_resilient_socket(URL, dial=serve(Told(answer)), heartbeat=None, close_timeout=1) as socket:
        await socket.send("x")
        await trio.sleep(1000)
        assert len(asked) == 32


async def test_a_message_keeps_its_place_though_sending_it_calls_the_program(
    serve: Serve, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails finds out what has come, which an `Acknowledgement` sees, and may answer."""
    put, seen, is_first, is_inside = Session.put, list[str](), True, False

    def fail_once(session: Session, data: str, payload: bytes, *, beyond_room: bool) -> bool:
        nonlocal is_first, is_inside
        if is_first:
            is_first, is_inside = False, True
            socket.send_nowait("B")
            with pytest.raises(OutboxFullError):
                socket.send_nowait("C")
            is_inside = False
            return False
        return not is_inside and put(session, data, payload, beyond_room=beyond_room)

    async def script(peer: Peer) -> None:
        await peer.accept()
        seen.extend([(await peer.read_frame())[1].decode() for _ in range(2)])
        await peer.send(close_frame(1000))

    monkeypatch.setattr(Session, "put", fail_once)
    outbox = Outbox(proof="written", max_messages=2, when_full="refuse")
    async with open_resilient_socket(URL, dial=serve(script), outbox=outbox) as socket:
        await socket.wait_connected()
        socket.send_nowait("A")
        await socket.wait_delivered()
        assert [data async for data in socket] == []
    assert seen == ["A", "B"]


async def test_an_acknowledgement_that_comes_while_on_connected_runs_counts(
    autojump_clock: MockClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """It is about what the connection before was given: who waits is told at once, and that there was one is known."""
    connected: list[SocketTask] = []

    async def read_and_drop(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.stream.aclose()

    async def acknowledge(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(1)
        await peer.send(frame(TEXT, b"1"))
        await peer.finish()

    async def greet(task: SocketTask) -> None:
        connected.append(task)
        await trio.sleep(10 * (len(connected) - 1))

    proof = Acknowledgement(sent=lambda data: data, received=lambda data: data)
    outbox = Outbox(resend=True, proof=proof, proof_timeout=5)
    dial = serve(read_and_drop, acknowledge)
    async with open_resilient_socket(
        URL, dial=dial, backoff=SOON, heartbeat=None, outbox=outbox, on_connected=greet
    ) as socket:
        await socket.send("1")
        with trio.fail_after(5):
            await socket.wait_delivered()
        assert len(connected) == 2
        assert socket.task is None
        assert socket.statistics().delivered == 1
        await socket.send("2")
        await trio.sleep(30)
        assert socket.statistics().unconfirmed == 1
    assert "acknowledged" not in caplog.text
