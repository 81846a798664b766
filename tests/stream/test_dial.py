"""`_dial`: from options to a connected stream."""

from __future__ import annotations

import re
import socket
import ssl
import tempfile
from pathlib import Path

import pytest
import trio
from conftest import ServeTcp
from needs import refusal_text
from peer import Peer
from trio.testing import memory_stream_pair

from trio_socket_task import ConnectError, ConnectOptions
from trio_socket_task._options import Options, check_options
from trio_socket_task._stream._causes import describe
from trio_socket_task._stream._dial import open_wire
from trio_socket_task._stream._progress import Progress
from trio_socket_task._stream._tls import TlsWire
from trio_socket_task._stream._wire import SocketWire, StreamWire, close_forcefully
from trio_socket_task._url import check_url


def options(url: str, **keywords: object) -> Options:
    """Check a URL and options."""
    checked: ConnectOptions = {}
    checked.update(keywords)  # type: ignore[typeddict-item]
    return check_options(check_url(url), checked)


async def wait_for_end(peer: Peer) -> None:
    """Play a server that waits."""
    await peer.read_end()


@pytest.mark.needs("files as sockets")
@pytest.mark.parametrize("flag", [True, False])
async def test_tcp_no_delay_is_followed_exactly(serve_tcp: ServeTcp, *, flag: bool) -> None:
    """Trio sets TCP_NODELAY by default; the option decides."""
    dialled = await open_wire(options(await serve_tcp(wait_for_end), tcp_no_delay=flag), Progress("server"))
    assert isinstance(dialled.wire, SocketWire)
    assert bool(dialled.wire._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is flag
    assert dialled.dial_seconds >= 0
    assert dialled.tls_seconds is None
    await dialled.wire.aclose()


async def test_tls_with_a_given_context(
    serve_tcp: ServeTcp, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """The TLS handshake is done when the stream is given out."""
    url = await serve_tcp(wait_for_end, server_context)
    dialled = await open_wire(options(url, ssl_context=client_context), Progress("server"))
    assert isinstance(dialled.wire, TlsWire)
    assert dialled.wire._tls.version() in ("TLSv1.2", "TLSv1.3")
    assert dialled.tls_seconds is not None
    await close_forcefully(dialled.wire)


async def test_the_default_context_checks_certificates(serve_tcp: ServeTcp, server_context: ssl.SSLContext) -> None:
    """A certificate of an unknown authority is refused, in the words of OpenSSL (hazard O3)."""
    url = await serve_tcp(refused_by_client, server_context)
    with pytest.raises(ConnectError, match=r"the TLS handshake failed: .*CERTIFICATE_VERIFY_FAILED") as caught:
        await open_wire(options(url), Progress("server"))
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def refused_by_client(peer: Peer) -> None:
    """Play a server whose TLS the client refuses."""
    with pytest.raises(trio.BrokenResourceError):
        await peer.stream.receive_some()


async def test_dial_is_given_host_and_port() -> None:
    """And its stream is used as it is."""
    client, _server = memory_stream_pair()
    asked: list[tuple[str, int]] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        asked.append((host, port))
        return client

    dialled = await open_wire(options("ws://bücher.example:81/", dial=dial), Progress("server"))
    assert isinstance(dialled.wire, StreamWire)
    assert dialled.wire._stream is client
    assert asked == [("xn--bcher-kva.example", 81)]


@pytest.mark.needs("unix sockets")
async def test_dial_reaches_a_unix_socket() -> None:
    """TCP_NODELAY is left alone there."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listener.bind(path)
        listener.listen()

        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            return await trio.open_unix_socket(path)

        dialled = await open_wire(options("ws://local/", dial=dial), Progress("server"))
        await dialled.wire.aclose()
        listener.close()


@pytest.mark.parametrize("error", [OSError("no route"), trio.BrokenResourceError("gone"), ValueError("a bug")])
async def test_whatever_dial_raises_is_the_cause(error: Exception) -> None:
    """One exception class to act on."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(ConnectError, match=str(error)) as caught:
        await open_wire(options("ws://a/", dial=dial), Progress("server"))
    assert caught.value.__cause__ is error


async def test_refused_by_the_host_on_every_address() -> None:
    """Hazard O10: the cause is kept, and each address's failure is in the words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectError, match=rf"all attempts to connect .*{re.escape(refusal_text())}") as caught:
            await open_wire(options(f"ws://127.0.0.1:{port}/"), Progress("server"))
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_does_not_resolve() -> None:
    """Hazard O10: the resolver's error is the cause."""
    with pytest.raises(ConnectError) as caught:
        await open_wire(options("ws://name.invalid/"), Progress("server"))
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_a_cancelled_tls_handshake_leaves_no_socket(serve_tcp: ServeTcp) -> None:
    """Hazard O11: the stream is closed on the way out."""
    begun, ended = trio.Event(), trio.Event()

    async def silent(peer: Peer) -> None:
        await peer.stream.receive_some(1)
        begun.set()
        await peer.read_end()
        ended.set()

    url = (await serve_tcp(silent)).replace("ws://", "wss://")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_wire, options(url), Progress("server"))
            await begun.wait()
            nursery.cancel_scope.cancel()
        await ended.wait()


async def test_a_dial_that_returns_no_stream() -> None:
    """The words say what it must return."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return None  # type: ignore[return-value]

    with pytest.raises(ConnectError, match=r"dial must return a trio.abc.Stream, not NoneType"):
        await open_wire(options("ws://a/", dial=dial), Progress("server"))


class Foreign(trio.abc.Stream):
    """A stream that raises what no Trio stream raises."""

    closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        del data
        await trio.lowlevel.checkpoint()
        raise ValueError("a bug of dial's author")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        del max_bytes
        await trio.sleep_forever()
        return b""

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def test_a_foreign_stream_that_fails_in_tls() -> None:
    """Its exception is the cause of a ConnectError, and it is closed."""
    stream = Foreign()

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    with pytest.raises(ConnectError, match="the TLS handshake failed: a bug of dial's author"):
        await open_wire(options("wss://a/", dial=dial), Progress("server"))
    assert stream.closed


def test_words_of_an_exception_without_any() -> None:
    """Its type says something at least."""
    assert describe(ConnectionResetError()) == "ConnectionResetError"


async def test_discarding_swallows_what_a_nursery_makes_of_it() -> None:
    """A stream may close by a nursery, whose group holds its error and our cancellation."""

    class Nested(Foreign):
        async def aclose(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise OSError("close")

    await close_forcefully(Nested())


async def test_what_is_discarded_may_fail_while_it_is_called_off() -> None:
    """Its failure is no news; a cancellation of somebody else's is, and comes out alone."""

    class Group(trio.abc.AsyncResource):
        def __init__(self, *others: BaseException) -> None:
            self._others = others

        async def aclose(self) -> None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise BaseExceptionGroup("closing", [ValueError("odd"), *self._others])

    await close_forcefully(Group())
    with pytest.raises(BaseExceptionGroup) as caught:
        await close_forcefully(Group(KeyboardInterrupt()))
    assert [type(error) for error in caught.value.exceptions] == [KeyboardInterrupt]
