"""Part b: one conversation, cut at every byte of both directions, by FIN and by RST, over TCP and TLS.

A seed is a case: the transport, who closes at last, the direction, how it is cut, and where. Seeds that follow one
another are far apart, and `CASES` of them are all there are.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import final

import attrs
import trio
from peer import BINARY, CONTINUATION, PING, TEXT, Peer, close_frame, frame
from trio.testing import memory_stream_pair

from trio_socket_task import (
    CloseEvent,
    ConnectError,
    SocketClosedError,
    SocketLostError,
    SocketTask,
    connect_socket,
)
from trio_socket_task.testing._certificates import contexts

from .findings import Findings
from .seeded import run_seeded

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
_SIZES = {("tcp", "to server"): 230, ("tcp", "to client"): 330, ("tls", "to server"): 960, ("tls", "to client"): 1900}
"""How many bytes go in each direction, and a few more: what is cut beyond the end is not cut at all."""
_KINDS = [
    (transport, direction, closer, how, size)
    for (transport, direction), size in _SIZES.items()
    for closer in ("client", "server")
    for how in ("FIN", "RST")
]
CASES = sum(size for *_, size in _KINDS)
_STRIDE = 7919  # a prime, so that seeds that follow one another are far apart and none comes twice
_PATIENCE = 30.0  # seconds of the real clock for what takes milliseconds

_FRAMES: tuple[tuple[str | bytes, bytes], ...] = (
    ("first", frame(TEXT, b"first")),
    ("", frame(TEXT)),
    (b"\x00" * 126, frame(BINARY, b"\x00" * 126)),
    (
        "in pieces",
        frame(TEXT, b"in ", fin=False)
        + frame(CONTINUATION, b"pie", fin=False)
        + frame(PING, b"?")
        + frame(CONTINUATION, b"ces"),
    ),
    ("last \u20ac", frame(TEXT, "last \u20ac".encode())),
)
"""Messages of the server, and the frames of each."""
_CLOSE = close_frame(4000, "done")
_RESPONSE = 129
"""Bytes of the response that accepts the handshake."""
_ENDS = [_RESPONSE + end for end in accumulate(len(frames) for _, frames in _FRAMES)]
"""How many bytes have come when each message is whole."""


@final
@attrs.frozen
class Case:
    """Where and how the conversation is cut."""

    transport: str
    direction: str
    closer: str
    how: str
    offset: int


def case_of(seed: int) -> Case:
    """Return the case of a seed."""
    number = seed * _STRIDE % CASES
    for transport, direction, closer, how, size in _KINDS:
        if number < size:
            return Case(transport, direction, closer, how, number)
        number -= size
    raise AssertionError(number)


def run(seed: int) -> Findings:
    """Run one seed."""
    findings = Findings("b", seed)
    run_seeded(partial(_run, case=case_of(seed)), findings, virtual=False)
    return findings


async def _run(_dice: random.Random, findings: Findings, *, case: Case) -> None:
    findings.note(f"{case}")
    with trio.move_on_after(_PATIENCE) as patience:
        async with trio.open_nursery() as nursery:
            cut = Cut(case, findings)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            async with listener:
                nursery.start_soon(cut.serve, listener)
                await Client(case, findings, cut).talk(listener.socket.getsockname()[1])
            nursery.cancel_scope.cancel()
    findings.check(not patience.cancelled_caught, "it hangs")
    findings.count("cut" if cut.was_cut else "not cut, because it was over before")


@final
class Cut:
    """A server, and a network before it that cuts the connection."""

    def __init__(self, case: Case, findings: Findings) -> None:
        self.was_cut = False
        self.forwarded = 0
        """Bytes that went to the client."""
        self._case = case
        self._findings = findings
        self._upstream = 0

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve one connection."""
        outside = await listener.accept()
        inside, server = memory_stream_pair()
        async with outside, trio.open_nursery() as nursery:
            nursery.start_soon(self._play, server)
            nursery.start_soon(self._forward_to_client, inside, outside)
            await self._forward_to_server(outside, inside)
            nursery.cancel_scope.cancel()

    async def _play(self, stream: trio.abc.Stream) -> None:
        if self._case.transport == "tls":
            stream = trio.SSLStream(stream, contexts()[0], server_side=True, https_compatible=True)
        with suppress(*_GONE, EOFError, AssertionError):
            peer = Peer(stream)
            first, second, third, fourth, last = (frames for _, frames in _FRAMES)
            await peer.accept(then=first)
            await peer.read_frame()
            await peer.send(second, third)
            await peer.send(fourth)
            await peer.read_frame()  # the pong and the next message, in any order
            await peer.read_frame()
            await peer.send(last)
            if self._case.closer == "server":
                await peer.send(_CLOSE)
                await peer.read_close()
                await stream.aclose()
            else:
                await peer.finish()

    def _limit(self, direction: str) -> int:
        return self._case.offset if direction == self._case.direction else 10**9

    async def _forward_to_client(self, inside: trio.abc.Stream, outside: trio.SocketStream) -> None:
        left = self._limit("to client")
        with suppress(*_GONE):
            while left and (data := await inside.receive_some(left)):
                await outside.send_all(data)
                left -= len(data)
                self.forwarded += len(data)
            if not left:
                self._cut(outside)
            else:
                await outside.send_eof()

    async def _forward_to_server(self, outside: trio.SocketStream, inside: trio.abc.Stream) -> None:
        left = self._limit("to server")
        with suppress(*_GONE):
            while True:
                if not left and not self.was_cut:
                    self._cut(outside)
                # After a cut by FIN what the client still sends is taken: else the kernel would make it a RST.
                data = await outside.receive_some(left or None)
                if not data:
                    return
                if left:
                    await inside.send_all(data)
                    left -= len(data)

    def _cut(self, outside: trio.SocketStream) -> None:
        self.was_cut = True
        self._findings.note("cut")
        if self._case.how == "RST":
            outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            outside.socket.close()
        else:
            with suppress(OSError):  # the client may have reset it
                outside.socket.shutdown(trio.socket.SHUT_WR)


@final
class Client:
    """The client's side, which is what is judged."""

    def __init__(self, case: Case, findings: Findings, cut: Cut) -> None:
        self._case = case
        self._findings = findings
        self._cut = cut
        self._received: list[str | bytes] = []
        self._asked = False

    async def talk(self, port: int) -> None:
        """Have the conversation."""
        context: ssl.SSLContext | None = contexts()[1] if self._case.transport == "tls" else None
        scheme = "ws" if context is None else "wss"
        opened = False
        try:
            async with connect_socket(f"{scheme}://127.0.0.1:{port}/", ssl_context=context, tcp_no_delay=True) as task:
                opened = True
                errors, closes = task.on_error(), task.on_close()
                await self._converse(task)
        except ConnectError as error:
            self._findings.note(f"{error}")
            self._findings.count("not opened")
            self._findings.check(not opened, "ConnectError after the opening")
            self._judge_opening()
            return
        self._findings.count("messages received", len(self._received))
        self._judge(task, [event async for event in errors], [event async for event in closes])

    async def _converse(self, task: SocketTask) -> None:
        try:
            await task.send("hello")
            for _ in _FRAMES[:-1]:
                self._received.append(await task.receive())
            await task.send("again")
            self._received.append(await task.receive())
            if self._case.closer == "client":
                self._asked = True
                await task.aclose(3000, "bye")
        except (SocketLostError, SocketClosedError, trio.EndOfChannel) as error:
            self._findings.note(f"{error!r}")
        try:
            async for data in task:
                self._received.append(data)
        except SocketLostError as error:
            self._findings.note(f"{error!r}")
            self._findings.check(not self._asked, "SocketLostError after a close of this side")

    def _judge_opening(self) -> None:
        self._findings.check(self._cut.was_cut, "it was not opened, and not cut")
        if (self._case.transport, self._case.how) == ("tcp", "FIN"):
            self._findings.check(self._cut.forwarded < _RESPONSE, "it was not opened, though the response came whole")

    def _judge(self, task: SocketTask, errors: list[object], closes: list[CloseEvent]) -> None:
        check, expected = self._findings.check, [data for data, _ in _FRAMES]
        check(self._received == expected[: len(self._received)], f"received {self._received!r}")
        check(len(closes) == 1, f"{len(closes)} close events")
        event = closes[0]
        self._findings.note(f"{event}")
        check(task.close_event == event, "another close event than on_close() gave")
        if not self._cut.was_cut:
            check(self._received == expected, "not everything was received, though nothing was cut")
        elif (self._case.transport, self._case.direction, self._case.how) == ("tcp", "to client", "FIN"):
            whole = sum(end <= self._cut.forwarded for end in _ENDS)
            check(len(self._received) == whole, f"{whole} messages came whole, {len(self._received)} were received")
        if self._asked:
            check((event.code, event.reason) == (3000, "bye"), f"closed by this side, and the event is {event}")
        elif event.code == 4000:
            check((event.reason, errors, self._received) == ("done", [], expected), f"the server's close: {event}")
        else:
            check(event.code == 1006 and len(errors) == 1, f"lost: {event}, with {len(errors)} errors")
            check(self._cut.was_cut, "lost, though nothing was cut")
