"""`_writer`: whole frames, in order, in few writes."""

from __future__ import annotations

import pytest
import trio
from deflated import RSV1, Inflator, client_frames, noise
from trio.testing import wait_all_tasks_blocked

from trio_socket_task import PerMessageDeflate
from trio_socket_task._protocol._connection import ClientConnection
from trio_socket_task._protocol._constants import LARGE, Opcode
from trio_socket_task._protocol._encoder import LargeFrame, encode
from trio_socket_task._protocol._state import Life
from trio_socket_task._session._ending import Ending
from trio_socket_task._session._subscriptions import Subscriptions
from trio_socket_task._session._wakeup import Wakeup
from trio_socket_task._session._writer import Writer
from trio_socket_task._stream._wire import _PlainWire


class ScriptedWire(_PlainWire):
    """A wire that takes as much at once as a test allows, and waits while it is told to."""

    def __init__(self, at_once: int = 10**9) -> None:
        self.at_once = at_once
        self.writes: list[bytes] = []
        self.error: Exception | None = None
        self.open = trio.Event()
        self.open.set()

    def send_now(self, data: bytes | memoryview) -> int:
        if self.error is not None:
            raise self.error
        taken = min(self.at_once, len(data))
        if taken:
            self.writes.append(bytes(data[:taken]))
        return taken

    async def send(self, data: bytes | memoryview) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.writes.append(bytes(data))

    async def receive(self, max_bytes: int) -> bytes:
        del max_bytes
        await trio.sleep_forever()
        return b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Setup:
    """A writer whose task runs in a test's nursery."""

    def __init__(self, nursery: trio.Nursery, wire: ScriptedWire, limit: int = 100) -> None:
        self.wire = wire
        self.life = Life()
        self._nursery = nursery
        wakeup = Wakeup()
        self.out = Writer(wire, limit, nursery, Ending(self.life, Subscriptions(100, wakeup), wakeup, 10))

    @property
    def started(self) -> int:
        return len(self._nursery.child_tasks)

    @property
    def broken(self) -> BaseException | None:
        """What ended the writing."""
        return None if self.life.write_error is None else self.life.write_error.__cause__


async def test_a_lone_message_is_written_at_once(nursery: trio.Nursery) -> None:
    """By its sender: no task is woken, none even started."""
    setup = Setup(nursery, ScriptedWire())
    for _ in range(3):
        setup.out.eager = True
        setup.out.put(b"x")
    assert setup.wire.writes == [b"x"] * 3
    assert setup.started == 0


async def test_a_burst_is_joined(nursery: trio.Nursery) -> None:
    """The first goes at once, the others in one write; the writer is started once."""
    setup = Setup(nursery, ScriptedWire())
    for _ in range(2):
        setup.out.eager = True
        for letter in (b"a", b"b", b"c"):
            setup.out.put(letter)
        await wait_all_tasks_blocked()
    assert setup.wire.writes == [b"a", b"bc", b"a", b"bc"]
    assert setup.started == 1
    assert setup.out.size == 0


async def test_a_frame_of_which_a_part_was_taken_is_finished_first(nursery: trio.Nursery) -> None:
    """Nothing comes between its parts, not even a control frame."""
    setup = Setup(nursery, ScriptedWire(at_once=2))
    setup.out.put(b"abcd")
    setup.out.put(b"efgh")
    setup.out.put_ping(b"PONG")
    await wait_all_tasks_blocked()
    assert b"".join(setup.wire.writes) == b"abcdPONGefgh"


class Counts:
    """Notes what was written, as it is told."""

    writer: Writer

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_written(self) -> None:
        self.seen.append(self.writer.written)


async def test_what_was_taken_and_what_was_written_whole_is_counted(nursery: trio.Nursery) -> None:
    """Of what goes in order; what a write that failed took along never counts."""
    setup, counts = Setup(nursery, ScriptedWire(at_once=2), limit=1000), Counts()
    setup.out._on_written = counts.on_written
    counts.writer = setup.out
    setup.out.put(b"xy")
    assert (setup.out.taken, setup.out.written, counts.seen) == (1, 1, [1])
    setup.wire.at_once = 1
    setup.out.put_ping(b"a ping goes ahead")
    await wait_all_tasks_blocked()
    assert (setup.out.taken, setup.out.written, counts.seen) == (1, 1, [1])
    setup.out.eager = True
    setup.out.put(b"in part")
    assert (setup.out.taken, setup.out.written, counts.seen) == (2, 1, [1])
    await wait_all_tasks_blocked()
    assert (setup.out.taken, setup.out.written, counts.seen) == (2, 2, [1, 2])
    setup.out.put(b"one")
    setup.out.put(b"two")
    setup.out.put_ping_in_order(b"a ping in order")
    await wait_all_tasks_blocked()
    assert (setup.out.taken, setup.out.written, counts.seen) == (5, 5, [1, 2, 5])
    setup.out.put(b"lost")
    setup.out.put(bytes(2**17))  # which is never begun
    setup.wire.error = trio.BrokenResourceError("gone")
    await wait_all_tasks_blocked()
    assert (setup.out.taken, setup.out.written, counts.seen) == (7, 5, [1, 2, 5])
    assert setup.out.begun == 6


async def test_control_frames_go_before_messages_and_never_wait_for_room(nursery: trio.Nursery) -> None:
    """Between frames, even while the queue is over its limit."""
    setup = Setup(nursery, ScriptedWire(at_once=0), limit=1)
    setup.wire.open = trio.Event()
    setup.out.put(b"first")
    await wait_all_tasks_blocked()
    setup.out.put(b"second")
    assert not setup.out.has_room()
    setup.out.put_ping(b"PING")
    setup.out.put_ping(b"PONG")
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    assert setup.wire.writes == [b"first", b"PINGPONGsecond"]


async def test_a_control_frame_that_finds_no_taker_waits(nursery: trio.Nursery) -> None:
    """It goes by the writer then."""
    setup = Setup(nursery, ScriptedWire(at_once=0))
    setup.out.put_ping(b"PONG")
    await wait_all_tasks_blocked()
    assert setup.wire.writes == [b"PONG"]


async def test_batches_are_bounded(nursery: trio.Nursery) -> None:
    """So that a control frame never waits behind more than 64 KiB of other frames, or one large one."""
    setup = Setup(nursery, ScriptedWire(), limit=10**6)
    setup.out.eager = False
    for size in (40_000, 40_000, 10_000, 100_000, 5):
        setup.out.put(b"x" * size)
    await wait_all_tasks_blocked()
    assert [len(data) for data in setup.wire.writes] == [40_000, 50_000, 100_000, 5]


async def test_the_close_frame_is_last(nursery: trio.Nursery) -> None:
    """What was queued goes before it; nothing is taken after it."""
    setup = Setup(nursery, ScriptedWire())
    setup.out.put(b"a")
    setup.out.put(b"b")
    setup.out.put_close(b"CLOSE")
    setup.out.put_close(b"AGAIN")
    setup.out.put_ping(b"PONG")
    await wait_all_tasks_blocked()
    assert b"".join(setup.wire.writes) == b"abCLOSE"


async def test_a_close_wakes_those_who_wait_for_room(nursery: trio.Nursery) -> None:
    """At once, although what they wait for is not written yet: nothing is taken after the Close frame."""
    setup = Setup(nursery, ScriptedWire(at_once=0), limit=1)
    setup.wire.open = trio.Event()
    setup.out.put(b"first")
    nursery.start_soon(setup.out.room.park)
    await wait_all_tasks_blocked()
    setup.out.put_close(b"CLOSE")
    assert not setup.out.room
    assert setup.out.size == len(b"firstCLOSE")


async def test_senders_wait_in_order_for_room(nursery: trio.Nursery) -> None:
    """Each gets its turn when the queue has shrunk below the limit; one woken sender wakes the next."""
    setup = Setup(nursery, ScriptedWire(at_once=0), limit=10)
    setup.wire.open = trio.Event()
    order: list[int] = []

    async def send(number: int) -> None:
        if not setup.out.has_room():
            await setup.out.room.park()
        order.append(number)
        setup.out.put(b"%4d" % number)

    for number in range(10):
        nursery.start_soon(send, number)
        await wait_all_tasks_blocked()
    assert order == [0, 1, 2]
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    assert order == list(range(10))
    assert b"".join(setup.wire.writes) == b"".join(b"%4d" % number for number in range(10))


@pytest.mark.parametrize("where", ["at once", "in the writer"])
async def test_a_failed_write_ends_writing(nursery: trio.Nursery, where: str) -> None:
    """What was queued is dropped, who waits is woken, nothing is taken any more, and the reason is told once."""
    setup = Setup(nursery, ScriptedWire(at_once=0), limit=1)
    setup.wire.open = trio.Event()
    error = trio.BrokenResourceError("reset")
    if where == "at once":
        setup.wire.error = error
        setup.out.put(b"x")
    else:
        setup.out.put(b"x")
        setup.out.put(b"y")
        nursery.start_soon(setup.out.room.park)
        nursery.start_soon(setup.out.wait_drained)
        await wait_all_tasks_blocked()
        setup.wire.error = error
        setup.wire.open.set()
        await wait_all_tasks_blocked()
    assert setup.broken is error
    assert (setup.out.finished, setup.out.size, len(setup.out.room), setup.started) == (True, 0, 0, 0)
    setup.out.put_ping(b"PONG")
    assert setup.wire.writes == []


async def test_pongs_that_wait_are_bounded(nursery: trio.Nursery) -> None:
    """A peer that pings and does not read costs no memory; the latest pings are answered (RFC 6455 section 5.5.3)."""
    setup = Setup(nursery, ScriptedWire(at_once=0))
    setup.wire.open = trio.Event()
    protocol = ClientConnection("ws://x/", 100)
    setup.out.put(b"first")
    await wait_all_tasks_blocked()
    for number in range(1000):
        setup.out.put_pongs(protocol.send_pongs([b"%3d" % number * 41]))
    assert setup.out.size == len(b"first") + 32 * (6 + 123)
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    frames = [setup.wire.writes[1][start : start + 129] for start in range(0, 32 * 129, 129)]
    assert [bytes(a ^ b for a, b in zip(one[2:5], one[6:9], strict=True)) for one in frames] == [
        b"%3d" % number for number in range(968, 1000)
    ]
    assert setup.out.size == 0


async def test_of_pongs_that_go_together_the_latest_wait(nursery: trio.Nursery) -> None:
    """Where two such writes are more than is kept."""
    setup = Setup(nursery, ScriptedWire(at_once=0))
    setup.wire.open = trio.Event()
    setup.out.put(b"first")
    await wait_all_tasks_blocked()
    for letter in (b"a", b"b", b"c"):
        setup.out.put_pongs(letter * 4000)
        assert setup.out.size == len(b"first") + 4000
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    assert setup.wire.writes == [b"first", b"c" * 4000]


class TalkingWire(ScriptedWire):
    """A wire that encrypts by turning small letters into capitals, and has something to say by itself."""

    def __init__(self, at_once: int = 10**9) -> None:
        super().__init__(at_once)
        self.to_say = b""

    def pending_output(self) -> bytes:
        said, self.to_say = self.to_say, b""
        return said

    def encrypt(self, data: bytes | memoryview) -> bytes:
        return self.pending_output() + bytes(data).upper()


async def test_what_the_wire_has_to_say_goes_out_in_its_turn(nursery: trio.Nursery) -> None:
    """At once where nothing is written, else when that is done; never in the middle of something encrypted."""
    wire = TalkingWire()
    setup = Setup(nursery, wire)
    wire.to_say = b"1"
    setup.out.write_pending_output()
    await wait_all_tasks_blocked()
    assert b"".join(wire.writes) == b"1"
    wire.writes.clear()
    wire.at_once = 1
    setup.out.eager = True
    wire.open = trio.Event()
    setup.out.put(b"ab")
    wire.at_once = 0
    setup.out.put(b"cd")
    await wait_all_tasks_blocked()
    wire.to_say = b"2"
    setup.out.write_pending_output()
    wire.open.set()
    await wait_all_tasks_blocked()
    assert b"".join(wire.writes) == b"AB2CD"
    wire.open = trio.Event()
    setup.out.put(b"ef")
    await wait_all_tasks_blocked()
    wire.to_say = b"3"
    setup.out.write_pending_output()
    wire.open.set()
    await wait_all_tasks_blocked()
    assert b"".join(wire.writes) == b"AB2CDEF3"
    assert setup.out.size == 0
    setup.out.put_close(b"gh")
    wire.to_say = b"4"
    setup.out.write_pending_output()  # after the Close frame nothing matters any more


async def test_the_wire_has_nothing_to_say_after_the_end(nursery: trio.Nursery) -> None:
    """The connection is being closed then."""
    wire = TalkingWire()
    setup = Setup(nursery, wire)
    setup.out.end()
    wire.to_say = b"1"
    setup.out.write_pending_output()
    await wait_all_tasks_blocked()
    assert (wire.writes, setup.started) == ([], 0)


@pytest.mark.parametrize("at_once", [0, 1, LARGE, LARGE + 20, 2 * LARGE, 10**9])
@pytest.mark.parametrize("kind", [ScriptedWire, TalkingWire])
async def test_a_large_frame_is_written_in_pieces(
    nursery: trio.Nursery, kind: type[ScriptedWire], at_once: int
) -> None:
    """Whole, however much is taken at once, and nothing comes between its pieces."""
    wire = kind()
    setup = Setup(nursery, wire, limit=10**6)
    frame = LargeFrame(Opcode.BINARY, bytes(3 * LARGE + 5))
    wire.at_once = at_once
    wire.open = trio.Event()
    setup.out.put(frame)
    assert setup.out.size >= 0
    setup.out.put(b"next")
    setup.out.put(frame)
    setup.out.put(b"last")
    wire.open.set()
    await wait_all_tasks_blocked()
    expected = b"".join((*frame, b"next", *frame, b"last"))
    assert b"".join(wire.writes) == (expected.upper() if kind is TalkingWire else expected)
    assert setup.out.size == 0
    assert len(wire.writes) >= 6 or at_once < LARGE or at_once > 2 * LARGE


async def test_a_large_frame_that_breaks_in_the_middle_ends_writing(nursery: trio.Nursery) -> None:
    """What was begun cannot be understood any more."""
    wire = ScriptedWire(at_once=LARGE)
    setup = Setup(nursery, wire)
    wire.open = trio.Event()
    setup.out.put(LargeFrame(Opcode.BINARY, bytes(3 * LARGE)))
    wire.at_once = 0
    await wait_all_tasks_blocked()
    wire.error = trio.BrokenResourceError("gone")
    wire.open.set()
    await wait_all_tasks_blocked()
    assert (setup.broken, setup.out.size, setup.out.finished) == (wire.error, 0, True)


class CompressedSetup(Setup):
    """A writer of messages that are compressed as they are written, and what the peer makes of what was written."""

    def __init__(self, nursery: trio.Nursery, wire: ScriptedWire, limit: int = 10**6) -> None:
        super().__init__(nursery, wire, limit)
        self._protocol = ClientConnection("ws://x/", 100)
        self._protocol.compress(PerMessageDeflate())

    def put(self, data: bytes) -> None:
        self.out.put(self._protocol.send_message(data, data))

    def frames(self) -> list[tuple[int, bytes]]:
        """Give the first byte and the payload of each frame that was written."""
        return client_frames(b"".join(self.wire.writes))

    def read(self) -> list[bytes]:
        """Give what the peer reads: messages, inflated in the order of the wire, and the payloads of control frames."""
        inflator = Inflator(12)
        found, parts, compressed = [], b"", False
        for first, payload in self.frames():
            if first & 0x08:
                found.append(payload)
                continue
            compressed = bool(first & RSV1) if first & 0x0F else compressed
            parts += payload
            if first & 0x80:
                found.append(inflator.inflate(parts) if compressed else parts)
                parts = b""
        assert not parts
        return found


SEVERAL = [
    b"first " * 30,
    noise(1, 300),
    b"short",
    b"first " * 31,
    b"x" * 300_000,
    noise(2, 300_000),
    b"",
    b"last " * 30,
]


@pytest.mark.parametrize("at_once", [0, 1, 100, LARGE, 2 * LARGE, 10**9])
@pytest.mark.parametrize("alone", [True, False])
async def test_compressed_messages_come_in_order_and_whole(
    nursery: trio.Nursery,
    at_once: int,
    alone: bool,  # noqa: FBT001 (a parameter)
) -> None:
    """Whoever writes them, and however much is taken at once; nothing is left of the accounts."""
    setup = CompressedSetup(nursery, ScriptedWire(at_once))
    for data in SEVERAL:
        setup.put(data)
        assert setup.out.size >= 0
        if alone:
            await wait_all_tasks_blocked()
            assert (setup.out.size, setup.out.written) == (0, setup.out.taken)
            setup.out.eager = True
    await wait_all_tasks_blocked()
    assert setup.read() == SEVERAL
    assert (setup.out.size, setup.out.taken, setup.out.written) == (0, len(SEVERAL), len(SEVERAL))
    assert setup.out.bytes_begun == sum(map(len, setup.wire.writes))


async def test_control_frames_go_between_the_fragments_of_a_large_message(nursery: trio.Nursery) -> None:
    """Which is compressed as it is written, not before (RFC 6455 section 5.4)."""
    setup = CompressedSetup(nursery, ScriptedWire(at_once=0))
    setup.wire.open = trio.Event()
    data = noise(1, 500_000)
    setup.put(data)
    setup.put(b"next " * 30)
    await wait_all_tasks_blocked()
    assert setup.out.size > 400_000
    assert len(setup.wire.writes) == 0
    setup.out.put_ping(encode(Opcode.PING, b"ping"))
    setup.out.put_close(encode(Opcode.CLOSE, b""))
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    assert setup.read() == [b"ping", data, b"next " * 30, b""]
    firsts = [first for first, _ in setup.frames()]
    assert (firsts[:2], set(firsts[2:-3]), firsts[-3:]) == ([0x42, 0x89], {0x00}, [0x80, 0xC2, 0x88])
    assert max(len(payload) for _, payload in setup.frames()) < 200 * 1024
    assert setup.out.written == 3


async def test_a_compressed_message_counts_as_it_is_until_it_is_written(nursery: trio.Nursery) -> None:
    """Then as it went out, so that senders get their room in time."""
    setup = CompressedSetup(nursery, ScriptedWire(at_once=0), limit=2000)
    setup.wire.open = trio.Event()
    setup.put(b"x" * 1000)
    assert setup.out.size < 50, "it was compressed at once, and the wire took nothing"
    setup.put(b"x" * 1000)
    assert setup.out.has_room()
    setup.put(b"x" * 1000)
    assert not setup.out.has_room()
    nursery.start_soon(setup.out.room.park)
    await wait_all_tasks_blocked()
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    assert (setup.out.size, len(setup.out.room)) == (0, 0)
    assert setup.read() == [b"x" * 1000] * 3


async def test_other_tasks_run_while_much_is_compressed(nursery: trio.Nursery) -> None:
    """At least once for each MiB of a large message, and for each write of small ones."""
    setup = CompressedSetup(nursery, ScriptedWire(), limit=10**8)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while setup.out.size:
            turns += 1
            await trio.lowlevel.checkpoint()

    for messages in ([b"x" * 4_000_000], [b"y" * 1000] * 1000):
        setup.out.eager = True
        turns = 0
        for data in messages:
            setup.put(data)
        await count()
        assert turns >= 3 if len(messages) == 1 else turns >= 15
        assert setup.out.size == 0


@pytest.mark.parametrize("where", ["at once", "in the writer"])
async def test_a_compressed_message_that_cannot_be_written_ends_writing(nursery: trio.Nursery, where: str) -> None:
    """What follows would not be understood."""
    setup = CompressedSetup(nursery, ScriptedWire(at_once=0))
    error = trio.BrokenResourceError("reset")
    setup.wire.open = trio.Event()
    if where == "in the writer":
        setup.put(b"x" * 300_000)
        await wait_all_tasks_blocked()
    setup.wire.error = error
    setup.wire.open.set()
    if where == "at once":
        setup.put(b"x" * 300_000)
    await wait_all_tasks_blocked()
    assert (setup.broken, setup.out.finished, setup.out.size, setup.out.written) == (error, True, 0, 0)


@pytest.mark.parametrize("others", [0, 1])
async def test_a_turn_that_ends_in_an_error_is_the_next_senders(nursery: trio.Nursery, others: int) -> None:
    """Whatever error that is, such as of a stream that breaks its own rules."""
    setup = Setup(nursery, ScriptedWire(at_once=0), limit=1)
    setup.wire.open = trio.Event()
    setup.out.put(b"first")
    turns: list[bytes] = []

    async def wait_for_turn(frame: bytes) -> None:
        await setup.out.room.park()
        turns.append(frame)
        setup.out.eager = True
        if frame == b"0":
            setup.wire.error = MemoryError()
            with pytest.raises(MemoryError):
                setup.out.put(frame)
            setup.wire.error = None
        else:
            setup.out.put(frame)

    for number in range(1 + others):
        nursery.start_soon(wait_for_turn, b"%d" % number)
        await wait_all_tasks_blocked()
    setup.wire.open.set()
    await wait_all_tasks_blocked()
    assert turns == [b"0", b"1"][: 1 + others]
    assert (setup.out.has_room(), len(setup.out.room)) == (True, 0)
    assert setup.wire.writes == [b"first", b"1"][: 1 + others]


async def test_who_has_waited_for_room_and_does_not_use_it_leaves_it_to_others(nursery: trio.Nursery) -> None:
    """One who wakes up and has nothing to send any more holds up nobody."""
    wire = ScriptedWire(at_once=0)
    wire.open = trio.Event()
    setup = Setup(nursery, wire)
    setup.out.put(bytes(200))
    async with trio.open_nursery() as waiting:
        waiting.start_soon(setup.out.use_room, lambda: None)
        await wait_all_tasks_blocked()
        assert not setup.out.has_room()
        wire.open.set()
    assert setup.out.has_room()
