"""The same hostile peers against the three WebSocket clients on Trio: ``python rivals.py`` prints a table.

Each situation runs over loopback against a peer that speaks raw bytes, with the deadlines of the client set to one
second, and is given four. What a client does is written as it was seen; ``ok`` stands where a program can live with it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import trio
import trio_websocket
from websockets.trio.client import ClientConnection
from websockets.trio.client import connect as websockets_connect

import trio_socket_task

sys.path.insert(0, str(Path(__file__).parent.parent))
from peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, Script, close_frame, frame

DEADLINE, PATIENCE = 1.0, 4.0
LARGEST = 100 * 2**20


class Client(Protocol):
    """What the situations do with a connection."""

    async def send(self, data: str | bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def ping(self) -> None: ...


Connect = Callable[[str, int], AbstractAsyncContextManager[Client]]


@attrs.define
class Ours:
    task: trio_socket_task.SocketTask

    async def send(self, data: str | bytes) -> None:
        await self.task.send(data)

    async def receive(self) -> str | bytes:
        return await self.task.receive()

    async def ping(self) -> None:
        await self.task.ping()


@attrs.define
class TrioWebsocket:
    connection: trio_websocket.WebSocketConnection

    async def send(self, data: str | bytes) -> None:
        await self.connection.send_message(data)

    async def receive(self) -> str | bytes:
        message: str | bytes = await self.connection.get_message()
        return message

    async def ping(self) -> None:
        await self.connection.ping()


@attrs.define
class Websockets:
    connection: ClientConnection

    async def send(self, data: str | bytes) -> None:
        await self.connection.send(data)

    async def receive(self) -> str | bytes:
        return await self.connection.recv()

    async def ping(self) -> None:
        await (await self.connection.ping()).wait()


@asynccontextmanager
async def ours(url: str, largest: int) -> AsyncIterator[Client]:
    options: trio_socket_task.ConnectOptions = {
        "timeout": DEADLINE,
        "close_timeout": DEADLINE,
        "max_message_size": largest,
    }
    async with trio_socket_task.connect_socket(url, **options) as task:
        yield Ours(task)


@asynccontextmanager
async def by_trio_websocket(url: str, largest: int) -> AsyncIterator[Client]:
    async with trio_websocket.open_websocket_url(
        url, connect_timeout=DEADLINE, disconnect_timeout=DEADLINE, max_message_size=largest
    ) as connection:
        yield TrioWebsocket(connection)


@asynccontextmanager
async def by_websockets(url: str, largest: int) -> AsyncIterator[Client]:
    async with websockets_connect(
        url, open_timeout=DEADLINE, close_timeout=DEADLINE, max_size=largest, compression=None
    ) as connection:
        yield Websockets(connection)


CLIENTS: dict[str, Connect] = {
    "trio-socket-task": ours,
    "trio-websocket": by_trio_websocket,
    "websockets.trio": by_websockets,
}


@attrs.define
class Seen:
    """What a peer notes for its situation."""

    notes: list[object] = attrs.field(factory=list)
    told: trio.Event = attrs.field(factory=trio.Event)

    def note(self, thing: object) -> None:
        self.notes.append(thing)
        self.told.set()


Situation = Callable[[Connect, str, Seen], Awaitable[str]]
ROWS: list[tuple[str, str, Callable[[Seen], Script], Situation]] = []


def row(hazard: str, words: str, script: Callable[[Seen], Script]) -> Callable[[Situation], Situation]:
    """Add a situation."""

    def add(situation: Situation) -> Situation:
        ROWS.append((hazard, words, script, situation))
        return situation

    return add


def plays(play: Callable[[Peer, Seen], Awaitable[object]]) -> Callable[[Seen], Script]:
    """Make a peer's script of a function that notes what it sees."""
    return lambda seen: lambda peer: play(peer, seen)


async def fails(connect: Connect, url: str, within: float) -> str:
    """Expect the opening to fail in time."""
    started = trio.current_time()
    try:
        async with connect(url, LARGEST):
            return "opens"
    except Exception as error:  # noqa: BLE001 (that is the question)
        took = trio.current_time() - started
        return f"{'ok: ' if took < within else f'after {took:.1f} s: '}{type(error).__name__}"


async def silent(peer: Peer, _: Seen) -> None:
    await peer.read_request()
    await peer.read_end()


async def end_early(peer: Peer, _: Seen) -> None:
    await peer.read_request()
    await peer.stream.aclose()


async def endless_body(peer: Peer, _: Seen) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    while True:
        await peer.send(b"x" * 1000)
        await trio.sleep(0.001)


async def wrong_accept(peer: Peer, _: Seen) -> None:
    await peer.read_request()
    head = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
    await peer.send(head)
    await peer.read_end()


@row("O1", "silent server", plays(silent))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await fails(connect, url, 1.5)


@row("O2", "the peer ends during the handshake", plays(end_early))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await fails(connect, url, 0.5)


@row("O4", "endless body of a refusal", plays(endless_body))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await fails(connect, url, 1.5)


@row("O5", "wrong Sec-WebSocket-Accept", plays(wrong_accept))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await fails(connect, url, 0.5)


async def interim(peer: Peer, _: Seen) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await peer.accept()
    await peer.finish()


@row("O6", "103 before the 101", plays(interim))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return (await fails(connect, url, 0)).replace("opens", "ok: opens")


async def unread(peer: Peer, seen: Seen) -> None:
    await peer.accept()
    await peer.send(*[frame(TEXT, b"unread")] * 100, frame(PING, b"there?"))
    seen.note(await peer.read_frame())
    await peer.finish()


@row("R1", "ping behind 100 messages nobody reads", plays(unread))
async def _(connect: Connect, url: str, seen: Seen) -> str:
    async with connect(url, LARGEST):
        with trio.move_on_after(1):
            await seen.told.wait()
        return "ok: answered" if seen.notes == [(PONG, b"there?")] else "not answered"


async def slow(peer: Peer, seen: Seen) -> None:
    await peer.accept()
    await trio.sleep(1.5)
    try:
        while (item := await peer.read_frame())[0] != CLOSE:
            seen.note(len(item[1]))
        await peer.send(close_frame(1000))
    except AssertionError:
        seen.note("corrupt")
    await peer.stream.aclose()


@row("R2", "a send is cancelled in the middle, another follows", plays(slow))
async def _(connect: Connect, url: str, seen: Seen) -> str:
    with suppress(trio.Cancelled, Exception):
        async with connect(url, LARGEST) as client:
            with trio.move_on_after(1):
                await client.send(b"x" * 20_000_000)
            await client.send(b"after")
    await trio.sleep(1)
    whole = seen.notes in ([20_000_000, 5], [5])
    return "ok: frames are whole" if whole else f"the peer reads {[*map(str, seen.notes)] or 'no whole frame'}"


async def write_first(peer: Peer, seen: Seen) -> None:
    await peer.accept()
    for _ in range(20):
        await peer.send(frame(BINARY, bytes(2**20)), frame(PING, b"x"))
    while (item := await peer.read_frame())[0] != CLOSE:
        seen.note(len(item[1]))
    await peer.send(close_frame(1000))
    await peer.stream.aclose()


@row("R3", "both sides write 20 MB, with pings between", plays(write_first))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    async with connect(url, LARGEST) as client, trio.open_nursery() as nursery:

        async def send() -> None:
            for _ in range(20):
                await client.send(bytes(2**20))

        nursery.start_soon(send)
        for _ in range(20):
            await client.receive()
    return "ok: done"


async def die(peer: Peer, _: Seen) -> None:
    await peer.accept()
    await peer.read_frame()
    await peer.stream.aclose()


@row("R5", "the connection dies under a ping", plays(die))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    try:
        async with connect(url, LARGEST) as client:
            await client.ping()
    except Exception as error:  # noqa: BLE001 (that is the question)
        return f"ok: {type(error).__name__}"
    return "ends without an error"


def bad(data: bytes) -> Callable[[Peer, Seen], Awaitable[None]]:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.accept(then=data)
        seen.note((await peer.read_close())[0])
        await peer.stream.aclose()

    return play


async def closes_with(connect: Connect, url: str, seen: Seen, code: int, largest: int) -> str:
    with suppress(Exception):
        async with connect(url, largest) as client:
            await client.receive()
            await trio.sleep(0.5)
    return f"ok: Close {code}" if seen.notes == [code] else f"{seen.notes or 'no Close'}"


@row("R6", "text that is not UTF-8", plays(bad(frame(TEXT, b"\xff"))))
async def _(connect: Connect, url: str, seen: Seen) -> str:
    return await closes_with(connect, url, seen, 1007, LARGEST)


@row("R6", "a reserved bit", plays(bad(frame(TEXT, b"a", reserved=0x40))))
async def _(connect: Connect, url: str, seen: Seen) -> str:
    return await closes_with(connect, url, seen, 1002, LARGEST)


@row("R7", "a message over the limit", plays(bad(frame(BINARY, bytes(2000)))))
async def _(connect: Connect, url: str, seen: Seen) -> str:
    return await closes_with(connect, url, seen, 1009, 1000)


async def leaves(connect: Connect, url: str, within: float) -> str:
    """Expect a block to be left in time and quietly."""
    started = trio.current_time()
    ran = False
    try:
        async with connect(url, LARGEST):
            await trio.sleep(0.2)
            started = trio.current_time()
        ran = True
    except Exception as error:  # noqa: BLE001 (that is the question)
        return f"raises {type(error).__name__}"
    took = trio.current_time() - started
    return f"{'ok: ' if took < within else ''}{took:.1f} s{'' if ran else ', the rest is skipped'}"


async def never_answer(peer: Peer, _: Seen) -> None:
    await peer.accept()
    await peer.read_end()


async def close_without_end(peer: Peer, _: Seen) -> None:
    await peer.accept(then=close_frame(1001))
    await peer.read_end()


async def ping_late(peer: Peer, _: Seen) -> None:
    await peer.accept()
    await peer.read_close()
    await peer.send(frame(PING, b"late"), close_frame(1000))
    await peer.stream.aclose()


async def flood(peer: Peer, _: Seen) -> None:
    await peer.accept()
    while True:
        await peer.send(frame(BINARY, bytes(100_000)))


@row("C1", "the peer never answers our Close", plays(never_answer))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await leaves(connect, url, 1.5)


@row("C2", "the peer closes and never ends the connection", plays(close_without_end))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await leaves(connect, url, 1.5)


@row("C3", "a ping after our Close", plays(ping_late))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await leaves(connect, url, 0.5)


@row("C7", "the body raises, the peer never answers", plays(never_answer))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    error, started = KeyError("body"), 0.0
    try:
        async with connect(url, LARGEST):
            started = trio.current_time()
            raise error
    except KeyError as caught:
        took = trio.current_time() - started
        return f"{'ok: ' if took < 0.5 and caught is error else ''}{took:.1f} s"


@row("C10", "leaving under a flood nobody reads", plays(flood))
async def _(connect: Connect, url: str, _seen: Seen) -> str:
    return await leaves(connect, url, 1.5)


async def run_one(connect: Connect, script: Callable[[Seen], Script], situation: Situation) -> str:
    """Run a situation with a peer of its own."""
    seen = Seen()
    answer = "the rest of the program is silently skipped"

    async def handle(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EOFError, AssertionError):
            await script(seen)(Peer(stream))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        with trio.move_on_after(PATIENCE) as scope:
            try:
                answer = await situation(connect, url, seen)
            except Exception as error:  # noqa: BLE001 (that is the question)
                answer = f"raises {type(error).__name__}"
        if scope.cancelled_caught:
            answer = "hangs"
        nursery.cancel_scope.cancel()
    return answer


def main() -> None:
    """Print the table."""
    print("| hazard | situation | " + " | ".join(CLIENTS) + " |")
    print("|---|---|" + "---|" * len(CLIENTS))
    for hazard, words, script, situation in ROWS:
        answers = [trio.run(run_one, connect, script, situation) for connect in CLIENTS.values()]
        print(f"| {hazard} | {words} | " + " | ".join(answers) + " |", flush=True)


if __name__ == "__main__":
    main()
