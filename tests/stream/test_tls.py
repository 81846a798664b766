"""`_tls`: TLS on a wire."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task._stream._tls import TlsWire
from trio_socket_task._stream._wire import StreamWire


class Server:
    """The other end, by trio.SSLStream."""

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext) -> None:
        self.raw = stream
        self.tls = trio.SSLStream(stream, context, server_side=True)


async def joined(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> tuple[TlsWire, Server]:
    """Give both ends, their handshake done."""
    one, other = memory_stream_pair()
    wire = TlsWire(StreamWire(one), client_context, "localhost")
    server = Server(other, server_context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.tls.do_handshake)
        await wire.handshake()
    return wire, server


async def receive_all(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """Receive so much."""
    data = b""
    while len(data) < size:
        data += bytes(await stream.receive_some())
    return data


async def test_bytes_of_every_size(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """There and back, over records of 16 KiB; what is encrypted has an order."""
    wire, server = await joined(server_context, client_context)
    for size in (1, 100, 16384, 16385, 300_000):
        encrypted = wire.encrypt(bytes(size)) + wire.encrypt(b"!")
        assert wire.send_now(encrypted) == 0  # a Trio stream can only wait
        await wire.send(encrypted)
        assert await receive_all(server.tls, size + 1) == bytes(size) + b"!"
        await server.tls.send_all(b"?" * size)
        received = b""
        while len(received) < size:
            received += await wire.receive(100_000) or b""
        assert received == b"?" * size


async def test_records_that_came_together_are_given_together(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """And one that came in part is waited for; reading is a checkpoint all the same."""
    wire, server = await joined(server_context, client_context)
    for data in (b"one ", b"two ", b"three"):
        await server.tls.send_all(data)
    assert await wire.receive(100_000) == b"one two three"
    await server.tls.send_all(bytes(50_000))
    received = len(await wire.receive(20_000) or b"")
    while received < 50_000:
        with trio.CancelScope() as scope:
            scope.cancel()
            await wire.receive(20_000)
        assert scope.cancelled_caught
        received += len(await wire.receive(20_000) or b"")
    assert received == 50_000


async def test_no_record_more_is_opened_than_was_asked_for(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """What has come stays encrypted until it is wanted."""
    wire, server = await joined(server_context, client_context)
    for _ in range(10):
        await server.tls.send_all(b"x" * 100)
    wire._take(await wire._lower.receive(100_000) or b"")
    assert [len(wire.receive_now(size) or b"") for size in (201, 200, 1)] == [300, 200, 100]


async def test_a_cancelled_receive_loses_nothing(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Also where whole records are still buffered."""
    wire, server = await joined(server_context, client_context)
    await server.tls.send_all(b"A" * 16384)
    for _ in range(70):
        await server.tls.send_all(b"b" * 1000)
    received = await wire.receive(16384) or b""
    for _ in range(3):
        with trio.CancelScope() as scope:
            scope.cancel()
            await wire.receive(16384)
        assert scope.cancelled_caught
    while len(received) < 86384:
        received += await wire.receive(16384) or b""
    assert received == b"A" * 16384 + b"b" * 70_000


async def serve(step: Callable[[], object], stream: trio.abc.Stream, tls: tuple[ssl.MemoryBIO, ssl.MemoryBIO]) -> None:
    """Take a step of a server's TLS, with as many bytes of the client as it needs."""
    incoming, outgoing = tls
    while True:
        try:
            step()
        except ssl.SSLWantReadError:
            await stream.send_all(outgoing.read())
            incoming.write(await stream.receive_some())
        else:
            await stream.send_all(outgoing.read())
            return


async def test_what_tls_has_to_send_while_reading() -> None:
    """The answer to a request for the client's certificate, after the handshake: whoever reads is told of it once."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    client_context = ssl.create_default_context()
    for context in (server_context, client_context):
        authority.configure_trust(context)
        context.post_handshake_auth = True
    one, other = memory_stream_pair()
    wire = TlsWire(StreamWire(one), client_context, "localhost")
    incoming, outgoing = tls = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(incoming, outgoing, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, server.do_handshake, other, tls)
        await wire.handshake()
    server.verify_client_post_handshake()
    server.write(b"after the request")
    await other.send_all(outgoing.read())
    assert await wire.receive(1000) == b"after the request"
    assert await wire.receive(1000) is None
    with trio.move_on_after(0.01) as scope:
        await wire.receive(1000)
    assert scope.cancelled_caught
    answer = wire.pending_output()
    incoming.write(answer)
    with pytest.raises(ssl.SSLWantReadError):
        server.read()  # it understood the answer, and waits for a message


async def test_the_end(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """By a word of TLS or without, after what came before it; and it stays the end."""
    for politely in (True, False):
        wire, server = await joined(server_context, client_context)
        await server.tls.send_all(b"last")
        if politely:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(unwrap, server)
                assert await wire.receive(100) == b"last"
                assert await wire.receive(100) == b""
                await wire.aclose()
        else:
            await server.raw.aclose()
            assert await wire.receive(100) == b"last"
        assert await wire.receive(100) == b""


async def unwrap(server: Server) -> None:
    """Say the end of TLS."""
    with pytest.raises(trio.BrokenResourceError):
        await server.tls.unwrap()


async def test_bytes_that_are_no_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """What came before them is given out first; then the connection is broken, in both directions."""
    wire, server = await joined(server_context, client_context)
    await server.tls.send_all(b"good")
    await server.raw.send_all(b"this is no record of TLS at all")
    assert await wire.receive(100) == b"good"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await wire.receive(100)
    with pytest.raises(trio.BrokenResourceError):
        for _ in range(3):
            wire.encrypt(b"x")


def test_encrypting_where_tls_wants_to_read_first(client_context: ssl.SSLContext) -> None:
    """As in a renegotiation, which is not supported."""
    wire = TlsWire(StreamWire(memory_stream_pair()[0]), client_context, "localhost")
    with pytest.raises(trio.BrokenResourceError, match="renegotiate"):
        wire.encrypt(b"x")


async def test_a_peer_that_leaves_in_the_handshake(client_context: ssl.SSLContext) -> None:
    """Is told of at once."""
    one, other = memory_stream_pair()
    await other.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await TlsWire(StreamWire(one), client_context, "localhost").handshake()


async def test_an_end_in_the_handshake(client_context: ssl.SSLContext) -> None:
    """Although the peer still reads."""
    one, other = memory_stream_pair()
    await other.send_eof()
    with pytest.raises(trio.BrokenResourceError, match="during the TLS handshake"):
        await TlsWire(StreamWire(one), client_context, "localhost").handshake()


async def test_an_error_is_left_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be had at once tells of none."""
    lower = StreamWire(memory_stream_pair()[0])
    monkeypatch.setattr(lower, "receive_now", lambda _max_bytes: b"this is no TLS at all " * 5)
    wire = TlsWire(lower, ssl.create_default_context(), "a.test")
    assert wire.receive_now(1000) is None
    with pytest.raises(trio.BrokenResourceError):
        await wire.receive(1000)


async def test_whether_all_is_read_at_once_is_the_lower_wire_s_to_say(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """A stream of somebody else's cannot tell."""
    wire, _ = await joined(server_context, client_context)
    assert not wire.reads_now


class Tunnel:
    """The other ends of TLS in TLS: a proxy that may ask for the client's certificate, and a server behind it."""

    def __init__(self, server_context: ssl.SSLContext) -> None:
        authority = trustme.CA()
        proxy, self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(proxy)
        proxy.verify_mode = ssl.CERT_OPTIONAL
        proxy.num_tickets = 0  # which Trio would send with what is sent next
        for context in (proxy, self._context):
            authority.configure_trust(context)
            context.post_handshake_auth = True
        self._client, self.raw = memory_stream_pair()
        self._outer = trio.SSLStream(self.raw, proxy, server_side=True)
        self.inner = trio.SSLStream(self._outer, server_context, server_side=True)

    async def join(self, client_context: ssl.SSLContext) -> TlsWire:
        """Do both handshakes, and ask for the certificate between them."""
        outer = TlsWire(StreamWire(self._client), self._context, "localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outer.do_handshake)
            await outer.handshake()
        wire = TlsWire(outer, client_context, "localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.handshake)
            await self.ask_for_a_certificate()
            await wait_all_tasks_blocked()
            await self.inner.do_handshake()
        return wire

    async def ask_for_a_certificate(self) -> None:
        """Send the request alone."""
        self._outer._ssl_object.verify_client_post_handshake()
        self._outer._ssl_object.do_handshake()  # which writes it
        request = self._outer._outgoing.read()
        assert request
        await self.raw.send_all(request)


async def test_tls_in_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """Whatever either has to send goes out through both, in the handshake as later."""
    tunnel = Tunnel(server_context)
    wire = await tunnel.join(client_context)
    for size in (1, 16385, 300_000):
        await wire.send(wire.encrypt(bytes(size)) + wire.encrypt(b"!"))
        assert await receive_all(tunnel.inner, size + 1) == bytes(size) + b"!"
        await tunnel.inner.send_all(b"?" * size)
        received = b""
        while len(received) < size:
            received += await wire.receive(100_000) or b""
        assert received == b"?" * size
    await tunnel.ask_for_a_certificate()
    assert await wire.receive(100) is None
    answer = wire.pending_output()
    assert answer
    assert wire.pending_output() == b""
    await wire.send(answer + bytes(wire.encrypt(b"and on")))
    assert await receive_all(tunnel.inner, 6) == b"and on"
    assert wire.info().version == "TLSv1.3"


async def test_part_of_a_record_of_the_proxy_counts(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    """Something has come, though nothing of the server's yet."""
    tunnel = Tunnel(server_context)
    wire = await tunnel.join(client_context)
    await tunnel.inner.send_all(b"whole")
    assert await wire.receive(100) == b"whole"
    assert wire.incomplete_at == -float("inf")
    await trio.sleep(3)
    await tunnel.raw.send_all(b"\x17\x03\x03\x40\x00 part of it")
    with trio.move_on_after(5):
        await wire.receive(100)
    assert (wire.incomplete_at, trio.current_time()) == (3, 8)
