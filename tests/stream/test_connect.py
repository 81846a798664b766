"""`_connect`: dial, TLS and handshake in a row."""

from __future__ import annotations

import pytest
import trio
from conftest import Serve
from peer import TEXT, URL, Peer, frame

from trio_socket_task import ConnectError, HandshakeError
from trio_socket_task._options import Options, check_options
from trio_socket_task._stream import _connect
from trio_socket_task._stream._connect import connect
from trio_socket_task._stream._http import Opened
from trio_socket_task._stream._progress import Progress
from trio_socket_task._stream._wire import Wire
from trio_socket_task._url import check_url


async def test_an_connect(serve: Serve) -> None:
    """With what the server said, and what it sent right after."""

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Protocol: a", then=frame(TEXT, b"x"))

    connection = await connect(
        check_options(check_url(URL), {"dial": serve(script), "protocols": ["a"]}), Progress("server.test:80")
    )
    assert (connection.protocol, connection.rest) == ("a", frame(TEXT, b"x"))
    assert connection.header["upgrade"] == "websocket"
    assert connection.handshake_seconds >= 0
    await connection.wire.aclose()


async def test_a_failed_handshake_closes_the_stream(serve: Serve) -> None:
    """The peer sees the end."""
    ended: list[bool] = []

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"nonsense\r\n")
        ended.append(await peer.read_end())

    with pytest.raises(HandshakeError):
        await connect(check_options(check_url(URL), {"dial": serve(script)}), Progress("server.test:80"))
    await trio.testing.wait_all_tasks_blocked()
    assert ended == [True]


async def test_whatever_is_raised_is_a_connect_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of h11's, of OpenSSL's or of this package's own is told with the phase, and its cause."""

    async def handshake(_wire: Wire, _options: Options, progress: Progress, _received: bytes) -> Opened:
        await trio.lowlevel.checkpoint()
        progress.requests()
        raise LookupError("odd")

    monkeypatch.setattr(_connect, "handshake", handshake)
    progress = Progress("server.test:80")
    with pytest.raises(ConnectError, match=r"LookupError while waiting for server.test:80 to answer .*: odd") as caught:
        await connect(check_options(check_url(URL), {"dial": serve(Peer.read_end)}), progress)
    assert isinstance(caught.value.__cause__, LookupError)
