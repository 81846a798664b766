"""Sockets with compression: agreed on or not, whole under cancellation, fair, within limits, and with real servers."""

from __future__ import annotations

import asyncio
import pickle
import ssl
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs
import pytest
import trio
from conftest import Reach, Serve
from deflated import RSV1, CompressingPeer, Compressor, noise
from peer import CLOSE, PING, PONG, TEXT, URL, Peer, Script, close_frame, frame, reset
from trio.testing import MockClock
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from trio_socket_task import (
    Backoff,
    ConnectOptions,
    HandshakeError,
    Heartbeat,
    InvalidOptionsError,
    PerMessageDeflate,
    SocketLostError,
    SocketStatistics,
    connect_socket,
    open_resilient_socket,
)
from trio_socket_task._protocol import _compressor, _deflate

MIB = 2**20
DATA: list[str | bytes] = ["text " * 50, b"bytes" * 50, "", b"", "short", noise(1, 500), noise(1, 500), "x" * 300_000]
KINDS = ["memory", "tcp", "tls"]


def serving(parameters: str = "", peers: list[CompressingPeer] | None = None) -> Script:
    """Give a script that agrees, and echoes."""

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer, parameters)
        if peers is not None:
            peers.append(compressing)
        await compressing.serve()

    return script


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_go_and_come_compressed(reach: Reach, kind: str) -> None:
    """In both directions, and the statistics tell what it brings."""
    peers: list[CompressingPeer] = []
    url, options = await reach(kind, serving(peers=peers))
    options["per_message_deflate"] = True
    async with connect_socket(url, **options) as task:
        assert task.per_message_deflate == PerMessageDeflate()
        for data in DATA * 2:
            await task.send(data)
            assert await task.receive() == data
        figures = task.statistics()
        total = 2 * sum(len(data) for data in DATA)
        assert (figures.bytes_sent, figures.bytes_received, figures.send_buffered) == (total, total, 0)
        assert 1000 < figures.wire_bytes_sent < 10_000
        assert 500 < figures.wire_bytes_received < 10_000
    assert peers[0].received == [data.encode() if isinstance(data, str) else data for data in DATA * 2]
    closed = task.statistics()
    assert closed.wire_bytes_sent == figures.wire_bytes_sent + 8
    assert closed.wire_bytes_received == figures.wire_bytes_received + 4


async def test_a_server_that_does_not_agree(serve: Serve) -> None:
    """Is no error, and nothing is compressed."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.echo()

    async with connect_socket(URL, per_message_deflate=True, dial=serve(script)) as task:
        await task.send("text " * 50)
        assert await task.receive() == "text " * 50
        assert task.per_message_deflate is None
        figures = task.statistics()
        assert (figures.wire_bytes_sent, figures.wire_bytes_received) == (258, 254)


@pytest.mark.parametrize(
    ("wanted", "fields", "why"),
    [
        (False, ["permessage-deflate"], "chooses an extension that was not offered"),
        (True, ["permessage-deflate", "permessage-deflate"], "repeats sec-websocket-extensions"),
        (True, ["permessage-deflate; client_max_window_bits=13"], "gives client_max_window_bits 13, more than the 12"),
        (True, ["permessage-foo"], "chooses the extension permessage-foo, which was not offered"),
        (
            PerMessageDeflate(server_no_context_takeover=True),
            ["permessage-deflate"],
            "lacks server_no_context_takeover, which was asked for",
        ),
    ],
)
async def test_a_contradictory_answer(
    serve: Serve,
    wanted: bool | PerMessageDeflate,  # noqa: FBT001 (a parameter)
    fields: list[str],
    why: str,
) -> None:
    """It fails the opening, and the parameter is named."""

    async def script(peer: Peer) -> None:
        await peer.accept(*(f"Sec-WebSocket-Extensions: {field}" for field in fields))

    with pytest.raises(HandshakeError) as caught:
        async with connect_socket(URL, per_message_deflate=wanted, dial=serve(script)):
            pass
    assert caught.value.why.startswith(f"the server's response {why}")
    assert caught.value.status_code == 101


@pytest.mark.parametrize("value", [None, 1, 0, "true", {}])
async def test_an_option_of_the_wrong_kind(value: object) -> None:
    """It is refused before any I/O."""
    options: ConnectOptions = {"per_message_deflate": value}  # type: ignore[typeddict-item]
    with pytest.raises(InvalidOptionsError, match="per_message_deflate must be True, False or a PerMessageDeflate"):
        async with connect_socket("ws://unreachable.test/", **options):
            pass


async def test_each_message_by_itself_where_the_server_asks_for_it(serve: Serve) -> None:
    """It is obeyed: each of this side's messages inflates alone."""
    firsts: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover")
        for _ in range(3):
            first, payload = await peer.read_any_frame()
            assert first == 0x80 | RSV1 | TEXT
            firsts.append(zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff"))
        await peer.finish()

    async with connect_socket(URL, per_message_deflate=True, dial=serve(script)) as task:
        for _ in range(3):
            await task.send("again " * 30)
    assert firsts == [b"again " * 30] * 3


async def test_a_heartbeats_message_overtakes_as_it_is(serve: Serve, autojump_clock: MockClock) -> None:
    """It would be compressed out of order, and does not touch the context."""
    peers: list[CompressingPeer] = []
    dial = serve(serving(peers=peers))
    beat = Heartbeat(interval=1, message="b" * 200, reply="b" * 200)
    async with connect_socket(URL, per_message_deflate=True, heartbeat=beat, dial=dial) as task:
        for _ in range(4):
            await task.send("x" * 200)
            assert await task.receive() == "x" * 200
            await trio.sleep(1.5)
    assert peers[0].received.count(b"b" * 200) >= 3
    assert {first for first in peers[0].firsts if first & 0x0F != CLOSE} == {0xC1, 0x81}


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_sends_that_are_cancelled_at_every_step(reach: Reach, kind: str) -> None:
    """Whatever becomes of them, the contexts stay alike: the peer inflates everything that it gets."""
    peers: list[CompressingPeer] = []
    url, options = await reach(kind, serving(peers=peers))
    sent: list[bytes] = []
    options |= {"per_message_deflate": True, "send_buffer": 2000}
    async with connect_socket(url, **options) as task:

        async def send(number: int, step: int) -> None:
            data = f"{number} {step} ".encode() + noise(number, 300) * (1000 if number % 7 == 0 else 2)
            with trio.CancelScope() as scope:
                trio.lowlevel.add_instrument(instrument := CancelAtStep(scope, step))
                try:
                    await task.send(data)
                    sent.append(data)
                finally:
                    trio.lowlevel.remove_instrument(instrument)

        async def drain() -> None:
            async for data in task:
                if data == b"the end" * 20:
                    return

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain)
                for number in range(60):
                    async with trio.open_nursery() as senders:
                        for step in range(1 + number % 6):
                            senders.start_soon(send, number, step)
                await task.send(b"the end" * 20)
    assert peers[0].received[:-1] == sent


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its task has taken so many steps."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._task = trio.lowlevel.current_task()
        self._left = step
        if not step:
            scope.cancel()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["one", "many"])
async def test_a_bomb_closes_the_socket_and_what_came_before_is_received(reach: Reach, kind: str, form: str) -> None:
    """With 1009, as soon as it is too large."""
    closes: list[tuple[int, str]] = []

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept()
        before = ["before"] if form == "one" else [bytes(MIB)] * 10
        await compressing.send(*before, bytes(20 * MIB))
        closes.append(await peer.finish())

    url, options = await reach(kind, script)
    options |= {"per_message_deflate": True, "max_message_size": MIB}
    async with connect_socket(url, **options) as task:
        for _ in range(1 if form == "one" else 10):
            assert len(await task.receive()) in {6, MIB}
        with pytest.raises(SocketLostError, match="more than 1048576 bytes"):
            await task.receive()
    assert closes == [(1009, "")]


@pytest.mark.parametrize("reader", ["nobody", "receive", "listener"])
async def test_messages_that_inflate_to_much_stop_the_reading(serve: Serve, reader: str) -> None:
    """The buffer counts what the program gets; what is beyond waits, compressed, and nothing is lost."""

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept()
        await compressing.send(*(bytes([number]) * MIB for number in range(30)))
        await peer.send(close_frame(1000))
        await peer.read_close()
        await peer.stream.aclose()

    options: ConnectOptions = {"receive_buffer": 2 * MIB, "per_message_deflate": True, "dial": serve(script)}
    async with connect_socket(URL, **options) as task:
        if reader == "listener":
            async with task.on_message() as listener:
                await trio.sleep(0.1)
                assert task.statistics().receive_buffered < 4 * MIB
                got = [event.data async for event in listener]
        else:
            if reader == "nobody":
                await trio.sleep(0.1)
                assert task.statistics().receive_buffered < 4 * MIB
            got = [data async for data in task]
        assert got == [bytes([number]) * MIB for number in range(30)]


async def test_other_tasks_run_while_much_is_inflated(serve: Serve) -> None:
    """At least once a MiB, whoever reads."""

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept()
        await compressing.send(bytes(16 * MIB))
        await peer.finish()

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with connect_socket(URL, per_message_deflate=True, dial=serve(script)) as task:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            assert await task.receive() == bytes(16 * MIB)
            nursery.cancel_scope.cancel()
    assert turns >= 16


@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_with_the_response_is_inflated_to_its_end(reach: Reach, kind: str) -> None:
    """Though it takes several turns, and nothing else comes that would wake anybody."""

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept(bytes(6 * MIB), "after")
        await peer.finish()

    url, options = await reach(kind, script)
    options["per_message_deflate"] = True
    with trio.fail_after(60):
        async with connect_socket(url, **options) as task:
            assert await task.receive() == bytes(6 * MIB)
            assert await task.receive() == "after"


async def test_receiving_that_is_cancelled_while_it_inflates_loses_nothing(serve: Serve) -> None:
    """At every step."""
    for step in range(12):

        async def script(peer: Peer) -> None:
            compressing = CompressingPeer(peer)
            await compressing.accept()
            await compressing.send(bytes(6 * MIB), "after")
            await peer.finish()

        async with connect_socket(URL, per_message_deflate=True, dial=serve(script)) as task:
            got: list[str | bytes] = []
            with trio.CancelScope() as scope:
                trio.lowlevel.add_instrument(instrument := CancelAtStep(scope, step))
                try:
                    got.append(await task.receive())
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            while len(got) < 2:
                got.append(await task.receive())
            assert got == [bytes(6 * MIB), "after"]


@pytest.mark.parametrize("how", [pytest.param("reset", marks=pytest.mark.needs("what a reset follows")), "silent"])
async def test_what_has_come_is_inflated_before_a_verdict(reach: Reach, how: str) -> None:
    """The Close frame behind it says how the connection ended."""

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept()
        await compressing.send(bytes(8 * MIB))
        await peer.send(close_frame(4001, "enough"))
        if how == "reset":
            await reset(peer.stream)
        else:
            await peer.read_end()

    url, options = await reach("tcp", script)
    options |= {"max_message_size": 8 * MIB, "per_message_deflate": True, "close_timeout": 0.2}
    if how == "silent":
        options["receive_timeout"] = 0.2
    async with connect_socket(url, **options) as task:
        await trio.sleep(0.05)
        with pytest.raises(SocketLostError):
            while True:
                await task.send("x" * 100)
        event = await task.wait_closed()
    assert (event.code, event.reason) == (4001, "enough")


async def test_damaged_data_closes_with_1007(serve: Serve) -> None:
    """Once; what came before is received, what the program answers is sent."""
    closes: list[tuple[int, str]] = []

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept()
        await compressing.send("good")
        await peer.send(frame(TEXT, b"\xff" * 20, reserved=RSV1), frame(TEXT, b"after"))
        closes.append(await peer.finish())

    async with connect_socket(URL, per_message_deflate=True, dial=serve(script)) as task:
        assert await task.receive() == "good"
        with pytest.raises(SocketLostError, match="compressed data that does not inflate"):
            await task.receive()
    assert closes == [(1007, "")]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_ends_inside_of_a_compressed_message(reach: Reach, kind: str) -> None:
    """What was whole is received, and no part of what was not."""

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        await compressing.accept("whole")
        compressor = Compressor()
        await peer.send(frame(TEXT, compressor.payload("cut off " * 1000)[:40], fin=False, reserved=RSV1))
        await peer.stream.aclose()

    url, options = await reach(kind, script)
    options["per_message_deflate"] = True
    async with connect_socket(url, **options) as task:
        assert await task.receive() == "whole"
        with pytest.raises(SocketLostError):
            await task.receive()
        event = await task.wait_closed()
    assert event.code == 1006


async def test_a_reconnect_has_new_contexts(serve: Serve, autojump_clock: MockClock) -> None:
    """Nothing refers to what another connection has seen, in either direction."""
    peers: list[CompressingPeer] = []

    async def script(peer: Peer) -> None:
        compressing = CompressingPeer(peer)
        peers.append(compressing)
        await compressing.accept()
        with suppress(EOFError):
            while True:
                opcode, payload = await compressing.read()
                if opcode == PING:
                    await peer.send(frame(PONG, payload))
                elif opcode == CLOSE:
                    await peer.send(frame(CLOSE, payload))
                else:
                    await compressing.send(payload.decode())
                    if len(peers) < 4 and len(compressing.received) == 3:
                        await trio.sleep(1)
                        await peer.stream.aclose()
                        return

    options: ConnectOptions = {"per_message_deflate": True, "dial": serve(script)}
    async with open_resilient_socket(URL, backoff=Backoff(random=lambda: 0.0), **options) as socket:
        for number in range(10):
            await socket.send(f"message {number} " * 20)
            assert await socket.receive() == f"message {number} " * 20
            await trio.sleep(2)
        figures = socket.statistics().sockets
        assert 0 < figures.wire_bytes_sent < figures.bytes_sent
        assert 0 < figures.wire_bytes_received < figures.bytes_received
    assert [len(peer.received) for peer in peers] == [3, 3, 3, 1]


async def test_contexts_are_made_when_they_are_needed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first compressed message of each direction, and not with the socket."""
    made: list[str] = []

    def counting(name: str, new: Callable[..., object]) -> Callable[..., object]:
        def make(*arguments: object) -> object:
            made.append(name)
            return new(*arguments)

        return make

    monkeypatch.setattr(_deflate, "new_compressor", counting("deflate", _compressor.new_compressor))
    monkeypatch.setattr(zlib, "decompressobj", counting("inflate", zlib.decompressobj))

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Extensions: permessage-deflate")
        await peer.send(frame(TEXT, b"hello"))
        for _ in range(2):
            await peer.read_any_frame()
        await peer.send(frame(TEXT, bytes.fromhex("f248cdc9c90700"), reserved=RSV1))
        await peer.finish()

    async with connect_socket(URL, per_message_deflate=True, dial=serve(script)) as task:
        await task.send("short")
        assert await task.receive() == "hello"
        assert made == []
        await task.send("long " * 20)
        assert await task.receive() == "Hello"
        assert made == ["deflate", "inflate"]


def test_statistics_of_an_earlier_version() -> None:
    """They had no bytes of the line; what was pickled is still read."""
    figures = SocketStatistics(
        **{field.name: 1 for field in attrs.fields(SocketStatistics) if not field.name.startswith("wire")},
    )
    for one in (figures, attrs.evolve(figures, wire_bytes_sent=3)):
        assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 (its own)
    old = SocketStatistics.__new__(SocketStatistics)
    old.__setstate__({name: value for name, value in attrs.asdict(figures).items() if not name.startswith("wire")})
    assert old == figures


async def websockets_echo(connection: ServerConnection) -> None:
    """Echo; what it sends is compressed."""
    async for message in connection:
        await connection.send(message)


OFFERS = [
    PerMessageDeflate(),
    PerMessageDeflate(client_max_window_bits=15, memory_level=8, level=1, threshold=0),
    PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9),
    PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True),
]
FACTORIES = [
    ServerPerMessageDeflateFactory(),
    ServerPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=10),
    ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),
]


Tell = Callable[[tuple[int, Callable[[], object]]], None]


def run_websockets_server(context: ssl.SSLContext | None, factory: ServerPerMessageDeflateFactory, tell: Tell) -> None:
    """Run websockets' server in a thread, until told to stop."""

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with serve_websockets(
            websockets_echo, "127.0.0.1", 0, ssl=context, compression=None, extensions=[factory], max_size=None
        ) as server:
            port = server.sockets[0].getsockname()[1]
            trio.from_thread.run_sync(tell, (port, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    asyncio.run(main())


@pytest.mark.long
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("factory", FACTORIES, ids=["any", "10 bits", "each by itself"])
async def test_with_the_server_of_websockets(
    tls: bool,  # noqa: FBT001 (a parameter)
    factory: ServerPerMessageDeflateFactory,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """Whatever is agreed on, messages of every size come back, one by one and in a burst."""
    send, receive = trio.open_memory_channel[tuple[int, Callable[[], object]]](1)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            run = partial(run_websockets_server, server_context if tls else None, factory, send.send_nowait)
            nursery.start_soon(trio.to_thread.run_sync, run)
            port, stop = await receive.receive()
            options: ConnectOptions = {"ssl_context": client_context} if tls else {}
            for wanted in OFFERS:
                url = f"ws{'s' * tls}://127.0.0.1:{port}/"
                options["per_message_deflate"] = wanted
                async with connect_socket(url, **options) as task:
                    assert task.per_message_deflate is not None
                    for size in (0, 1, 63, 64, 500, 65_535, 65_536, 122_880, 122_881, 300_000):
                        for data in ("y" * size, noise(size, size)):
                            await task.send(data)
                            assert await task.receive() == data
                    for number in range(100):
                        task.send_nowait(f"number {number} " * 20)
                    for number in range(100):
                        assert await task.receive() == f"number {number} " * 20
            stop()
