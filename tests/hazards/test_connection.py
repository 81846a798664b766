"""The hazards of opening, running and closing a connection, against a peer that speaks raw bytes.

Ids such as O1 are rows of the tables in `docs/explanation/reliability.md`. Where a test takes `network`, it
runs on memory streams with a virtual clock, over loopback TCP, and over TLS; the real clock is never measured, only
outwaited.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol, Unpack

import attrs
import pytest
import trio
from conftest import Reach, Serve, ServeTcp
from needs import refusal_text
from peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, URL, Peer, Script, close_frame, echo, frame, reset
from trio.testing import MockClock

from trio_socket_task import (
    CloseEvent,
    ConnectError,
    ConnectOptions,
    ConnectTimeoutError,
    HandshakeError,
    Heartbeat,
    ReadyState,
    SocketClosedError,
    SocketLostError,
    connect_socket,
    open_socket_manager,
)


class Connect(Protocol):
    """Starts a peer and gives the URL and the options that reach it."""

    async def __call__(self, script: Script, **more: Unpack[ConnectOptions]) -> tuple[str, ConnectOptions]: ...


@attrs.frozen
class Network:
    """A kind of connection between client and peer."""

    kind: str
    connect: Connect


@pytest.fixture(params=["memory", "tcp", "tls"])
async def network(request: pytest.FixtureRequest, reach: Reach, mock_clock: MockClock) -> AsyncIterator[Network]:
    """Give each kind of connection; the clock is virtual on memory streams."""

    async def connect(script: Script, **more: Unpack[ConnectOptions]) -> tuple[str, ConnectOptions]:
        url, options = await reach(request.param, script)
        more.update(options)
        return url, more

    if request.param == "memory":
        mock_clock.autojump_threshold = 0
    else:
        mock_clock.rate = 1
    with trio.move_on_after(60) as scope:
        yield Network(request.param, connect)
    assert not scope.cancelled_caught


# Opening


async def test_o1_a_silent_server(network: Network, mock_clock: MockClock) -> None:
    """ConnectTimeoutError at the deadline."""

    async def script(peer: Peer) -> None:
        with suppress(AssertionError):  # on a slow machine the deadline may come before the request
            await peer.read_request()
        await peer.read_end()

    url, options = await network.connect(script, timeout=0.3)
    with pytest.raises(ConnectTimeoutError):
        async with connect_socket(url, **options):
            pass


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 101 Switching"])
async def test_o2_the_end_during_the_handshake(network: Network, mock_clock: MockClock, part: bytes) -> None:
    """ConnectError at once; it says what the peer did."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if part:
            await peer.send(part)
        await peer.stream.aclose()

    url, options = await network.connect(script)
    with pytest.raises(ConnectError, match="the peer closed the connection during the handshake"):
        async with connect_socket(url, **options):
            pass


async def test_o3_tls_to_a_plain_port(serve_tcp: ServeTcp, client_context: ssl.SSLContext) -> None:
    """ConnectError at once, the TLS error its cause."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.stream.aclose()

    url = (await serve_tcp(script)).replace("ws://", "wss://")
    with pytest.raises(ConnectError, match="the TLS handshake failed") as caught:
        async with connect_socket(url, ssl_context=client_context):
            pass
    assert isinstance(caught.value.__cause__, ssl.SSLError)


@pytest.mark.parametrize(
    ("trusted", "host", "words"), [(False, "127.0.0.1", "verify failed"), (True, "127.0.0.2", "mismatch")]
)
async def test_o3_an_untrusted_certificate_or_a_wrong_name(  # noqa: PLR0913 (fixtures and a table)
    *,
    serve_tcp: ServeTcp,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    trusted: bool,
    host: str,
    words: str,
) -> None:
    """ConnectError at once, with the words of the TLS library."""

    async def script(peer: Peer) -> None:
        with suppress(trio.BrokenResourceError):
            await peer.stream.receive_some()

    url = await serve_tcp(script, server_context)
    port = int(url.rsplit(":", 1)[1].strip("/"))

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", port)

    options: ConnectOptions = {"dial": dial}
    if trusted:
        options["ssl_context"] = client_context
    with pytest.raises(ConnectError, match=words) as caught:
        async with connect_socket(f"wss://{host}/", **options):
            pass
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_o3_a_reset_inside_tls(serve_tcp: ServeTcp, client_context: ssl.SSLContext) -> None:
    """ConnectError at once, the OS error its cause."""
    url = (await serve_tcp(lambda peer: reset(peer.stream))).replace("ws://", "wss://")
    with pytest.raises(ConnectError, match=r"the TLS handshake failed|reset") as caught:
        async with connect_socket(url, ssl_context=client_context):
            pass
    assert isinstance(caught.value.__cause__, OSError)


async def test_o4_an_endless_body(network: Network, mock_clock: MockClock) -> None:
    """HandshakeError at the cap, with what came so far."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nX-A: b\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            while True:
                await peer.send(b"x" * 1000)

    url, options = await network.connect(script)
    with pytest.raises(HandshakeError) as caught:
        async with connect_socket(url, **options):
            pass
    assert (caught.value.status_code, caught.value.header["x-a"]) == (403, "b")
    assert len(caught.value.body) <= 65536


async def test_o4_an_endless_header(network: Network, mock_clock: MockClock) -> None:
    """HandshakeError at the cap."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 101 X\r\n")
        with suppress(trio.BrokenResourceError):
            while True:
                await peer.send(b"x: y\r\n" * 100)

    url, options = await network.connect(script)
    with pytest.raises(HandshakeError):
        async with connect_socket(url, **options):
            pass


@pytest.mark.parametrize("case", ["garbage", "wrong accept", "unasked protocol"])
async def test_o5_a_wrong_answer(network: Network, mock_clock: MockClock, case: str) -> None:
    """HandshakeError at once."""

    async def script(peer: Peer) -> None:
        if case == "unasked protocol":
            await peer.accept("Sec-WebSocket-Protocol: unasked")
        else:
            await peer.read_request()
            head = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
            await peer.send(b"220 smtp.example ESMTP\r\n" if case == "garbage" else head)
        await peer.read_end()

    url, options = await network.connect(script)
    with pytest.raises(HandshakeError):
        async with connect_socket(url, **options):
            pass


async def test_o6_interim_responses(network: Network, mock_clock: MockClock) -> None:
    """100 and 103 are skipped."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await echo(peer)

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        await task.send("x")
        assert await task.receive() == "x"


async def test_o7_a_redirect(network: Network, mock_clock: MockClock) -> None:
    """HandshakeError with the status and the Location."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 302 Found\r\nLocation: wss://other/\r\nContent-Length: 0\r\n\r\n")
        await peer.read_end()

    url, options = await network.connect(script)
    with pytest.raises(HandshakeError) as caught:
        async with connect_socket(url, **options):
            pass
    assert (caught.value.status_code, caught.value.header["location"]) == (302, "wss://other/")


async def test_o8_frames_with_the_101(network: Network, mock_clock: MockClock) -> None:
    """Delivered, in order."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"1") + frame(TEXT, b"2") + close_frame(1000))
        await peer.finish()

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        assert [data async for data in task] == ["1", "2"]


@pytest.mark.parametrize(
    ("url", "host"),
    [("ws://[::1]:8000/", "[::1]:8000"), ("ws://a:443/", "a:443"), ("ws://a:80/", "a"), ("ws://a/", "a")],
)
async def test_o9_the_host_field(serve: Serve, url: str, host: str) -> None:
    """As RFC 7230 section 5.4 wants it."""
    hosts: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        hosts.append(peer.field("host"))
        await peer.finish()

    async with connect_socket(url, dial=serve(script)):
        pass
    assert hosts == [host]


async def test_o10_nobody_there() -> None:
    """ConnectError for a name that does not resolve and for a refusal on every address; the cause is kept."""
    with pytest.raises(ConnectError) as caught:
        async with connect_socket("ws://name.invalid/"):
            pass
    assert isinstance(caught.value.__cause__, socket.gaierror)
    with pytest.raises(ConnectError, match=re.escape(refusal_text())) as caught:
        async with connect_socket("ws://127.0.0.1:1/"):
            pass
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("when", ["dialling", "shaking hands"])
async def test_o11_called_off(network: Network, mock_clock: MockClock, when: str) -> None:
    """Nothing leaks: the peer sees the end, the slot is free, no task is left."""
    begun, ended = trio.Event(), trio.Event()

    async def script(peer: Peer) -> None:
        if when == "shaking hands":
            await peer.read_request()
        begun.set()
        await peer.read_end()
        ended.set()

    async def connect() -> None:
        async with connect_socket(url, manager=manager, **options):
            raise AssertionError("it must not open")

    url, options = await network.connect(script)
    async with open_socket_manager() as manager:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert manager.sockets == ()
    await ended.wait()


# Running


async def test_r1_a_program_that_does_not_read(network: Network, mock_clock: MockClock) -> None:
    """Pings are answered and the peer's close is seen all the same."""
    answered: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(50):
            await peer.send(*[frame(TEXT, b"unread")] * 20, frame(PING, b"%d" % number))
            answered.append((await peer.read_frame())[1])
        await peer.send(close_frame(1000))
        await peer.finish()

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        assert (await task.wait_closed()).code == 1000
        assert len([data async for data in task]) == 1000
    assert len(answered) == 50


async def test_r2_sends_that_are_cancelled(network: Network, mock_clock: MockClock) -> None:
    """Each message arrives whole or not at all, and the connection goes on."""
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        while (item := await peer.read_frame())[0] == BINARY:
            got.append(item[1])
            await trio.lowlevel.checkpoint()
        await peer.send(close_frame(1000))
        await peer.stream.aclose()

    url, options = await network.connect(script, send_buffer=100_000)
    sent: list[bytes] = []
    async with connect_socket(url, **options) as task:
        for number in range(300):
            data = b"%d" % number * 10_000
            with trio.CancelScope() as scope:
                if number % 3 == 0:
                    scope.cancel()
                elif number % 3 == 1:
                    scope.deadline = trio.current_time() + 0.001
                await task.send(data)
                sent.append(data)
    assert got == sent
    assert len(sent) >= 100


@pytest.mark.long
async def test_r3_both_sides_write_at_once(network: Network, mock_clock: MockClock) -> None:
    """No deadlock: reading never waits for writing, and pings are answered meanwhile."""
    size, count = 2**20, 20
    totals = {"up": 0, "pongs": 0}

    async def script(peer: Peer) -> None:
        await peer.accept()

        async def flood() -> None:
            for _ in range(count):
                await peer.send(frame(BINARY, bytes(size)), frame(PING, b"now"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            while (item := await peer.read_frame())[0] != CLOSE:
                totals["pongs" if item[0] == PONG else "up"] += 1 if item[0] == PONG else len(item[1])
        await peer.send(close_frame(1000))
        await peer.stream.aclose()

    async def send() -> None:
        for _ in range(count):
            await task.send(bytes(size))

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        down = 0
        while down < count * size:
            down += len(await task.receive())
    assert totals["up"] == count * size
    assert totals["pongs"] >= count - 1  # the last ping may cross our Close


async def test_r4_a_heartbeat_behind_a_blocked_send(serve: Serve, autojump_clock: MockClock) -> None:
    """The socket is lost at the heartbeat's deadline."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    beat = Heartbeat(interval=5, timeout=3)
    async with connect_socket(URL, dial=serve(script, lockstep=True), heartbeat=beat, send_buffer=1) as task:
        with pytest.raises(SocketLostError, match="no pong"):
            while True:
                await task.send(b"x" * 1000)
        assert trio.current_time() == pytest.approx(8)


async def test_r5_a_ping_when_the_connection_dies(network: Network, mock_clock: MockClock) -> None:
    """It raises at once."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        await reset(peer.stream)

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        with pytest.raises(SocketLostError):
            await task.ping()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"a", reserved=0x40), 1002),
        (frame(3), 1002),
        (b"\x81\x81abcdx", 1002),
        (b"\x82\x7e\x00\x01x", 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"", fin=False), 1002),
        (close_frame(999), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (frame(CONTINUATION, b"x"), 1002),
    ],
)
async def test_r6_a_violation(network: Network, mock_clock: MockClock, bad: bytes, code: int) -> None:
    """Close on the wire, one error, one close; what came whole before it is delivered."""
    seen: list[tuple[int, str]] = []

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"before") + bad)
        seen.append(await peer.read_close())
        if network.kind == "memory":
            await peer.read_end()  # until the deadline, which costs nothing there
        await peer.stream.aclose()

    url, options = await network.connect(script, close_timeout=0.2)
    async with connect_socket(url, **options) as task:
        assert await task.receive() == "before"
        with pytest.raises(SocketLostError, match="the peer sent"):
            await task.receive()
        assert await task.wait_closed() == CloseEvent(code=1006)
        assert len([event async for event in task.on_error()]) == 1
    assert seen == [(code, "")]


@pytest.mark.parametrize("pieces", [1, 3])
async def test_r7_a_message_that_is_too_large(network: Network, mock_clock: MockClock, pieces: int) -> None:
    """Close 1009, by its header; earlier messages are delivered."""
    seen: list[tuple[int, str]] = []

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"before"))
        if pieces == 1:
            await peer.send(frame(BINARY, bytes(1001))[:4])
        else:
            await peer.send(frame(BINARY, bytes(500), fin=False), frame(CONTINUATION, bytes(500), fin=False))
            await peer.send(frame(CONTINUATION, b"x")[:2])
        seen.append(await peer.read_close())
        await peer.stream.aclose()

    url, options = await network.connect(script, max_message_size=1000)
    async with connect_socket(url, **options) as task:
        assert await task.receive() == "before"
        with pytest.raises(SocketLostError, match="raise max_message_size"):
            await task.receive()
    assert seen == [(1009, "")]


@pytest.mark.parametrize("end", ["reset", "half-close"])
async def test_r8_a_drop(network: Network, mock_clock: MockClock, end: str) -> None:
    """SocketLostError, close 1006; over TLS without close_notify, too."""
    released = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"last"))
        await peer.read_frame()
        inner = peer.stream.transport_stream if isinstance(peer.stream, trio.SSLStream) else peer.stream
        if end == "reset" or not isinstance(inner, trio.abc.HalfCloseableStream):
            await reset(peer.stream)
        else:
            await inner.send_eof()
            await released.wait()

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        assert await task.receive() == "last"
        await task.send("go")
        with pytest.raises(SocketLostError):
            await task.receive()
        assert await task.wait_closed() == CloseEvent(code=1006)
    released.set()


async def test_r9_two_tasks_read_one_socket(network: Network, mock_clock: MockClock) -> None:
    """Each message goes to one of them; none is lost."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(100):
            await peer.send(frame(TEXT, b"%d" % number))
            await trio.lowlevel.checkpoint()
        await peer.send(close_frame(1000))
        await peer.finish()

    got: list[str | bytes] = []

    async def read() -> None:
        got.extend([data async for data in task])

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task, trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
    assert sorted(map(int, got)) == list(range(100))


async def test_r10_a_listener_nobody_reads(network: Network, mock_clock: MockClock) -> None:
    """Bounded; its socket goes on when it is closed."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(100):
            await peer.send(frame(BINARY, b"%10000d" % number))
        await peer.finish()

    url, options = await network.connect(script, receive_buffer=100_000)
    async with connect_socket(url, **options) as task:
        unread = task.on_message()
        assert task.statistics().receive_buffered < 1_300_000
        with trio.move_on_after(0.1):
            for _ in range(100):
                await task.receive()
        unread.close()
        last = b""
        while int(last or b"0") < 99:
            last = await task.receive()  # type: ignore[assignment]


@pytest.mark.long
async def test_r11_many_small_fragments(network: Network, mock_clock: MockClock) -> None:
    """Linear time: a million one-byte fragments are one message."""
    count = 2**20 if network.kind == "memory" else 2**16

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(BINARY, b"x", fin=False))
        for _ in range(64):
            await peer.send(frame(CONTINUATION, b"x", fin=False) * (count // 64))
        await peer.send(frame(CONTINUATION))
        await peer.finish()

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        assert await task.receive() == b"x" * (count + 1)


# Closing


async def test_c1_the_peer_never_answers_our_close(network: Network, mock_clock: MockClock) -> None:
    """Quiet, at the deadline, the event as requested."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_end()

    url, options = await network.connect(script, close_timeout=0.2)
    async with connect_socket(url, **options) as task:
        task.close(4001, "bye")
    assert task.close_event == CloseEvent(code=4001, reason="bye")
    assert [event async for event in task.on_error()] == []


async def test_c2_the_peer_closes_and_never_ends(network: Network, mock_clock: MockClock) -> None:
    """Gone by the deadline."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=close_frame(1001))
        await peer.read_end()

    url, options = await network.connect(script, close_timeout=0.2)
    async with connect_socket(url, **options) as task:
        assert [data async for data in task] == []
    assert task.close_event == CloseEvent(code=1001, peer_code=1001)


async def test_c3_a_ping_after_our_close(network: Network, mock_clock: MockClock) -> None:
    """Ignored, and the rest of the program runs."""
    after: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await peer.send(frame(PING, b"late"), frame(TEXT, b"late"), close_frame(1000))
        assert await peer.stream.receive_some(1) == b""

    url, options = await network.connect(script, close_timeout=0.2)
    async with connect_socket(url, **options) as task:
        task.close()
        assert [data async for data in task] == ["late"]
        after.append("ran")
    assert after == ["ran"]
    assert task.close_event == CloseEvent(code=1000, peer_code=1000)


async def test_c4_a_reset_after_our_close(network: Network, mock_clock: MockClock) -> None:
    """The requested code stands."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await reset(peer.stream)

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        await task.aclose(4001, "mine")
    assert task.close_event == CloseEvent(code=4001, reason="mine")
    errors = [event.err_msg async for event in task.on_error()]
    assert len(errors) == (0 if network.kind == "memory" else 1)


async def test_c5_leaving_while_a_sender_waits(network: Network, mock_clock: MockClock) -> None:
    """Gone by the deadline; the sender gets SocketClosedError."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async def send() -> None:
        with pytest.raises(SocketClosedError):
            while True:
                await task.send(bytes(2**20))

    url, options = await network.connect(script, close_timeout=0.2)
    async with trio.open_nursery() as nursery, connect_socket(url, **options) as task:
        nursery.start_soon(send)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
    assert task.ready_state is ReadyState.CLOSED


async def test_c6_messages_after_our_close(network: Network, mock_clock: MockClock) -> None:
    """Still delivered, until the peer's Close."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_close()
        await peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"), close_frame(1000), frame(TEXT, b"3"))
        await peer.stream.aclose()

    url, options = await network.connect(script)
    async with connect_socket(url, **options) as task:
        task.close()
        assert [data async for data in task] == ["1", "2"]


@pytest.mark.parametrize("error", [KeyError("body"), KeyboardInterrupt(), SystemExit(3)])
async def test_c7_the_body_raises(network: Network, mock_clock: MockClock, error: BaseException) -> None:
    """Close 1001 is attempted, without waiting for the peer; the exception comes out unchanged."""
    seen: list[tuple[int, str]] = []
    read = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        seen.append(await peer.read_close())
        read.set()
        await trio.sleep_forever()

    url, options = await network.connect(script)
    with pytest.raises(type(error)) as caught:
        async with connect_socket(url, **options):
            raise error
    assert caught.value is error
    await read.wait()
    assert seen == [(1001, "")]


@pytest.mark.needs("what a reset follows")
async def test_c8_the_bodys_exception_and_a_lost_connection(network: Network, mock_clock: MockClock) -> None:
    """The body's is the only one: its group un-nested, its notes and context intact."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await reset(peer.stream)

    group = ExceptionGroup("mine", [ValueError("a"), KeyError("b")])
    group.add_note("a note")
    context = LookupError("context")
    group.__context__ = context
    url, options = await network.connect(script)
    with pytest.raises(ExceptionGroup) as caught:
        async with connect_socket(url, **options) as task:
            await task.wait_closed()
            raise group
    assert caught.value is group
    assert (caught.value.__notes__, caught.value.__context__) == (["a note"], context)


@pytest.mark.parametrize("way", ["break", "exception", "cancellation"])
async def test_c9_leaving_an_iteration(network: Network, mock_clock: MockClock, way: str) -> None:
    """Clean in every case."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"1") + frame(TEXT, b"2"))
        with suppress(EOFError, trio.BrokenResourceError):
            await peer.finish()

    url, options = await network.connect(script)
    with trio.CancelScope() as scope, suppress(KeyError):
        async with connect_socket(url, **options) as task:
            async for _ in task:
                if way == "break":
                    break
                if way == "exception":
                    raise KeyError
                scope.cancel()
    assert scope.cancelled_caught is (way == "cancellation")
    assert task.ready_state is ReadyState.CLOSED


async def test_c10_leaving_while_reading_is_paused(network: Network, mock_clock: MockClock) -> None:
    """Gone by the deadline."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        with suppress(trio.BrokenResourceError):
            while True:
                await peer.send(frame(BINARY, bytes(1000)))
                await trio.sleep(0.001)

    url, options = await network.connect(script, receive_buffer=5000, close_timeout=0.2)
    async with connect_socket(url, **options) as task:
        await trio.sleep(0.1)
    assert task.close_event == CloseEvent(code=1000)
