"""A server that speaks raw bytes, reads what it reads, and remembers that."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import final

import attrs
import trio
from deflated import Compressor, Inflator
from peer import CLOSE, PING, PONG, TEXT, Peer, close_frame, frame

from .behaviour import Behaviour
from .client_frames import BITS, FrameReader, message_of
from .wires import End

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
_ACKNOWLEDGES = "ack "
_REFUSALS = {
    "busy": b"503 Service Unavailable",
    "redirect": b"302 Found\r\nLocation: https://login.test/",
    "unauthorized": b"401 Unauthorized",
}


def name_of(data: str | bytes) -> str:
    """Return the name that a message begins with."""
    text = data if isinstance(data, str) else data.decode("latin-1")
    return text.split("|", 1)[0]


def is_whole(data: str | bytes) -> bool:
    """Whether a message is as `message` made it."""
    text = data if isinstance(data, str) else data.decode()
    _, size, pad = text.split("|", 2)
    return pad == "x" * int(size)


def message(name: str, size: int = 0) -> str:
    """Make a message that says who it is, and whose wholeness can be seen."""
    return f"{name}|{size}|{'x' * size}"


def acknowledgement(name: str) -> str:
    """Make a message that acknowledges another."""
    return message(f"{_ACKNOWLEDGES}{name}")


def acknowledged_name(data: str | bytes) -> str | None:
    """Return the name that a message acknowledges; None if it is no acknowledgement."""
    name = name_of(data)
    return name.removeprefix(_ACKNOWLEDGES) if name.startswith(_ACKNOWLEDGES) else None


@final
@attrs.define(eq=False)
class Session:
    """One connection, as the server sees it."""

    number: int
    behaviour: Behaviour
    end: End
    client_closes: trio.Event
    """Set when the program asks to close."""
    on_read: Callable[[int, str | bytes], None]
    """Told each message that was read, and by which connection."""
    on_acknowledge: Callable[[str], None] | None = None
    """Told each message that is about to be acknowledged; None where none is."""
    read: list[str] = attrs.field(factory=list)
    """The names of the messages that were read."""
    pushed: int = 0
    """How many messages were sent, or begun to be."""
    accepted: bool = False
    _compressor: Compressor | None = None
    """Where the client has offered compression."""
    _pings: int = 0
    _unacknowledged: list[str] = attrs.field(factory=list)
    _has_read: trio.Event = attrs.field(factory=trio.Event)
    _writes: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def compresses(self) -> bool:
        """Whether compression was agreed on."""
        return self._compressor is not None

    async def serve(self) -> None:
        """Serve the connection to its end."""
        try:
            peer = Peer(self.end)
            if await self._open(peer):
                self.accepted = True
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._quietly, self._push)
                    nursery.start_soon(self._quietly, self._finish)
                    await self._quietly(self._read)
                    nursery.cancel_scope.cancel()
        except (*_GONE, AssertionError):  # the client went away in the middle of its request
            pass
        finally:
            self.end.close()

    @staticmethod
    async def _quietly(work: Callable[[], Awaitable[None]]) -> None:
        with suppress(*_GONE):
            await work()

    async def _send(self, data: bytes) -> None:
        async with self._writes:
            await self.end.send_all(data)

    async def _open(self, peer: Peer) -> bool:
        opening = self.behaviour.opening
        if opening == "reset":
            self.end.reset()
        if opening in ("fin", "reset"):
            return False
        await peer.read_request()
        if opening in _REFUSALS:
            wait = self.behaviour.retry_after
            fields = b"" if wait is None else b"\r\nRetry-After: %d" % wait
            await self._send(b"HTTP/1.1 " + _REFUSALS[opening] + fields + b"\r\nContent-Length: 2\r\n\r\nno")
        elif opening == "garbage":
            await self._send(b"\x16\x03\x01 SSH-2.0-hello\r\n\r\n")
        elif opening == "half":
            await self._send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs")
        elif opening == "silent":
            await trio.sleep_forever()
        else:
            if opening == "accept late":
                await trio.sleep(self.behaviour.opening_delay)
            agreed = []
            if b"permessage-deflate" in peer.request:
                self._compressor = Compressor()
                agreed.append("Sec-WebSocket-Extensions: permessage-deflate")
            greetings = b"".join(self._next_push() for _ in range(self.behaviour.greetings))
            await peer.accept(*agreed, then=greetings)
            return True
        return False

    def _text(self, text: str) -> bytes:
        """Make a frame of text, which is the next to be written."""
        return frame(TEXT, text.encode()) if self._compressor is None else self._compressor.message(text)

    def _next_push(self) -> bytes:
        self.pushed += 1
        return self._text(message(f"p{self.number}.{self.pushed - 1}", self.pushed * 37 % 200))

    async def _push(self) -> None:
        for _ in range(self.behaviour.pushes):
            await trio.sleep(self.behaviour.push_gap)
            async with self._writes:
                await self.end.send_all(self._next_push())

    async def _read(self) -> None:
        frames = FrameReader(None if self._compressor is None else Inflator(BITS))
        behaviour = self.behaviour
        while True:
            if behaviour.stops_after is not None and len(self.read) >= behaviour.stops_after:
                if behaviour.resumes_after is None:
                    await trio.sleep_forever()
                await trio.sleep(behaviour.resumes_after)
                behaviour = attrs.evolve(behaviour, stops_after=None)
            data = await self.end.receive_some()
            if not data:
                return
            for opcode, payload in frames.feed(data):
                read = message_of(opcode, payload)
                if read is not None:
                    self.read.append(name_of(read))
                    self.on_read(self.number, read)
                    if len(self.read) == behaviour.ends_after_messages:
                        self._has_read.set()
                    await self._acknowledge(name_of(read))
                elif opcode == PING:
                    await self._answer_ping(payload)
                elif opcode == CLOSE and not await self._answer_close(payload):
                    return
            await trio.sleep(behaviour.pace)

    async def _acknowledge(self, name: str) -> None:
        """Acknowledge a message that was read, and those that were held back, as the behaviour has it."""
        if self.on_acknowledge is None:
            return
        self._unacknowledged.append(name)
        behaviour, waiting = self.behaviour, self._unacknowledged
        match behaviour.acknowledgements:
            case "never":
                return
            case "backwards" if len(waiting) < 3:
                return
            case "backwards":
                waiting.reverse()
            case "lossy" if len(self.read) % 2:
                waiting.clear()
            case "twice":
                waiting.append(name)
            case "late":
                await trio.sleep(behaviour.pong_delay)
        while waiting:
            self.on_acknowledge(waiting[0])
            async with self._writes:
                await self.end.send_all(self._text(acknowledgement(waiting.pop(0))))

    async def _answer_ping(self, payload: bytes) -> None:
        self._pings += 1
        match self.behaviour.pongs:
            case "never":
                return
            case "drop":
                self.end.reset()
            case "lossy" if self._pings % 2:
                return
            case "latest" if self._pings % 3:
                return
            case "late":
                await trio.sleep(self.behaviour.pong_delay)
            case "empty":
                payload = b""
        await self._send(frame(PONG, payload))

    async def _answer_close(self, payload: bytes) -> bool:
        """Answer a Close, and say whether to go on reading."""
        answer = self.behaviour.answer
        if answer == "never":
            return True
        if answer == "late":
            await trio.sleep(self.behaviour.pong_delay)
        if answer == "reset":
            self.end.reset()
        elif answer != "fin":
            await self._send(close_frame(4100) if answer == "other code" else frame(CLOSE, payload[:2]))
        return answer == "stay"

    async def _finish(self) -> None:
        """End the connection, as the behaviour has it."""
        behaviour = self.behaviour
        if behaviour.ending is None:
            return
        if behaviour.ends_with_client:
            await self.client_closes.wait()
        elif behaviour.ends_after_messages:
            await self._has_read.wait()
        await trio.sleep(behaviour.ends_after)
        if behaviour.ending.startswith("close"):
            await self._send(close_frame(behaviour.code, "the server's own"))
        if behaviour.ending == "garble":
            await self._send(struct.pack(">BB", 0xF3, 0x85) + b"wrong")
        elif behaviour.ending == "half":
            await self.end.send_eof()
        elif behaviour.ending in ("reset", "close and reset"):
            self.end.reset()
        elif behaviour.ending in ("fin", "close"):
            self.end.close()
