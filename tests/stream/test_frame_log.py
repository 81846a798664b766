"""`_frame_log` and `_progress`: what the log tells of a connection, where somebody listens, and what it never tells."""

from __future__ import annotations

import logging
import re
import socket
import ssl

import pytest
import trio
from conftest import Reach, Serve
from peer import BINARY, CONTINUATION, PING, TEXT, URL, Peer, close_frame, echo, frame
from trio.testing import memory_stream_pair

from trio_socket_task import ConnectError, Heartbeat, SocketLostError, connect_socket
from trio_socket_task._stream._dial import _address, _addresses
from trio_socket_task._stream._frame_log import LoggedWire, log_frames
from trio_socket_task._stream._wire import StreamWire
from trio_socket_task.testing import open_memory_server, open_test_server

FRAMES, STEPS = "trio_socket_task.frames", "trio_socket_task"
SECRET = "top-secret"  # noqa: S105 (it is none)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Listen to everything."""
    caplog.set_level(logging.DEBUG, STEPS)
    return caplog


def lines(log: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Give what a logger was told, without the socket's number and the time."""
    found = [record.getMessage() for record in log.records if record.name == name]
    return [re.sub(r"^#\d+ ([\d.]+ ms: )?", "", line) for line in found]


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
async def test_frames_of_both_directions_are_told_in_their_order(
    reach: Reach, log: pytest.LogCaptureFixture, kind: str
) -> None:
    """Each once, whether it was written at once, by the task, or in pieces; from the first one on."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"wel", fin=False))
        await peer.send(frame(PING, b"?"), frame(CONTINUATION, b"come"))
        await peer.echo()

    url, options = await reach(kind, script)
    async with connect_socket(url, **options) as task:
        assert await task.receive() == "welcome"
        await task.send("a")
        assert await task.receive() == "a"
        await task.send(bytes(300_000))
        await task.send(b"\x01")
        assert len(await task.receive()) == 300_000
        assert await task.receive() == b"\x01"
    told, zeros = lines(log, FRAMES), "0" * 80
    assert told == [
        "< TEXT 3 bytes, no flags: wel",
        "< PING 1 bytes, FIN: 3f",
        "< CONTINUATION 4 bytes, FIN: come",
        "> PONG 1 bytes, FIN MASK: 3f",
        "> TEXT 1 bytes, FIN MASK: a",
        "< TEXT 1 bytes, FIN: a",
        f"> BINARY 300000 bytes, FIN MASK: {zeros}",
        "> BINARY 1 bytes, FIN MASK: 01",
        f"< BINARY 300000 bytes, FIN: {zeros}",
        "< BINARY 1 bytes, FIN: 01",
        "> CLOSE 2 bytes, FIN MASK: 1000",
        "< CLOSE 2 bytes, FIN: 1000",
    ]


async def test_what_breaks_the_protocol_is_told(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    """With the flag that should not be, and the Close that answers it."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(BINARY, b"x", reserved=0x20))
        await peer.read_end()

    with pytest.raises(SocketLostError, match="reserved bit"):
        async with connect_socket(URL, dial=serve(script), close_timeout=0.1) as task:
            await task.receive()
    assert lines(log, FRAMES) == ["< BINARY 1 bytes, FIN RSV2: 78", "> CLOSE 2 bytes, FIN MASK: 1002"]
    assert "reserved bit" in lines(log, STEPS)[-1]


async def test_the_steps_of_a_connection_are_told(log: pytest.LogCaptureFixture) -> None:
    """Over TLS there are all of them, and no value of a header field, nor a query, is among them."""
    header = {"Authorization": f"Bearer {SECRET}", "Cookie": f"a={SECRET}"}
    async with open_test_server(tls=True) as server:
        url = f"{server.url}?token={SECRET}"
        async with connect_socket(url, header=header, ssl_context=server.ssl_context) as task:
            assert task.tls is not None
            here, there, tls = task.local_address, task.remote_address, task.tls
        assert (task.local_address, task.remote_address, task.tls) == (here, there, tls), "they are known afterwards"
    assert isinstance(here, tuple)
    assert isinstance(there, tuple)
    assert lines(log, STEPS) == [
        f"connecting to {server.url}?***",
        f"resolved to {there[0]}",
        f"connected from {here[0]}:{here[1]} to {there[0]}:{there[1]}",
        f"TLS done: {tls.version} {tls.cipher}, ALPN none",
        "handshake done: protocol none, fields Upgrade, Connection, Sec-WebSocket-Accept",
        "closed with 1000; the peer with 1000",
    ]
    assert SECRET not in log.text
    assert tls.peer_certificate is not None
    assert str(tls.peer_certificate) not in repr(tls)


async def test_a_failed_opening_is_told(log: pytest.LogCaptureFixture) -> None:
    """Where it failed, and why."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError):
            async with connect_socket(f"ws://127.0.0.1:{nobody.getsockname()[1]}/"):
                pass
    *_, resolved, end = lines(log, STEPS)
    assert resolved == "resolved to 127.0.0.1"
    assert end.startswith("closed with 1006; cannot connect to ws://127.0.0.1:")


async def test_a_name_that_does_not_resolve_is_told(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the opening itself, not by the log's own look."""

    async def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", fail)
    with pytest.raises(ConnectError, match=r"nowhere\.test/: \[Errno"):
        async with connect_socket("ws://nowhere.test/"):
            pass
    assert [line.split()[0] for line in lines(log, STEPS)] == ["connecting", "closed"]


async def test_the_close_of_the_peer_is_told(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    """With its reason, printable."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(close_frame(4001, "go\naway"))
        await peer.read_end()

    async with connect_socket(URL, dial=serve(script), close_timeout=0.1) as task:
        await task.wait_closed()
    assert lines(log, STEPS)[-1] == "closed with 4001 go\\x0aaway; the peer with 4001 go\\x0aaway"
    assert "connected from no address to no address" in lines(log, STEPS)


async def test_sockets_have_numbers(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    """The same in both logs, another for each socket."""
    dial = serve(echo)
    async with connect_socket(URL, dial=dial) as one, connect_socket(URL, dial=dial) as two:
        await one.send("1")
        await two.send("2")
    numbers = {record.getMessage().split()[0] for record in log.records if record.name == STEPS}
    assert len(numbers) == 2
    assert {record.getMessage().split()[0] for record in log.records if record.name == FRAMES} == numbers


async def test_a_log_that_fails_harms_nobody(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    """Be it a filter or a handler of the program's."""

    def fail(_record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    loggers = [logging.getLogger(name) for name in (STEPS, FRAMES)]
    for logger in loggers:
        logger.addFilter(fail)
    try:
        async with connect_socket(URL, dial=serve(echo), heartbeat=Heartbeat()) as task:
            await task.send("hello")
            assert await task.receive() == "hello"
    finally:
        for logger in loggers:
            logger.removeFilter(fail)
    assert log.records == []


async def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Then the wire is the one that there is, and no line is made."""
    wire = StreamWire(memory_stream_pair()[0])
    assert log_frames(wire, 1, b"") is wire
    async with open_memory_server() as server, connect_socket(server.url, dial=server.dial) as task:
        await task.send("hello")
        assert await task.receive() == "hello"
    assert caplog.records == []


async def test_a_logged_wire_says_what_its_wire_says(log: pytest.LogCaptureFixture) -> None:
    """Of itself, too."""
    wire = StreamWire(memory_stream_pair()[0])
    logged = log_frames(wire, 1, b"")
    assert isinstance(logged, LoggedWire)
    assert (logged.pending_output(), logged.receive_now(1), logged.reads_now) == (b"", None, False)
    assert (logged.incomplete_at, logged.close_now()) == (-float("inf"), False)
    await logged.aclose()
    assert log.records == []


@pytest.mark.needs("unix sockets")
async def test_addresses() -> None:
    """TCP, Unix sockets, TLS of the program's own over them; nothing where there is none, or not any more."""
    ours, theirs = socket.socketpair()
    with theirs:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        assert _addresses(stream) == ("", "")
        assert _addresses(memory_stream_pair()[0]) == (None, None)
        await stream.aclose()
        assert _addresses(stream) == (None, None)
    assert _address(lambda: ("fe80::1%eth0", 80, 0, 2)) == ("fe80::1%eth0", 80)
    assert _address(lambda: (2, 1024)) is None


@pytest.mark.needs("unix sockets")
async def test_addresses_below_tls(client_context: ssl.SSLContext) -> None:
    """A `dial` may return a stream that has TLS already."""
    ours, theirs = socket.socketpair()
    with theirs:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        assert _addresses(trio.SSLStream(stream, client_context, server_hostname="localhost")) == ("", "")
        await stream.aclose()
