"""The server of the benchmarks: picows on uvloop, in a process of its own, so that it is never what is measured.

It prints its ports as JSON: plain, TLS, and one that echoes raw TCP. ``/echo`` sends back; ``/flood`` is told
"SIZE COUNT" and sends; ``/sink`` counts, and answers "end" with the count. ``/push/NAME`` sends back, too, but told
"push COUNT SECONDS" it sends so many messages, one in so many seconds, to every socket of that name. ``/pings`` answers
with how many pings have come to this server. ``/deflate/echo`` and ``/deflate/flood`` do so compressed, and
that flood is told how often to send the messages that both sides know.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import ssl
import sys
import zlib
from collections import Counter
from typing import cast

import uvloop
from isal import isal_zlib
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)
from trades import TRADES

HIGH_WATER = 4 * 2**20
LARGEST = 64 * 2**20
BATCH = 64 * 1024


def encode(payload: bytes, first: bytes = b"\x82") -> bytes:
    """Give a server's frame (RFC 6455 section 5.2)."""
    size = len(payload)
    length = (
        bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 2**16 else b"\x7f" + size.to_bytes(8)
    )
    return first + length + payload


TAIL = b"\x00\x00\xff\xff"
"""What a compressed message leaves out (RFC 7692 section 7.2.1)."""


def compressed_trades() -> bytes:
    """Give them in a context that refers to nothing before them, so that they can be sent again and again."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    payloads = [(stream.compress(trade) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL) for trade in TRADES]
    return b"".join(encode(payload, b"\xc2") for payload in payloads)


COMPRESSED_TRADES = compressed_trades()
SEEN: Counter[str] = Counter()
GROUPS: dict[str, list[WSTransport]] = {}
"""The sockets to push to, by their path."""


class Session(WSListener):  # type: ignore[misc]
    """One connection."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._received = 0
        self._room = asyncio.Event()
        self._room.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Remember whom to answer."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(HIGH_WATER)
        if self._path.startswith("/push"):
            GROUPS.setdefault(self._path, []).append(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Push no more."""
        if self._path.startswith("/push"):
            GROUPS[self._path].remove(transport)

    def pause_writing(self) -> None:
        """Wait with what is to be sent."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Send on."""
        self._room.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Do what the path says."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.PING:
            SEEN["pings"] += 1
            transport.send_pong(frame.get_payload_as_bytes())
        elif self._path == "/echo":
            transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())
        elif self._path == "/flood":
            size, count = map(int, frame.get_payload_as_bytes().split())
            self._task = asyncio.get_running_loop().create_task(self._flood(bytes(size), count))
        elif self._path == "/sink":
            self._sink(frame.get_payload_as_bytes())
        elif self._path == "/pings":
            transport.send(WSMsgType.BINARY, b"%d" % SEEN["pings"])
        elif self._path.startswith("/push"):
            self._push_or_echo(frame.get_payload_as_bytes())

    def _push_or_echo(self, payload: bytes) -> None:
        if payload.startswith(b"push "):
            _, turns, seconds = payload.split()
            self._task = asyncio.get_running_loop().create_task(self._push(int(turns), float(seconds)))
        else:
            self._transport.send(WSMsgType.BINARY, payload)

    def _sink(self, payload: bytes) -> None:
        if payload == b"end":
            self._transport.send(WSMsgType.BINARY, b"%d" % self._received)
            self._received = 0
        else:
            self._received += 1

    async def _flood(self, payload: bytes, count: int) -> None:
        """Send frames that were made before, many in a write: a server that encodes each is what would be measured."""
        transport, frame = self._transport.underlying_transport, encode(payload)
        at_once = max(1, BATCH // len(frame))
        while count:
            now = min(at_once, count)
            transport.write(frame * now)
            count -= now
            await asyncio.sleep(0)
            await self._room.wait()

    async def _push(self, turns: int, seconds: float) -> None:
        """Send to everybody, spread over the time."""
        loop, group = asyncio.get_running_loop(), list(GROUPS[self._path])
        started = loop.time()
        for turn in range(turns):
            for number, transport in enumerate(group):
                left = started + (turn + number / len(group)) * seconds - loop.time()
                if left > 0:
                    await asyncio.sleep(left)
                transport.send(WSMsgType.BINARY, b"%064d" % turn)


class DeflateSession(Session):
    """One connection with permessage-deflate (RFC 7692), compressed as fast as it goes, or beforehand."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._inflate = zlib.decompressobj(-15)
        self._deflate = isal_zlib.compressobj(2, zlib.DEFLATED, -15)
        self._parts: list[bytes] = []
        self._is_compressed = False

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Put fragments together, and do what the path says."""
        if frame.msg_type not in (WSMsgType.BINARY, WSMsgType.CONTINUATION):
            super().on_ws_frame(transport, frame)
            return
        if frame.msg_type == WSMsgType.BINARY:
            self._is_compressed = frame.rsv1
        self._parts.append(frame.get_payload_as_bytes())
        if not frame.fin:
            return
        payload = b"".join(self._parts)
        self._parts.clear()
        if self._is_compressed:
            payload = self._inflate.decompress(payload + TAIL)
        if self._path == "/deflate/flood":
            self._task = asyncio.get_running_loop().create_task(self._flood_trades(int(payload)))
        else:
            deflated = self._deflate.compress(payload) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            transport.send(WSMsgType.BINARY, deflated.removesuffix(TAIL), rsv1=True)

    async def _flood_trades(self, times: int) -> None:
        for _ in range(times):
            self._transport.underlying_transport.write(COMPRESSED_TRADES)
            await asyncio.sleep(0)
            await self._room.wait()


class RawEcho(asyncio.Protocol):
    """The limit that no WebSocket can pass: the same bytes without frames."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self._transport.write(data)


def choose(request: WSUpgradeRequest) -> Session | WSUpgradeResponseWithListener:
    """Give a session for a path."""
    path = request.path.decode()
    if path.startswith("/deflate"):
        agreed = {"Sec-WebSocket-Extensions": "permessage-deflate"}
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(agreed), DeflateSession(path))
    return Session(path)


async def main(certificate: str, processor: str) -> None:
    """Listen on three free ports until the standard input ends."""
    os.sched_setaffinity(0, {int(processor)})
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    servers = {
        "plain": await ws_create_server(choose, "127.0.0.1", 0, max_frame_size=LARGEST, enable_auto_pong=False),
        "tls": await ws_create_server(
            choose, "127.0.0.1", 0, ssl=context, max_frame_size=LARGEST, enable_auto_pong=False
        ),
        "raw": await loop.create_server(RawEcho, "127.0.0.1", 0),
    }
    print(json.dumps({name: server.sockets[0].getsockname()[1] for name, server in servers.items()}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
