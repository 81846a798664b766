"""`_handshake`: the response, its head and nothing after it; and all that is not one."""

from __future__ import annotations

import warnings

import pytest
import trio
from conftest import Serve
from peer import TEXT, URL, Peer, Script, echo, frame

from trio_socket_task import (
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    SocketClosedError,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task._stream._wire import StreamWire


async def refuse(peer: Peer, *parts: bytes, end: bool = True) -> None:
    """Read the request and send raw bytes."""
    await peer.read_request()
    for part in parts:
        await peer.send(part)
    if end:
        await peer.stream.aclose()
    else:
        await peer.read_end()


def refusal(*parts: bytes, end: bool = True) -> Script:
    """Give a script that refuses."""
    return lambda peer: refuse(peer, *parts, end=end)


async def test_the_request(serve: Serve) -> None:
    """What was asked for stands in the request (RFC 6455 section 4.1)."""
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.accept("X-Served-By: test", "Sec-WebSocket-Protocol: two")
        seen.append(peer)
        await peer.finish()

    async with connect_socket(
        "ws://server.test:81/chat?x=1", dial=serve(script), header={"X-Token": "tö"}, protocols=["one", "two"]
    ) as task:
        assert task.protocol == "two"
        assert task.header["x-served-by"] == "test"
    assert seen[0].request.startswith(b"GET /chat?x=1 HTTP/1.1\r\n")
    assert seen[0].field("host") == "server.test:81"
    assert seen[0].field("x-token") == "tö".encode().decode("latin-1")
    assert seen[0].field("sec-websocket-protocol") == "one, two"
    assert seen[0].field("sec-websocket-version") == "13"


async def test_o8_frames_in_the_same_segment_as_the_101(serve: Serve) -> None:
    """They are delivered, in order."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"three")[:3])
        await peer.send(frame(TEXT, b"three")[3:])
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert [await task.receive() for _ in range(3)] == ["one", "two", "three"]


async def test_o6_interim_responses_are_skipped(serve: Serve) -> None:
    """100 and 103 before the 101, in one segment or byte by byte."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n":
            await peer.send(bytes([byte]))
        await peer.accept()
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert "link" not in task.header


@pytest.mark.parametrize(
    ("parts", "status", "body", "why"),
    [
        ([b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n", b"nope"], 403, b"nope", "403 Forbidden"),
        ([b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"], 404, b"", "answered 404"),
        ([b"HTTP/1.1 500 X\r\n\r\n", b"until ", b"the end"], 500, b"until the end", "500 X"),
        ([b"HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n"], 502, b"abc", "502"),
        ([b"HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], 502, b"", "502"),
        ([b"HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\n", b"cut"], 503, b"cut", "503"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"], 200, b"hi", "200 OK"),
    ],
)
async def test_a_refusal_is_read(serve: Serve, parts: list[bytes], status: int, body: bytes, why: str) -> None:
    """Status, fields and body, whatever frames the body."""
    with pytest.raises(HandshakeError, match=f"the server answered {why}|{why}") as caught:
        async with connect_socket(URL, dial=serve(refusal(*parts))):
            pass
    assert (caught.value.status_code, caught.value.body, caught.value.url) == (status, body, URL)


async def test_o7_a_redirect_shows_where_to(serve: Serve) -> None:
    """It is not followed; the Location is in the fields and in the words."""
    dial = serve(refusal(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(HandshakeError, match="302 Found; it points to /other") as caught:
        async with connect_socket(URL, dial=dial):
            pass
    assert caught.value.header["location"] == "/other"


async def test_o4_an_endless_body_is_cut(serve: Serve) -> None:
    """At 64 KiB, with the status and the beginning of the body."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(b"x" * 1000)

    with pytest.raises(HandshakeError) as caught:
        async with connect_socket(URL, dial=serve(script, lockstep=True)):
            pass
    assert caught.value.status_code == 403
    assert 60_000 < len(caught.value.body) <= 65_536


async def test_o4_a_slow_body_is_not_awaited(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    """A second, or half of what is left of the opening's time."""
    dial = serve(refusal(b"HTTP/1.1 403 Forbidden\r\n\r\nbegin", end=False))
    for timeout, waited in ((60.0, 1.0), (1.0, 0.5)):
        started = trio.current_time()
        with pytest.raises(HandshakeError) as caught:
            async with connect_socket(URL, dial=dial, timeout=timeout):
                pass
        assert caught.value.body == b"begin"
        assert trio.current_time() - started == pytest.approx(waited, abs=0.01)


async def test_o4_an_endless_header_is_refused(serve: Serve) -> None:
    """In one field or in many, and in interim responses."""
    for endless in (b"x" * 1000, b"x: y\r\n" * 100, b"x\r\n\r\nHTTP/1.1 103 Early\r\nX: " + b"x" * 900):

        async def script(peer: Peer, endless: bytes = endless) -> None:
            await peer.read_request()
            await peer.send(b"HTTP/1.1 103 Early\r\nX: ")
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await peer.send(endless)

        with pytest.raises(HandshakeError, match=r"head of more than 65536 bytes|not valid HTTP"):
            async with connect_socket(URL, dial=serve(script, lockstep=True)):
                pass


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-OpenSSH_9\r\n", b"\x15\x03\x01\x00\x02\x02\x16\r\n", b"HTTP/1.1 abc\r\n\r\n"]
)
async def test_o5_garbage_is_refused_at_once(serve: Serve, garbage: bytes) -> None:
    """Without waiting for more."""
    with pytest.raises(HandshakeError, match="the server's response is not valid HTTP") as caught:
        async with connect_socket(URL, dial=serve(refusal(garbage, end=False))):
            pass
    assert caught.value.status_code is None


HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (HEAD + b"Sec-WebSocket-Accept: wrong\r\n\r\n", "has a wrong Sec-WebSocket-Accept"),
        (HEAD + b"\r\n", "has a wrong Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n", "has no Upgrade: websocket"),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "has no Connection: Upgrade"),
    ],
)
async def test_o5_a_wrong_101_is_refused_at_once(serve: Serve, response: bytes, why: str) -> None:
    """The words say what is wrong with it."""
    with pytest.raises(HandshakeError, match=f"the server's response {why}") as caught:
        async with connect_socket(URL, dial=serve(refusal(response, end=False))):
            pass
    assert caught.value.status_code == 101


@pytest.mark.parametrize(
    "fields", [["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"], ["Sec-WebSocket-Accept: x"]]
)
async def test_o5_fields_that_must_not_repeat(serve: Serve, fields: list[str]) -> None:
    """RFC 6455 sections 11.3.3 and 11.3.4."""

    async def script(peer: Peer) -> None:
        await peer.accept(*fields)
        await peer.read_end()

    with pytest.raises(HandshakeError, match="the server's response repeats sec-websocket-"):
        async with connect_socket(URL, dial=serve(script), protocols=["a", "b"]):
            pass


async def test_o5_http_1_0(serve: Serve) -> None:
    """RFC 6455 section 4.1: HTTP/1.1 or higher."""
    with pytest.raises(HandshakeError, match=r"not HTTP/1\.1"):
        async with connect_socket(URL, dial=serve(refusal(HEAD.replace(b"1.1", b"1.0") + b"\r\n", end=False))):
            pass


def test_o5_without_strict_exception_groups() -> None:
    """A run's own setting changes nothing."""

    async def main() -> None:
        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return Broken(HEAD + b"Sec-WebSocket-Accept: wrong\r\n\r\n")

        with pytest.raises(HandshakeError, match="has a wrong Sec-WebSocket-Accept"):
            async with connect_socket(URL, dial=dial):
                pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trio.run(main, strict_exception_groups=False)


@pytest.mark.parametrize("field", ["Sec-WebSocket-Protocol: unasked", "Sec-WebSocket-Extensions: permessage-deflate"])
async def test_o5_what_was_not_asked_for_is_refused(serve: Serve, field: str) -> None:
    """A subprotocol or an extension nobody offered (RFC 6455 section 4.1)."""

    async def script(peer: Peer) -> None:
        await peer.accept(field)
        await peer.read_end()

    with pytest.raises(HandshakeError, match="was not offered"):
        async with connect_socket(URL, dial=serve(script)):
            pass


@pytest.mark.parametrize("parts", [[], [b"HTTP/1.1 101 Swi"], [HEAD]])
async def test_o2_the_peer_ends_during_the_handshake(serve: Serve, parts: list[bytes]) -> None:
    """Before its response or inside it: at once, and it says so."""
    with pytest.raises(ConnectError, match="the peer closed the connection during the handshake"):
        async with connect_socket(URL, dial=serve(refusal(*parts))):
            pass


class Broken(trio.abc.Stream):
    """A stream that breaks after some bytes were received."""

    def __init__(self, *received: bytes, writable: bool = True) -> None:
        self._received = list(received)
        self._writable = writable

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        del data
        await trio.lowlevel.checkpoint()
        if not self._writable:
            raise trio.BrokenResourceError("pipe") from BrokenPipeError("the pipe broke")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        del max_bytes
        await trio.lowlevel.checkpoint()
        if self._received:
            return self._received.pop(0)
        raise trio.BrokenResourceError("reset") from ConnectionResetError("reset by peer")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_reset_during_the_handshake() -> None:
    """In reading, or in both: at once, with the OS error as the cause."""
    for stream, cause in ((Broken(), ConnectionResetError), (Broken(writable=False), ConnectionResetError)):

        async def dial(_host: str, _port: int, stream: Broken = stream) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return stream

        with pytest.raises(ConnectError, match="the connection broke during the handshake") as caught:
            async with connect_socket(URL, dial=dial):
                pass
        assert isinstance(caught.value.__cause__, cause)


async def test_a_reset_inside_a_refusal() -> None:
    """What is known of the refusal is told."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Broken(b"HTTP/1.1 403 Forbidden\r\n\r\npart")

    with pytest.raises(HandshakeError) as caught:
        async with connect_socket(URL, dial=dial):
            pass
    assert (caught.value.status_code, caught.value.body) == (403, b"part")


async def test_a_refusal_that_comes_as_the_opening_is_called_off() -> None:
    """There is no time left to read its body, and it is no failure."""

    class Late(Broken):
        """A stream whose user is called off in the step in which it receives."""

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            data = await super().receive_some(max_bytes)
            task.close()
            return data

        async def aclose(self) -> None:
            """Close without a checkpoint, as a socket does, so that no cancellation takes an error's place."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Late(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n")

    async with open_socket_manager() as manager:
        task = manager.connect_socket(URL, dial=dial)
        with pytest.raises(SocketClosedError):
            await task.wait_open()
        assert [event async for event in task.on_error()] == []


async def test_o1_a_silent_server(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    """A timeout is kept, whatever the server does not do."""
    started = trio.current_time()
    with pytest.raises(ConnectTimeoutError) as caught:
        async with connect_socket(URL, dial=serve(refusal(end=False)), timeout=7):
            pass
    assert caught.value.timeout == 7
    assert trio.current_time() - started == pytest.approx(7)


async def test_what_tls_has_to_send_goes_out_before_the_response_comes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server asks for a certificate after its TLS handshake."""
    receive = StreamWire.receive
    sent: list[bytes] = []

    async def say_first(self: StreamWire, max_bytes: int) -> bytes | None:
        if not sent:
            sent.append(self.pending_output())
            return None
        return await receive(self, max_bytes)

    monkeypatch.setattr(StreamWire, "receive", say_first)
    async with connect_socket(URL, dial=serve(echo)) as task:
        await task.send("x")
        assert await task.receive() == "x"
    assert sent == [b""]
