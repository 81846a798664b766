"""Real servers, over TCP and TLS: trio-websocket's and websockets'."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import pytest
import trio
from trio_websocket import WebSocketRequest, serve_websocket
from websockets.asyncio.server import serve as serve_websockets

from trio_socket_task import CloseEvent, ConnectError, Dial, HandshakeError, connect_socket
from trio_socket_task.testing import Script, open_test_server

Tell = Callable[[tuple[int, Callable[[], object]]], None]
Server = Callable[[ssl.SSLContext | None], AbstractAsyncContextManager[int]]
SIZES = [0, 1, 125, 126, 65535, 65536, 1_000_000]


class Connection(Protocol):
    """A server's end, websockets' or the test kit's."""

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...

    async def send(self, data: str | bytes, /) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


async def closing_echo(connection: Connection) -> None:
    """Echo, and close with 4001 when asked to."""
    async for message in connection:
        if message == "close":
            await connection.close(4001, "asked")
            return
        await connection.send(message)


@asynccontextmanager
async def trio_websocket_server(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Run trio-websocket's server and give its port."""
    async with open_test_server(closing_echo, tls=context is not None) as server:
        yield int(server.url.rstrip("/").rsplit(":", 1)[1])


def run_websockets_server(context: ssl.SSLContext | None, tell: Tell) -> None:
    """Run websockets' server on an asyncio loop of its own, in a thread, until told to stop."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with serve_websockets(closing_echo, "127.0.0.1", 0, ssl=context, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            trio.from_thread.run_sync(tell, (port, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    asyncio.run(main())


@asynccontextmanager
async def websockets_server(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Run websockets' server and give its port."""
    told, tells = trio.open_memory_channel[tuple[int, Callable[[], object]]](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, run_websockets_server, context, told.send_nowait)
        port, stop = await tells.receive()
        try:
            yield port
        finally:
            stop()


@pytest.fixture(params=["tcp", "tls"])
def server_side(request: pytest.FixtureRequest, server_context: ssl.SSLContext) -> ssl.SSLContext | None:
    """Give the server's TLS settings, or none."""
    return server_context if request.param == "tls" else None


@pytest.mark.parametrize("server", [trio_websocket_server, websockets_server])
async def test_a_whole_conversation(
    server: Server, server_side: ssl.SSLContext | None, client_context: ssl.SSLContext
) -> None:
    """Text and binary of every size, a burst, a ping, and a close from both sides."""
    secure = server_side is not None
    with trio.fail_after(60):
        async with server(server_side) as port:
            url = f"ws{'s' if secure else ''}://127.0.0.1:{port}/"
            context = client_context if secure else None
            async with connect_socket(url, ssl_context=context) as task:
                for size in SIZES:
                    for data in ("汉" * (size // 3), bytes(size)):
                        await task.send(data)
                        assert await task.receive() == data
                for number in range(1000):
                    await task.send(f"{number}")
                assert [await task.receive() for _ in range(1000)] == [f"{number}" for number in range(1000)]
                assert await task.ping() > 0
                await task.aclose(4000, "bye")
            assert task.close_event == CloseEvent(code=4000, reason="bye", peer_code=4000, peer_reason="bye")
            async with connect_socket(url, ssl_context=context) as task:
                await task.send("close")
                assert await task.wait_closed() == CloseEvent(
                    code=4001, reason="asked", peer_code=4001, peer_reason="asked"
                )


@pytest.mark.parametrize("size", [20_000_000])
async def test_r3_both_sides_write_at_once(size: int) -> None:
    """Twenty megabytes each way, while neither reads first: no deadlock."""
    async with websockets_server(None) as port:
        with trio.fail_after(60):
            async with (
                connect_socket(f"ws://127.0.0.1:{port}/", max_message_size=size) as task,
                trio.open_nursery() as n,
            ):
                for _ in range(20):
                    n.start_soon(task.send, bytes(size // 20))
                total = 0
                while total < size:
                    total += len(await task.receive())


async def test_o3_wrong_certificates(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """Untrusted, a wrong host name, TLS to a plain port, a plain handshake to TLS: at once, with the cause."""
    with trio.fail_after(60):
        async with trio_websocket_server(None) as port:
            with pytest.raises(ConnectError, match="TLS handshake failed") as caught:
                async with connect_socket(f"wss://127.0.0.1:{port}/", ssl_context=client_context):
                    pass
            assert isinstance(caught.value.__cause__, ssl.SSLError | OSError)
        async with websockets_server(server_context) as port:
            with pytest.raises(ConnectError, match=r"self.signed certificate|unable to get local issuer") as caught:
                async with connect_socket(f"wss://127.0.0.1:{port}/"):
                    pass
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            with pytest.raises(ConnectError, match=r"127.0.0.2") as caught:
                async with connect_socket(f"wss://127.0.0.2:{port}/", ssl_context=client_context, dial=to_port(port)):
                    pass
            with pytest.raises(ConnectError):
                async with connect_socket(f"ws://127.0.0.1:{port}/"):
                    pass


def to_port(port: int) -> Dial:
    """Give a dial that reaches 127.0.0.1 whatever the host is called."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", port)

    return dial


async def ipv6_echo(request: WebSocketRequest) -> None:
    """Echo once."""
    connection = await request.accept()
    await connection.send_message(await connection.get_message())


async def test_o9_an_ipv6_url() -> None:
    """Its Host field is right, so a strict server accepts it."""
    async with trio.open_nursery() as nursery:
        try:
            server = await nursery.start(partial(serve_websocket, ipv6_echo, "::1", 0, None))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        async with connect_socket(f"ws://[::1]:{server.port}/") as task:
            await task.send("x")
            assert await task.receive() == "x"
        nursery.cancel_scope.cancel()


async def test_a_rejection_by_a_real_server() -> None:
    """Its status, fields and body are at hand."""
    async with open_test_server(Script().reject(401, {"X-Why": "token"}, b"log in first")) as server:
        with pytest.raises(HandshakeError) as caught:
            async with connect_socket(server.url):
                pass
        assert (caught.value.status_code, caught.value.body) == (401, b"log in first")
        assert caught.value.header["X-Why"] == "token"
