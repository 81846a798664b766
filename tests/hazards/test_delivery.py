"""What counts as delivered, and who is told of the rest: peers that speak raw frames, in virtual time.

An id in the name of a test, such as L3, is a row of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Literal

import attrs
import pytest
import trio
from conftest import Serve
from peer import CLOSE, PING, PONG, TEXT, URL, Peer, close_frame, frame
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task import (
    Acknowledgement,
    Backoff,
    GaveUpError,
    Heartbeat,
    InvalidOptionsError,
    Outbox,
    ResilientSocket,
    Retry,
    UndeliveredEvent,
    open_resilient_socket,
)
from trio_socket_task._resilient import _delivery
from trio_socket_task.testing import SocketServer

SOON = Backoff(random=lambda: 0.01)
Act = Callable[["Service", Peer], Awaitable[None]]


def request_id(data: str | bytes) -> Hashable:
    """Return the id of a JSON-RPC request or response."""
    found: Hashable = json.loads(data).get("id")
    return found


def number_of(data: str | bytes) -> Hashable:
    """Return the number of a message or of an acknowledgement, which looks like `ack 7`."""
    found = re.fullmatch(r"(?:ack )?(\d+)", str(data))
    return None if found is None else int(found[1])


def acknowledged(data: str | bytes) -> Hashable:
    """Return the number in an acknowledgement."""
    return number_of(data) if str(data).startswith("ack ") else None


RPC = Acknowledgement(sent=request_id, received=request_id)
NUMBERED = Acknowledgement(sent=number_of, received=acknowledged)
CUMULATIVE = Acknowledgement(sent=number_of, received=acknowledged, cumulative=True)

Proof = Literal["pong", "written"] | Acknowledgement
WRITTEN: Proof = "written"


@attrs.define
class Service:
    """A server that plays one act for each connection, the last for ever, and notes what it reads."""

    nursery: trio.Nursery
    acts: list[Act]
    connections: int = 0
    told: list[str] = attrs.field(factory=list)
    pings: int = 0

    async def dial(self, _host: str, _port: int) -> trio.abc.Stream:
        """Connect."""
        await trio.lowlevel.checkpoint()
        client, server = memory_stream_pair()
        self.connections += 1
        self.nursery.start_soon(self._play, self.acts[min(self.connections, len(self.acts)) - 1], Peer(server))
        return client

    async def _play(self, act: Act, peer: Peer) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            await peer.accept()
            await act(self, peer)
            await peer.stream.aclose()

    async def read(self, peer: Peer, count: int = 10**9, *, pongs: bool = True) -> None:
        """Read so many messages; answer pings, unless told not to, and a Close."""
        while count:
            opcode, payload = await peer.read_frame()
            if opcode == TEXT:
                self.told.append(payload.decode())
                count -= 1
            elif opcode == PING:
                self.pings += 1
                if pongs:
                    await peer.send(frame(PONG, payload))
            elif opcode == CLOSE:
                await peer.send(frame(CLOSE, payload))
                return


async def reads(service: Service, peer: Peer) -> None:
    """Do everything right."""
    await service.read(peer)


async def ignores_pings(service: Service, peer: Peer) -> None:
    """Read, and never answer a Ping."""
    await service.read(peer, pongs=False)


async def reads_nothing(_service: Service, peer: Peer) -> None:
    """Read nothing, and close with 1000 after a second, as a program that ends does."""
    await trio.sleep(1)
    await peer.send(close_frame(1000))
    await trio.sleep(100)


async def text(peer: Peer, *messages: str) -> None:
    """Send messages."""
    await peer.send(*(frame(TEXT, message.encode()) for message in messages))


def reported(socket: ResilientSocket, nursery: trio.Nursery) -> list[UndeliveredEvent]:
    """Return a list that fills with the reports."""
    events: list[UndeliveredEvent] = []
    listener = socket.on_undelivered()

    async def note() -> None:
        async for event in listener:
            events.append(event)  # noqa: PERF401 (as they come)

    nursery.start_soon(note)
    return events


@pytest.mark.parametrize("resend", [False, True])
async def test_l3_a_crossing_close_proves_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, *, resend: bool
) -> None:
    """With whatever code: it cannot be told from an answer to ours, and the server has read nothing."""
    service = Service(nursery, [reads_nothing])
    async with open_resilient_socket(
        URL, dial=service.dial, heartbeat=None, close_timeout=0.5, outbox=Outbox(resend=resend)
    ) as socket:
        events = reported(socket, nursery)
        await socket.wait_connected()
        await trio.sleep(0.4)
        for number in range(3):
            await socket.send(str(number))
        await trio.sleep(0.099)
        await socket.aclose()
        figures = socket.statistics()
        assert (figures.delivered, figures.undelivered) == (0, 3)
    await wait_all_tasks_blocked()
    assert [event.data for event in events] == ["0", "1", "2"]


async def test_l3_nor_does_one_that_answers(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A server that closes well and answers no pings: what it read is reported, after close_timeout."""
    service = Service(nursery, [ignores_pings])
    async with open_resilient_socket(URL, dial=service.dial, heartbeat=None) as socket:
        events = reported(socket, nursery)
        await socket.send("read")
        await socket.wait_connected()
        started = trio.current_time()
        await socket.aclose()
        assert 10 <= trio.current_time() - started <= 11
    await wait_all_tasks_blocked()
    assert (service.told, events) == (["read"], [UndeliveredEvent(data="read", why="lost")])


async def test_l3_a_pong_proves_it_though_the_connection_ends_with_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """In one segment with a Close: the proof is there, so nothing is reported."""

    async def act(service: Service, peer: Peer) -> None:
        await service.read(peer, 1)
        _, payload = await peer.read_frame()
        await peer.send(frame(PONG, payload) + close_frame(1000))

    service = Service(nursery, [act])
    async with open_resilient_socket(URL, dial=service.dial, heartbeat=None) as socket:
        await socket.send("read")
        with pytest.raises(trio.EndOfChannel):
            await socket.receive()
        figures = socket.statistics()
        assert (figures.delivered, figures.undelivered) == (1, 0)


@attrs.define(eq=False)
class Failing(trio.abc.Stream):
    """A stream on which writing fails after so many frames."""

    stream: trio.abc.Stream
    left: int

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write, or fail."""
        if not self.left:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("the network is gone")
        self.left -= 1
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Do not wait."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read."""
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close."""
        await self.stream.aclose()


@pytest.mark.parametrize("size", [10, 300_000])
async def test_l3_a_write_that_fails_proves_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, size: int
) -> None:
    """By being written: what failed, and what waited behind it, is lost, and nothing else."""
    service = Service(nursery, [reads])

    async def dial(host: str, port: int) -> trio.abc.Stream:
        return Failing(await service.dial(host, port), 2)  # the request, and one write more

    once = Retry(max_attempts=1)
    async with open_resilient_socket(URL, dial=dial, outbox=Outbox(proof="written"), retry=once) as socket:
        await socket.wait_connected()
        await socket.send("0")
        await wait_all_tasks_blocked()
        assert socket.statistics().delivered == 1
        for number in range(1, 4):
            await socket.send(str(number) * size)
        with pytest.raises(GaveUpError):
            await socket.receive()
        figures = socket.statistics()
        assert (figures.delivered, figures.undelivered) == (1, 3)


async def test_l3_bytes_that_wait_prove_nothing(autojump_clock: MockClock, nursery: trio.Nursery, serve: Serve) -> None:
    """A peer that stops reading in the middle of a message has not got it."""

    async def reads_some(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await peer.stream.receive_some(1000)
        await trio.sleep(5)
        await peer.stream.aclose()

    dial, once = serve(reads_some, lockstep=True), Retry(max_attempts=1)
    async with open_resilient_socket(URL, dial=dial, outbox=Outbox(proof="written"), retry=once) as socket:
        await socket.wait_connected()
        await socket.send("whole")
        await wait_all_tasks_blocked()
        await socket.send("x" * 200_000)
        await socket.send("behind it")
        await trio.sleep(1)
        assert (socket.statistics().delivered, socket.statistics().unconfirmed) == (1, 2)
        with pytest.raises(GaveUpError):
            await socket.receive()
        assert (socket.statistics().delivered, socket.statistics().undelivered) == (1, 2)


async def test_l3_written_needs_no_ping(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Everything counts as soon as it is with the operating system, and not one Ping goes out."""
    service = Service(nursery, [ignores_pings])
    outbox = Outbox(proof="written")
    async with open_resilient_socket(URL, dial=service.dial, heartbeat=None, outbox=outbox) as socket:
        await socket.wait_connected()
        for number in range(1000):
            await socket.send(f"{number} {'x' * 100}")
        await socket.wait_delivered()
        assert trio.current_time() == 0
        assert socket.statistics().delivered == 1000
        await trio.sleep(3600)
    assert (len(service.told), service.pings) == (1000, 0)


async def test_l3_answers_in_any_order_prove_their_own_requests(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """JSON-RPC: each by its id; the program receives the answers; without a Ping; a notification when it is written."""

    async def act(service: Service, peer: Peer) -> None:
        await service.read(peer, 4, pongs=False)
        await text(peer, '{"id": 3}', '{"id": 99}', '{"method": "news"}', '{"id": 1}', '{"id": 3}')
        await service.read(peer, pongs=False)

    service, outbox = Service(nursery, [act]), Outbox(proof=RPC)
    async with open_resilient_socket(URL, dial=service.dial, heartbeat=None, outbox=outbox) as socket:
        events = reported(socket, nursery)
        for id_ in (1, 2, 3):
            await socket.send(json.dumps({"id": id_}))
        await socket.send('{"method": "hello"}')
        assert [request_id(await socket.receive()) for _ in range(5)] == [3, 99, None, 1, 3]
        figures = socket.statistics()
        assert (figures.delivered, figures.unconfirmed, figures.outbox_bytes) == (3, 1, 9)
        started = trio.current_time()
        await socket.aclose()
        assert 10 <= trio.current_time() - started <= 11, "it waits for the answer that is missing"
    await wait_all_tasks_blocked()
    assert [(event.data, event.why) for event in events] == [('{"id": 2}', "lost")]
    assert service.pings == 0


async def test_l3_a_cumulative_number_proves_all_before_it(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """And no other; a number that is unknown, or was acknowledged before, proves nothing."""

    async def act(service: Service, peer: Peer) -> None:
        await service.read(peer, 5)
        await text(peer, "ack 2", "ack 1", "ack 77", "ack 2")
        await trio.sleep(1)
        await text(peer, "ack 4")
        await service.read(peer)

    service, outbox = Service(nursery, [act]), Outbox(proof=CUMULATIVE)
    async with open_resilient_socket(URL, dial=service.dial, outbox=outbox) as socket:
        for number in range(5):
            await socket.send(str(number))
        await trio.sleep(0.5)
        assert (socket.statistics().delivered, socket.statistics().unconfirmed) == (3, 2)
        await socket.wait_delivered()
        assert trio.current_time() == 1
        assert socket.statistics().delivered == 5


async def test_l3_an_acknowledgement_on_a_later_connection_proves_an_earlier_message(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Before it is sent again, even while on_connected has the connection: then it is not sent again."""

    async def first(service: Service, peer: Peer) -> None:
        await service.read(peer, 3)

    async def second(service: Service, peer: Peer) -> None:
        await text(peer, "ack 1", "ack 5")
        await trio.sleep(1)
        await text(peer, "go")
        await service.read(peer, 3)
        await text(peer, "ack 1", "ack 0", "ack 2", "ack 3")
        await service.read(peer)

    async def wait_for_go(task: trio.abc.ReceiveChannel[str | bytes]) -> None:
        if service.connections == 2:
            while await task.receive() != "go":
                pass

    service, outbox = Service(nursery, [first, second]), Outbox(proof=NUMBERED, resend=True)
    async with open_resilient_socket(
        URL, dial=service.dial, outbox=outbox, backoff=SOON, on_connected=wait_for_go
    ) as socket:
        for number in range(3):
            await socket.send(str(number))
        await trio.sleep(0.5)
        await socket.send("3")
        await socket.wait_delivered()
        assert (socket.statistics().delivered, socket.statistics().undelivered) == (4, 0)
    assert service.told == ["0", "1", "2", "0", "2", "3"]


async def test_l3_what_was_reported_is_not_delivered_later(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Without resend the end of its connection is the end of a message, whatever comes later."""

    async def first(service: Service, peer: Peer) -> None:
        await service.read(peer, 1)

    async def second(service: Service, peer: Peer) -> None:
        await text(peer, "ack 0", "ack 1")
        await service.read(peer, 1)
        await text(peer, "ack 1")
        await service.read(peer)

    service, outbox = Service(nursery, [first, second]), Outbox(proof=NUMBERED)
    async with open_resilient_socket(URL, dial=service.dial, outbox=outbox, backoff=SOON) as socket:
        events = reported(socket, nursery)
        await socket.send("0")
        await trio.sleep(0.5)
        await socket.send("1")
        await socket.wait_delivered()
        assert (socket.statistics().delivered, socket.statistics().undelivered) == (1, 1)
    await wait_all_tasks_blocked()
    assert events == [UndeliveredEvent(data="0", why="lost")]


async def test_l3_one_acknowledgement_proves_one_of_two_messages_with_one_id(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The older; the second proves the other."""

    async def act(service: Service, peer: Peer) -> None:
        await service.read(peer, 2)
        await text(peer, "ack 7")
        await trio.sleep(1)
        await text(peer, "ack 7", "ack 7")
        await service.read(peer)

    service, outbox = Service(nursery, [act]), Outbox(proof=NUMBERED)
    async with open_resilient_socket(URL, dial=service.dial, outbox=outbox) as socket:
        for _ in range(2):
            await socket.send("7")
        await trio.sleep(0.5)
        assert (socket.statistics().delivered, socket.statistics().unconfirmed) == (1, 1)
        await socket.wait_delivered()
        assert socket.statistics().delivered == 2


@pytest.mark.parametrize("wrong", [lambda _: 1 / 0, lambda _: [], lambda _: trio.lowlevel.checkpoint()])
async def test_l3_what_the_id_functions_raise_is_told_once(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    wrong: Callable[[str | bytes], Hashable],
) -> None:
    """With its traceback; the socket goes on, and a message without an id counts when it is written."""

    async def act(service: Service, peer: Peer) -> None:
        await text(peer, "a", "b", "c")
        await service.read(peer)

    service, outbox = Service(nursery, [act]), Outbox(proof=Acknowledgement(sent=wrong, received=wrong))
    async with open_resilient_socket(URL, dial=service.dial, outbox=outbox) as socket:
        for number in range(3):
            await socket.send(str(number))
        await socket.wait_delivered()
        assert [await socket.receive() for _ in range(3)] == ["a", "b", "c"]
        assert socket.statistics().generation == 1
    lines = [record.getMessage() for record in caplog.records if record.exc_info]
    assert len(lines) == 2
    assert all(str(socket._states.label) in line for line in lines)


@pytest.mark.long
@pytest.mark.parametrize("proof", ["pong", WRITTEN, NUMBERED, CUMULATIVE], ids=["pong", "written", "ids", "numbers"])
@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_l3_every_message_is_delivered_or_reported(
    autojump_clock: MockClock, nursery: trio.Nursery, proof: Proof, seed: int, *, resend: bool
) -> None:
    """Never both and never neither, under a server that acknowledges, drops, closes and stops reading at random."""
    dice = random.Random(seed)  # noqa: S311 (not for secrets)

    async def act(service: Service, peer: Peer) -> None:
        for _ in range(dice.randrange(8)):
            await service.read(peer, 1, pongs=dice.random() < 0.8)
            if dice.random() < 0.6:
                await text(peer, f"ack {dice.choice(service.told)}")
        if dice.random() < 0.4:
            await trio.sleep(dice.random() * 20)
        if dice.random() < 0.5:
            await peer.send(close_frame(dice.choice([1001, 1012])))

    service = Service(nursery, [act])
    outbox = Outbox(proof=proof, resend=resend, max_messages=20, max_age=30, when_full="drop_oldest")
    async with open_resilient_socket(URL, dial=service.dial, outbox=outbox, backoff=SOON) as socket:
        events = reported(socket, nursery)
        for number in range(100):
            await socket.send(str(number))
            if dice.random() < 0.5:
                await trio.sleep(dice.random())
            if dice.random() < 0.05:
                socket.reconnect()
    await wait_all_tasks_blocked()
    figures = socket.statistics()
    assert (figures.waiting, figures.unconfirmed, figures.outbox_bytes, figures.reports_dropped) == (0, 0, 0, 0)
    assert figures.delivered + figures.undelivered == 100
    assert len({event.data for event in events}) == len(events) == figures.undelivered
    if proof is not WRITTEN:
        assert {str(number) for number in range(100)} - {str(event.data) for event in events} <= set(service.told)


async def test_l4_a_server_that_ignores_pings_is_given_everything(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """After proof_timeout; the log says once, with the socket's name, what happens and what to do."""

    async def drops_after_a_minute(service: Service, peer: Peer) -> None:
        with trio.move_on_after(60):
            await service.read(peer, pongs=False)

    service = Service(nursery, [drops_after_a_minute, ignores_pings])
    secret = URL + "?token=secret"
    async with open_resilient_socket(secret, dial=service.dial, heartbeat=None, backoff=SOON) as socket:
        for number in range(100):
            await socket.send(str(number))
        await trio.sleep(4.9)
        assert len(service.told) == 8
        await trio.sleep(0.2)
        assert len(service.told) == 100
        await socket.send("at once")
        await trio.sleep(0.1)
        assert service.told[-1] == "at once"
        await trio.sleep(60)
        for number in range(100):
            await socket.send(str(number))
        await trio.sleep(10)
        assert (service.connections, len(service.told)) == (2, 201)
    lines = [record.getMessage() for record in caplog.records if "no pong came" in record.getMessage()]
    assert len(lines) == 1
    assert f"resilient socket {socket._states.label.number} ({URL}?" in lines[0]
    assert 'Outbox(proof="written")' in lines[0]
    assert "secret" not in caplog.text


async def test_l4_a_silent_connection_is_the_heartbeats(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead link is not given the whole outbox: eight messages, then the heartbeat ends it."""

    async def goes_silent(_service: Service, peer: Peer) -> None:
        await trio.sleep(1000)
        await peer.stream.aclose()

    service = Service(nursery, [goes_silent, reads])
    async with open_resilient_socket(URL, dial=service.dial, backoff=SOON) as socket:
        events = reported(socket, nursery)
        for number in range(100):
            await socket.send(str(number))
        await socket.wait_delivered()
        assert socket.statistics().delivered == 92
        assert len(events) == 8
    assert "no pong came" not in caplog.text


async def test_l4_time_for_the_proof_does_not_run_while_bytes_are_written(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, serve: Serve
) -> None:
    """A slow link is no server that ignores pings."""

    async def reads_slowly(peer: Peer) -> None:
        await peer.accept()
        while len(peer.leftover) < 2_000_000:
            await trio.sleep(0.1)
            peer.leftover += await peer.stream.receive_some(4096)
        await peer.echo()

    async with open_resilient_socket(URL, dial=serve(reads_slowly, lockstep=True), heartbeat=None) as socket:
        await socket.send("x" * 2_000_000)
        await socket.wait_delivered()
        assert trio.current_time() > 45
    assert "no pong came" not in caplog.text


async def test_l4_a_late_pong_lets_messages_wait_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The server is slow, and not one that ignores pings."""

    async def is_late(service: Service, peer: Peer) -> None:
        await trio.sleep(7)
        await service.read(peer)

    service = Service(nursery, [is_late])
    async with open_resilient_socket(URL, dial=service.dial, heartbeat=None) as socket:
        for number in range(10):
            await socket.send(str(number))
        await trio.sleep(6)
        assert socket._sender.delivery is not None
        assert socket._sender.delivery.timer.expired
        await socket.wait_delivered()
        assert not socket._sender.delivery.timer.expired
        assert socket.statistics().delivered == 10


async def test_l4_a_server_that_drops_the_connection_on_a_ping_is_told_of(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when that has happened again and again before a first proof."""

    async def drops_on_ping(service: Service, peer: Peer) -> None:
        while service.pings < service.connections:
            opcode, _ = await peer.read_frame()
            service.pings += opcode == PING

    service = Service(nursery, [drops_on_ping])
    outbox = Outbox(resend=True)
    async with open_resilient_socket(URL, dial=service.dial, backoff=SOON, outbox=outbox) as socket:
        await socket.send("never read")
        await trio.sleep(60)
        assert service.connections > 10
    lines = [record.getMessage() for record in caplog.records if "first pong" in record.getMessage()]
    assert len(lines) == 1
    assert "drop a connection on a Ping" in lines[0]
    assert "heartbeat=None" in lines[0]


@pytest.mark.parametrize("right", [False, True])
async def test_l4_ids_that_never_match_are_told_of(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, *, right: bool
) -> None:
    """Where an application has acknowledged something, it may take its time."""

    async def act(service: Service, peer: Peer) -> None:
        await service.read(peer, 1)
        await text(peer, "ack 0" if right else "ack zero")
        await service.read(peer)

    service = Service(nursery, [act])
    async with open_resilient_socket(URL, dial=service.dial, outbox=Outbox(proof=NUMBERED)) as socket:
        await socket.send("0")
        await trio.sleep(1)
        await socket.send("1")
        await trio.sleep(100)
    lines = [record.getMessage() for record in caplog.records if "acknowledged within" in record.getMessage()]
    assert len(lines) == (0 if right else 1)


async def never(_host: str, _port: int) -> trio.abc.Stream:
    """Dial for ever."""
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize(
    ("tasks", "messages", "size"), [(1, 100, 2**24), (3, 3, 200), (10, 1, 2**24), (10, 1000, 10_000), (50, 100, 2**24)]
)
async def test_l5_a_reader_that_reads_gets_every_report(
    autojump_clock: MockClock, nursery: trio.Nursery, tasks: int, messages: int, size: int
) -> None:
    """However many tasks send into an outbox that drops the oldest."""
    outbox = Outbox(when_full="drop_oldest", max_messages=messages, max_bytes=size)

    async def send(task: int) -> None:
        for number in range(300):
            await socket.send(f"{task}.{number}")

    async with open_resilient_socket(URL, dial=never, outbox=outbox) as socket:
        events = reported(socket, nursery)
        async with trio.open_nursery() as senders:
            for task in range(tasks):
                senders.start_soon(send, task)
    await wait_all_tasks_blocked()
    figures = socket.statistics()
    assert (figures.undelivered, figures.reports_dropped) == (300 * tasks, 0)
    assert len({event.data for event in events}) == len(events) == 300 * tasks


async def test_l5_only_a_listener_that_is_not_read_loses_reports(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """They are counted, and told in one line a second; the other listener has them all, and nobody waits for it."""
    outbox = Outbox(when_full="drop_oldest", max_messages=10)
    async with open_resilient_socket(URL, dial=never, outbox=outbox) as socket:
        events = reported(socket, nursery)
        lazy = socket.on_undelivered()
        for number in range(3000):
            await socket.send(str(number))
            if number % 300 == 299:
                await trio.sleep(0.25)
        assert [(await lazy.receive()).data for _ in range(3)] == ["1966", "1967", "1968"]
        await socket.send("it reads again")
    await wait_all_tasks_blocked()
    figures = socket.statistics()
    assert figures.undelivered == len(events) == 3001
    told = [re.search(r"dropped: (\d+)", record.getMessage()) for record in caplog.records]
    counts = [int(found[1]) for found in told if found is not None]
    assert len(counts) <= 4
    assert sum(counts) == figures.reports_dropped > 1900
    assert len([event async for event in lazy]) == 3001 - 3 - figures.reports_dropped


async def test_l5_what_nobody_listens_to_is_one_line_a_second(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With its reasons; the counts of the lines are the count of the messages."""
    outbox = Outbox(when_full="drop_oldest", max_messages=1)
    async with open_resilient_socket(URL, dial=never, outbox=outbox) as socket:
        for number in range(1000):
            await socket.send(str(number))
            await trio.sleep(0.01)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) <= 12
    assert all(line.startswith(str(socket._states.label)) for line in lines)
    assert sum(int(count) for line in lines for count in re.findall(r"(\d+) \((?:dropped|stopped)\)", line)) == 1000


async def test_l5_a_burst_that_cannot_wait_is_reported(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Calls of `send_nowait` into an outbox of one message leave the reader no time, and room for 1024 reports."""
    outbox = Outbox(when_full="drop_oldest", max_messages=1, max_bytes=600)
    async with open_resilient_socket(URL, dial=never, outbox=outbox) as socket:
        events = reported(socket, nursery)
        sent = [f"{number:0600}" for number in range(1024)]
        for data in sent:
            socket.send_nowait(data)
    await wait_all_tasks_blocked()
    assert socket.statistics().reports_dropped == 0
    assert [event.data for event in events] == sent


async def test_l5_a_listener_that_goes_away_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Nor one that is closed while a sender waits for it."""
    outbox = Outbox(when_full="drop_oldest", max_messages=1, max_bytes=2**20)
    async with open_resilient_socket(URL, dial=never, outbox=outbox) as socket:
        lazy = socket.on_undelivered()
        await socket.send(bytes(2**20))
        await socket.send(bytes(2**20))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send, bytes(2**20))
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            lazy.close()
        lazy.close()
        assert socket.statistics().reports_dropped == 0


async def test_l6_the_window_is_capped(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """By what the outbox may hold; a smaller outbox than the first window is no harm."""
    service = Service(nursery, [reads])
    for limit in (3, 100):
        outbox = Outbox(max_messages=limit)
        async with open_resilient_socket(URL, dial=service.dial, heartbeat=None, outbox=outbox) as socket:
            for _ in range(50):
                await socket.send("x")
                await socket.wait_delivered()
            assert socket._sender.delivery is not None
            assert socket._sender.delivery.window == max(_delivery._FIRST_WINDOW, limit)


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 (as Trio wants it)
        """Count."""
        self.count += 1


@pytest.mark.parametrize("connected", [False, True])
async def test_v8_an_idle_outbox_with_an_age_does_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, *, connected: bool
) -> None:
    """It sleeps until the first message's time, and without a message for ever; it expires in time all the same."""
    service = Service(nursery, [reads])
    dial, outbox = service.dial if connected else never, Outbox(max_age=0.001)
    async with open_resilient_socket(URL, dial=dial, outbox=outbox, heartbeat=None, timeout=10_000) as socket:
        events = reported(socket, nursery)
        await trio.sleep(1)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(1000)
        assert steps.count < 10
        await socket.send("x")
        await trio.sleep(0.0011)
        assert len(events) == (not connected)
        await trio.sleep(1)
        steps.count = 0
        await trio.sleep(1000)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count < 10


async def test_v8_what_is_sent_again_ages_too(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """From when it was queued."""

    async def drops(service: Service, peer: Peer) -> None:
        await service.read(peer, 1)

    service, outbox = Service(nursery, [drops]), Outbox(max_age=2, resend=True)
    late = Backoff(random=lambda: 1.0, initial=10)
    async with open_resilient_socket(URL, dial=service.dial, outbox=outbox, backoff=late) as socket:
        listener = socket.on_undelivered()
        await socket.send("x")
        assert (await listener.receive()).why == "expired"
        assert trio.current_time() == pytest.approx(2)


async def test_q6_async_id_functions_are_refused() -> None:
    """By name, before any I/O."""

    async def later(data: str | bytes) -> Hashable:
        return data

    for name in ("sent", "received"):
        functions = {"sent": request_id, "received": request_id, name: later}
        with pytest.raises(InvalidOptionsError, match=rf"^{name} must be a function .* and no async function"):
            Acknowledgement(**functions)  # type: ignore[arg-type]


class OddId:
    """An id that cannot be compared with others, and whose hash may change."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return bool(self.number == other.number)  # type: ignore[attr-defined]


@pytest.mark.parametrize("odd", ["sent", "received", "both", "changing", "unhashable"])
async def test_q6_ids_that_cannot_be_compared_or_hashed(
    autojump_clock: MockClock, memory_socket_server: SocketServer, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    """Are none: the log says so once for each function, and the socket goes on with the messages that have one."""
    changing: list[OddId] = []

    def sent(data: str | bytes) -> Hashable:
        if odd == "changing":
            changing.append(OddId(int(data)))
            return changing[-1]
        if odd == "unhashable":
            return [data]  # type: ignore[return-value]
        return OddId(1) if odd == "sent" and data == "1" else 1

    def received(data: str | bytes) -> Hashable:
        for id_ in changing:
            id_.number += 1
        return OddId(1) if odd in {"received", "both"} else 1

    proof = Acknowledgement(sent=sent, received=received)
    server = memory_socket_server
    with trio.fail_after(100):
        async with open_resilient_socket(
            server.url, dial=server.dial, outbox=Outbox(proof=proof, resend=True), close_timeout=1
        ) as socket:
            for number in (1, 2, 3):
                await socket.send(f"{number}")
                assert await socket.receive() == f"{number}"
            socket.reconnect()
            await socket.send("4")
            await trio.sleep(1)
    said = [record.getMessage() for record in caplog.records if "Acknowledgement" in record.getMessage()]
    assert 1 <= len([line for line in said if "has no id" in line]) <= 2


async def test_l4_an_applications_heartbeat_does_not_need_pongs(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """So a server that answers that, and no Ping, is given everything."""

    async def act(service: Service, peer: Peer) -> None:
        while True:
            opcode, payload = await peer.read_frame()
            if payload == b"beat":
                await text(peer, "beaten")
            elif opcode == TEXT:
                service.told.append(payload.decode())

    service, beat = Service(nursery, [act]), Heartbeat(interval=1, message="beat", reply="beaten")
    async with open_resilient_socket(URL, dial=service.dial, heartbeat=beat, close_timeout=1) as socket:
        for number in range(100):
            await socket.send(str(number))
        await trio.sleep(6)
        assert len(service.told) == 100
