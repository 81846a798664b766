"""Proxies that play a script, with raw bytes: CONNECT, SOCKS 4 and SOCKS 5."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import final

import attrs
import trio
import trustme
from peer import Peer, Script

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@final
@attrs.define
class Seen:
    """What proxies were asked."""

    targets: list[tuple[str, int]] = attrs.field(factory=list)
    """Host and port, as they were asked for."""
    heads: list[bytes] = attrs.field(factory=list)
    """Heads of CONNECT."""
    users: list[tuple[str, str]] = attrs.field(factory=list)
    """User and password of SOCKS."""


async def read_exactly(peer: Peer, size: int) -> bytes:
    """Read so much, and not a byte more."""
    data = b""
    while len(data) < size:
        more = await peer.stream.receive_some(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


async def read_until(peer: Peer, end: bytes) -> bytes:
    """Read up to some bytes, and not a byte more."""
    data = b""
    while not data.endswith(end):
        data += await read_exactly(peer, 1)
    return data


async def _copy(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


async def relay(client: trio.abc.Stream, host: str, port: int) -> None:
    """Copy both ways until either side ends; names that only this proxy knows are this machine."""
    target = await trio.open_tcp_stream("127.0.0.1" if host.endswith(".test") else host, port)
    async with target, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, client, target, nursery.cancel_scope)
        nursery.start_soon(_copy, target, client, nursery.cancel_scope)
    await trio.aclose_forcefully(client)


async def read_connect(peer: Peer, seen: Seen) -> None:
    """Read the head of a CONNECT."""
    head = await read_until(peer, b"\r\n\r\n")
    seen.heads.append(head)
    host, _, port = head.split(b" ")[1].decode().rpartition(":")
    seen.targets.append((host.strip("[]"), int(port)))


def by_connect(seen: Seen) -> Script:
    """Play an HTTP proxy that connects."""

    async def script(peer: Peer) -> None:
        await read_connect(peer, seen)
        await peer.send(ESTABLISHED)
        await relay(peer.stream, *seen.targets[-1])

    return script


def by_socks4(seen: Seen, reply: int = 0x5A) -> Script:
    """Play a SOCKS 4 or 4a proxy that connects, or replies otherwise."""

    async def script(peer: Peer) -> None:
        head = await read_exactly(peer, 8)
        assert head[:2] == b"\x04\x01"
        seen.users.append(((await read_until(peer, b"\0"))[:-1].decode(), ""))
        host = socket.inet_ntoa(head[4:])
        if host == "0.0.0.1":
            host = (await read_until(peer, b"\0"))[:-1].decode()
        seen.targets.append((host, int.from_bytes(head[2:4], "big")))
        await peer.send(bytes((0, reply)) + bytes(6))
        if reply == 0x5A:
            await relay(peer.stream, *seen.targets[-1])

    return script


def by_socks5(seen: Seen, reply: int = 0, *, method: int = 0, granted: int = 0) -> Script:
    """Play a SOCKS 5 proxy that connects, or replies otherwise; method 2 wants user and password (RFC 1929)."""

    async def script(peer: Peer) -> None:
        methods = await read_exactly(peer, (await read_exactly(peer, 2))[1])
        await peer.send(bytes((5, method)))
        if method == 2 and method in methods:
            user = await read_exactly(peer, (await read_exactly(peer, 2))[1])
            password = await read_exactly(peer, (await read_exactly(peer, 1))[0])
            seen.users.append((user.decode(), password.decode()))
            await peer.send(bytes((1, granted)))
        if method not in methods or granted:
            return
        kind = (await read_exactly(peer, 4))[3]
        size = {1: 4, 4: 16}.get(kind) or (await read_exactly(peer, 1))[0]
        raw = await read_exactly(peer, size)
        host = raw.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw)
        seen.targets.append((host, int.from_bytes(await read_exactly(peer, 2), "big")))
        await peer.send(bytes((5, reply, 0, 1)) + bytes(6))
        if not reply:
            await relay(peer.stream, *seen.targets[-1])

    return script


SCRIPTS: dict[str, Callable[[Seen], Script]] = {
    "http": by_connect,
    "https": by_connect,
    "socks4": by_socks4,
    "socks4a": by_socks4,
    "socks5": by_socks5,
    "socks5h": by_socks5,
}


def proxy_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make the TLS settings of a proxy on this machine, and of clients that trust it, of an authority of its own."""
    authority, server = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
