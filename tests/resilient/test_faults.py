"""The resilient socket under the faults of bad days, in virtual time: what it delivers, and how often it knocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from contextlib import suppress

import attrs
import pytest
import trio
from bench.herd import attempts, in_step, jittered, per_second
from peer import PING, PONG, TEXT, URL, Peer, close_frame, frame
from trio.testing import MockClock, memory_stream_pair

from trio_socket_task import (
    Attempt,
    Backoff,
    GaveUpError,
    Outbox,
    ResilientSocket,
    Retry,
    open_resilient_socket,
    retry_by_evidence,
)
from trio_socket_task.testing import ServerConnection, echo, open_memory_server

MESSAGES = 200
HOUR = 3600.0


@attrs.define
class Service:
    """A server that numbers connections, notes what it is told, and has its moods.

    It speaks raw frames, so that what it has read is what it was told: a library would answer pings on behalf of an
    application that has seen nothing yet.
    """

    mood: Mood
    nursery: trio.Nursery
    arrivals: list[float] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)
    dice: random.Random = attrs.field(factory=lambda: random.Random(1))  # noqa: S311 (not for secrets)

    async def dial(self, _host: str, _port: int) -> trio.abc.Stream:
        """Connect."""
        await trio.sleep(0.01)
        client, server = memory_stream_pair()
        self.nursery.start_soon(self.serve, Peer(server))
        return client

    async def serve(self, peer: Peer) -> None:
        """Serve one connection."""
        self.arrivals.append(trio.current_time())
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            await self.mood(self, peer)
            await peer.stream.aclose()

    async def listen(self, peer: Peer, count: int = 10**9) -> None:
        """Note so many messages; answer pings, and a close."""
        while count:
            opcode, payload = await peer.read_frame()
            if opcode == TEXT:
                self.told.append(payload.decode())
                count -= 1
            else:
                await peer.send(frame(PONG if opcode == PING else opcode, payload))


async def flapping(service: Service, peer: Peer) -> None:
    """End the connection after some messages, or at once."""
    await peer.accept()
    await service.listen(peer, service.dice.randrange(0, 40))


async def rolling_restart(service: Service, peer: Peer) -> None:
    """Close with 1001 or 1012 now and then, without reading on; refuse with 503 while restarting."""
    if len(service.arrivals) % 3 == 0:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 503 Restarting\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n")
        return
    await peer.accept()
    await service.listen(peer, service.dice.randrange(5, 40))
    await peer.send(close_frame(service.dice.choice([1001, 1012])))


async def half_open(service: Service, peer: Peer) -> None:
    """Neither read nor answer any more, as over a link that was cut."""
    await peer.accept()
    await service.listen(peer, service.dice.randrange(5, 40))
    await trio.sleep(10 * HOUR)


async def garbled(service: Service, peer: Peer) -> None:
    """Break the protocol."""
    await peer.accept()
    await service.listen(peer, service.dice.randrange(5, 40))
    await peer.send(b"\xff\xff")
    await trio.sleep(1)


Mood = Callable[[Service, Peer], Coroutine[None, None, None]]
FAULTS = [flapping, rolling_restart, half_open, garbled]


async def talk(socket: ResilientSocket) -> list[str]:
    """Send numbered messages at an uneven pace, and give those that were reported as undelivered."""
    dice = random.Random(2)  # noqa: S311 (as above)
    lost: list[str] = []
    with trio.fail_after(20 * HOUR):
        async with trio.open_nursery() as nursery:
            undelivered = socket.on_undelivered()

            async def note() -> None:
                lost.extend([str(event.data) async for event in undelivered])

            async def read() -> None:
                async for _ in socket:
                    pass

            nursery.start_soon(note)
            nursery.start_soon(read)
            for number in range(MESSAGES):
                await socket.send(str(number))
                if dice.random() < 0.3:
                    await trio.sleep(dice.random() * 3)
            await socket.wait_delivered()
            nursery.cancel_scope.cancel()
    return lost


def obeys(arrivals: list[float], backoff: Backoff) -> bool:
    """Whether no time of a minute saw more connections than the law of the delays allows.

    With a jitter of 0.5 each delay is half its ceiling, and only a useful connection lets the delays start over.
    """
    failures, previous = 0, arrivals[0]
    for arrival in arrivals[1:]:
        if arrival - previous >= backoff.useful_after:
            failures = 0
        elif arrival - previous < 0.5 * backoff.ceiling(failures) - 1e-6:
            return False
        else:
            failures += 1
        previous = arrival
    return True


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
async def test_with_resend_everything_is_delivered_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery, fault: Mood
) -> None:
    """At least once; what is repeated is repeated from where it was lost."""
    service, backoff = Service(fault, nursery), Backoff(initial=0.1, random=lambda: 0.5)
    async with open_resilient_socket(URL, dial=service.dial, outbox=Outbox(resend=True), backoff=backoff) as socket:
        assert await talk(socket) == []
        nursery.cancel_scope.cancel()
    assert list(dict.fromkeys(service.told)) == [str(number) for number in range(MESSAGES)]
    assert len(service.arrivals) > 3
    assert obeys(service.arrivals, backoff)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
async def test_without_it_at_most_once_and_every_loss_is_reported(
    autojump_clock: MockClock, nursery: trio.Nursery, fault: Mood
) -> None:
    """What the server was told and what was reported is everything."""
    service, backoff = Service(fault, nursery), Backoff(initial=0.1, random=lambda: 0.5)
    async with open_resilient_socket(URL, dial=service.dial, backoff=backoff) as socket:
        lost = await talk(socket)
        nursery.cancel_scope.cancel()
    assert service.told == sorted(set(service.told), key=int)
    assert set(service.told) | set(lost) == {str(number) for number in range(MESSAGES)}
    assert len(service.arrivals) > 3
    assert obeys(service.arrivals, backoff)


async def test_the_law_is_a_law() -> None:
    """The judge above can say no."""
    backoff = Backoff()
    assert obeys([0, 0.5, 1.5, 3.5], backoff)
    assert not obeys([0, 0.5, 1.0], backoff)
    assert not obeys([0, 0.5, 1.5, 35, 35.1], backoff)


async def test_a_server_that_accepts_and_closes_is_not_stormed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """For an hour: about one attempt in half a minute, and not a thousand a second."""

    async def accept_and_close(_service: Service, peer: Peer) -> None:
        await peer.accept(then=close_frame(1001))

    service, backoff = Service(accept_and_close, nursery), Backoff(random=lambda: 0.5)
    async with open_resilient_socket(URL, dial=service.dial, backoff=backoff):
        await trio.sleep(HOUR)
    assert obeys(service.arrivals, backoff)
    assert 115 <= len(service.arrivals) <= 130


async def test_an_outage_of_an_hour(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Nothing is lost, and the end of it is noticed within the longest delay."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        if 1 < trio.current_time() < HOUR:
            raise ConnectionRefusedError("out of order")
        return await service.dial(host, port)

    async def serve(service: Service, peer: Peer) -> None:
        await peer.accept()
        await service.listen(peer, 1 if len(service.arrivals) == 1 else 10**9)

    service = Service(serve, nursery)
    async with open_resilient_socket(URL, dial=dial, outbox=Outbox(resend=True)) as socket:
        for number in range(60):
            await socket.send(str(number))
            await trio.sleep(60)
        await socket.wait_delivered()
        assert trio.current_time() <= HOUR + 61
    assert list(dict.fromkeys(service.told)) == [str(number) for number in range(60)]


async def test_an_expired_token_is_renewed(autojump_clock: MockClock) -> None:
    """The target is asked again, and only a policy that knows 4401 goes on."""
    tokens: list[int] = []

    async def target() -> str:
        await trio.sleep(0.1)  # of asking a token server
        tokens.append(len(tokens))
        return f"ws://a.test/?token={tokens[-1]}"

    async def serve(connection: ServerConnection) -> None:
        if not connection.path.endswith(f"token={tokens[-1]}"):
            await connection.reject(401)
            return
        with trio.move_on_after(600):
            await echo(connection)
        await connection.close(4401, "token expired")

    def decide(attempt: Attempt, failures: int) -> bool:
        event = attempt.close_event
        return (event is not None and event.code == 4401) or retry_by_evidence(attempt, failures)

    async with open_memory_server(serve) as server:
        async with open_resilient_socket(target, dial=server.dial) as socket:
            with pytest.raises(GaveUpError, match=r"4401 \(token expired\)"):
                await socket.receive()
        async with open_resilient_socket(target, dial=server.dial, retry=Retry(decide=decide)) as socket:
            for number in range(31):
                await socket.send(str(number))
                await trio.sleep(100)
            assert socket.statistics().generation >= 5


@pytest.mark.long
async def test_a_herd_does_not_thunder(autojump_clock: MockClock) -> None:
    """A hundred clients that are dropped at once come back spread out, and all of them do."""
    spread = per_second(await attempts(jittered, clients=100))
    assert spread[0] > 50, "the first delays are within a second"
    assert max(spread[10:]) < 25
    assert sum(spread) > 100 * 4


@pytest.mark.long
async def test_a_herd_without_jitter_does(autojump_clock: MockClock) -> None:
    """Which shows that the test above can fail."""
    assert max(per_second(await attempts(in_step, clients=30))[10:]) == 30
