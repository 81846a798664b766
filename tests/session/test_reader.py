"""`_reader`: who reads, and when."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import connect_socket
from trio_socket_task._session import _input, _reader
from trio_socket_task._session._busy_poll import BusyPoll
from trio_socket_task._session._poller import GRACE, poller_of_this_run
from trio_socket_task._session._reader import Reader
from trio_socket_task._session._wakeup import Wakeup
from trio_socket_task._stream._wire import SocketWire, Wire, _PlainWire
from trio_socket_task.testing import ServerConnection, SocketServer


class ScriptedWire(_PlainWire):
    """A wire whose bytes a test gives, and that tells who reads."""

    def __init__(self) -> None:
        self.give, self._bytes = trio.open_memory_channel[bytes | Exception | None](1000)
        self.readers: list[str] = []
        self.there: deque[bytes] = deque()
        self.at_once = 0

    def send_now(self, data: bytes | memoryview) -> int:
        return len(data)

    async def send(self, data: bytes | memoryview) -> None:
        del data
        await trio.lowlevel.checkpoint()

    async def receive(self, max_bytes: int) -> bytes | None:
        self.max_bytes = max_bytes
        self.readers.append(trio.lowlevel.current_task().name.rpartition(".")[2])
        got = await self._bytes.receive()
        if isinstance(got, Exception):
            raise got
        return got

    def receive_now(self, max_bytes: int) -> bytes | None:
        assert max_bytes == self.max_bytes
        self.at_once += 1
        return self.there.popleft() if self.there else None

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Steps(trio.abc.Instrument):
    """How often a task was woken."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == self.name


class Setup:
    """A reading with an inbox."""

    def __init__(
        self, *, full: Callable[[], bool] = lambda: False, wire: Wire | None = None, busy_poll: BusyPoll | None = None
    ) -> None:
        self.inbox: deque[bytes] = deque()
        self.wanted = 0
        self.waiting = trio.lowlevel.ParkingLot()
        self.wire = ScriptedWire()
        self.wakeup = Wakeup()
        self._full = full
        self.written = 0
        self.left = 0  # turns that the consumer will take for the next bytes
        self.took: Callable[[], object] = lambda: None
        self.failing = False
        self.reading = Reader(wire or self.wire, self, self.wakeup, self.waiting, busy_poll)

    def receive_data(self, data: bytes, *, read_was_full: bool) -> bool:
        self.inbox.append(data)
        self.waiting.unpark()
        self.took()
        self.left -= self.left > 0
        return self.left > 0 or (read_was_full and self.wanted > 0)

    def is_behind(self) -> bool:
        return self.left > 0

    def is_full(self) -> bool:
        return self._full()

    def needs_task(self) -> bool:
        return self.is_full() or self.is_failing()

    def is_failing(self) -> bool:
        return self.failing

    def write_pending_output(self) -> None:
        self.written += 1

    async def program(self) -> bytes:
        """Wait for a message as a program does."""
        while not self.inbox:
            await self.reading.wait_for_data()
        return self.inbox.popleft()


async def test_a_program_that_comes_back_reads_for_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After two messages within the grace that the background task read for it, it reads itself."""
    setup = Setup()
    nursery.start_soon(setup.reading.run, name="background")

    async def program() -> None:
        for _ in range(4):
            await setup.program()

    await wait_all_tasks_blocked()
    nursery.start_soon(program, name="program")
    for _ in range(4):
        await wait_all_tasks_blocked()
        setup.wire.give.send_nowait(b"x")
    await wait_all_tasks_blocked(0.001)
    assert setup.wire.readers == ["background", "background", "program", "program"]


async def test_the_background_task_reads_on_where_messages_come_now_and_then(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """To stand by for the program after each would cost more than to hand each over."""
    setup = Setup()
    nursery.start_soon(setup.reading.run, name="background")
    await wait_all_tasks_blocked()
    for _ in range(4):
        nursery.start_soon(setup.program, name="program")
        await wait_all_tasks_blocked()
        setup.wire.give.send_nowait(b"x")
        await trio.sleep(2 * GRACE)
    assert setup.wire.readers == ["background"] * 5


async def test_the_background_task_takes_over_after_the_grace(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Somebody must see pings and the peer's close."""
    setup = Setup()
    nursery.start_soon(setup.reading.run, name="background")
    setup.wire.give.send_nowait(b"x")
    await setup.program()
    await trio.sleep(GRACE / 2)
    assert setup.wire.readers[-1] != "background" or len(setup.wire.readers) > 1
    await trio.sleep(2 * GRACE)
    assert setup.wire.readers[-1] == "background"


async def test_it_takes_over_at_once_when_told_to(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A program that waits for a pong does not wait for the grace."""
    setup = Setup()
    setup.wire.give.send_nowait(b"x")
    await setup.program()
    nursery.start_soon(setup.reading.run, name="background")
    await wait_all_tasks_blocked()
    assert "background" not in setup.wire.readers
    started = trio.current_time()
    setup.reading.read_in_background()
    await wait_all_tasks_blocked()
    assert setup.wire.readers[-1] == "background"
    assert trio.current_time() == started


async def test_a_long_wait_of_the_program_costs_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While it leads, the background task sleeps without a deadline, and stands by again when it leaves."""
    setup = Setup()
    setup.wire.give.send_nowait(b"x")
    await setup.program()
    nursery.start_soon(setup.reading.run, name="background")
    nursery.start_soon(setup.program, name="program")
    await trio.sleep(2 * GRACE)
    steps = Steps("background")
    trio.lowlevel.add_instrument(steps)
    await trio.sleep(10 * GRACE)
    trio.lowlevel.remove_instrument(steps)
    assert steps.count == 0
    setup.wire.give.send_nowait(b"y")
    await trio.sleep(1.5 * GRACE)
    assert setup.wire.readers[1:] == ["program", "background"], "it is away for one grace, not for two"


async def test_a_program_that_waits_for_long_each_time_goes_on_to_read_for_itself(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where a task of the socket's stands by: as long as the program is back within the grace."""
    setup = Setup()
    setup.wire.give.send_nowait(b"x")
    await setup.program()
    nursery.start_soon(setup.reading.run, name="background")

    async def program() -> None:
        for _ in range(3):
            await setup.program()

    nursery.start_soon(program, name="program")
    for _ in range(3):
        await trio.sleep(10 * GRACE)
        setup.wire.give.send_nowait(b"y")
    await wait_all_tasks_blocked()
    assert setup.wire.readers[1:] == ["program"] * 3
    setup.reading.end()
    nursery.cancel_scope.cancel()


async def test_a_leader_that_is_cancelled_hands_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """To a program that waits with it; no byte is lost."""
    setup = Setup()
    got: list[bytes] = []

    async def leader() -> None:
        with trio.move_on_after(1):
            await setup.program()

    async def follower() -> None:
        got.append(await setup.program())

    nursery.start_soon(leader, name="leader")
    await wait_all_tasks_blocked()
    nursery.start_soon(follower, name="follower")
    await trio.sleep(2)
    setup.wire.give.send_nowait(b"x")
    await wait_all_tasks_blocked()
    assert setup.wire.readers == ["leader", "follower"]
    assert got == [b"x"]


async def test_reading_pauses_while_buffers_are_full(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """For the background task and for programs; `paused_until` says since when it goes on."""
    full = True
    setup = Setup(full=lambda: full)
    nursery.start_soon(setup.reading.run, name="background")
    nursery.start_soon(setup.program, name="program")
    await trio.sleep(1)
    assert setup.wire.readers == []
    assert setup.reading.paused_until == float("inf")
    full = False
    setup.wakeup.set()
    await wait_all_tasks_blocked()
    assert setup.wire.readers == ["background"]
    assert setup.reading.paused_until == trio.current_time()


async def test_what_comes_after_the_end_is_dropped(nursery: trio.Nursery) -> None:
    """A program may still be reading when somebody else ends the connection."""
    setup = Setup()
    nursery.start_soon(setup.reading.wait_for_data)
    await wait_all_tasks_blocked()
    setup.reading.end()
    setup.wire.give.send_nowait(b"late")
    await wait_all_tasks_blocked()
    assert not setup.inbox


@pytest.mark.parametrize("end", [b"", trio.BrokenResourceError("reset"), OSError("foreign")])
async def test_the_end(nursery: trio.Nursery, end: bytes | Exception) -> None:
    """No bytes, or any error, ends it; the first reason stands."""
    del nursery
    setup = Setup()
    setup.wire.give.send_nowait(end)
    await setup.reading.run()
    assert setup.reading.over
    assert setup.reading.error is (end or None)
    setup.reading.end()
    assert setup.reading.error is (end or None)


async def test_more_of_a_large_message_is_read_without_waiting(nursery: trio.Nursery) -> None:
    """As long as whole pieces come and it is not complete, for a turn of a mebibyte."""
    setup = Setup()
    nursery.start_soon(setup.reading.run)
    await wait_all_tasks_blocked()
    piece = bytes(setup.wire.max_bytes)
    setup.wire.there.extend([piece, b"rest", b"of the next message"])
    setup.wire.give.send_nowait(piece)
    await wait_all_tasks_blocked()
    assert (list(setup.inbox), setup.wire.at_once) == ([piece], 0), "nothing is wanted"
    setup.wanted = 1
    setup.wire.give.send_nowait(piece)
    await wait_all_tasks_blocked()
    assert list(setup.inbox) == [piece, piece, piece, b"rest"]
    setup.wire.there.clear()
    setup.wire.give.send_nowait(piece)
    await wait_all_tasks_blocked()
    assert list(setup.inbox)[4:] == [piece]
    setup.wire.at_once = 0
    setup.wire.there.extend([piece] * 100)
    setup.wire.give.send_nowait(piece)
    await wait_all_tasks_blocked()
    assert setup.wire.at_once == 2**20 // len(piece)


async def test_the_end_is_seen_without_waiting(nursery: trio.Nursery) -> None:
    """Where it is there already."""
    setup = Setup()
    nursery.start_soon(setup.reading.run)
    await wait_all_tasks_blocked()
    setup.wanted = 1
    setup.wire.there.append(b"")
    setup.wire.give.send_nowait(bytes(setup.wire.max_bytes))
    await wait_all_tasks_blocked()
    assert setup.reading.over
    assert setup.reading.error is None


async def test_a_look_takes_what_is_there_and_its_end() -> None:
    """While nobody reads: piece by piece, until there is nothing, or the stream fails."""
    setup = Setup()
    for data in (b"a", b"b"):
        setup.wire.give.send_nowait(data)
    await setup.reading.look()
    assert list(setup.inbox) == [b"a", b"b"]
    assert not setup.reading.over
    error = ConnectionResetError("reset")
    setup.wire.give.send_nowait(error)
    await setup.reading.look()
    assert setup.reading.over
    assert setup.reading.error is error
    await setup.reading.look()
    assert list(setup.inbox) == [b"a", b"b"]


async def test_a_look_leaves_a_full_buffer_alone() -> None:
    """What nobody takes is not read; a deadline does not change that."""
    setup = Setup(full=lambda: True)
    setup.wire.give.send_nowait(b"a")
    await setup.reading.look()
    assert not setup.inbox


async def test_a_look_while_somebody_reads_lets_him_read(nursery: trio.Nursery) -> None:
    """Two readers would take the pieces out of their order."""
    setup = Setup()
    nursery.start_soon(setup.reading.run, name="background")
    await wait_all_tasks_blocked()
    setup.wire.give.send_nowait(b"a")
    await setup.reading.look()
    assert list(setup.inbox) == [b"a"]
    assert set(setup.wire.readers) == {"background"}
    setup.reading.end()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("seconds", "pieces"), [(0.0, 128), (0.04, 3)])
async def test_a_look_at_a_flood_ends(autojump_clock: MockClock, seconds: float, pieces: int) -> None:
    """After 8 MiB, or a tenth of a second."""
    setup = Setup()
    setup.wire.max_bytes = 64 * 1024
    piece = bytes(setup.wire.max_bytes)

    setup.took = lambda: autojump_clock.jump(seconds)
    setup.wire.there.extend([piece] * 200)
    assert not setup.reading.read_arrived()
    assert len(setup.inbox) == pieces
    setup.inbox.clear()
    for _ in range(200):
        setup.wire.give.send_nowait(piece)
    await setup.reading.look()
    assert len(setup.inbox) == pieces


async def test_what_is_there_at_once(autojump_clock: MockClock) -> None:
    """All of it, or as far as the wire can tell; and the time of a large message's pieces counts as any other."""
    setup = Setup()
    setup.reading.is_timed = True
    setup.wire.max_bytes = 64 * 1024
    setup.wire.there.extend([b"a", b"b"])
    assert not setup.reading.read_arrived(), "the wire cannot tell whether that was all"
    assert list(setup.inbox) == [b"a", b"b"]
    piece = bytes(setup.wire.max_bytes)
    setup.wanted = 1
    setup.wire.there.append(piece)
    await trio.sleep(5)
    setup.wire.give.send_nowait(piece)
    await setup.reading.look()
    assert setup.reading.received_at == trio.current_time()
    assert list(setup.inbox)[2:] == [piece, piece]
    setup.wire.there.append(b"")
    assert setup.reading.read_arrived(), "its end was"


@pytest.mark.parametrize("how", ["by waiting", "by a look", "at once"])
async def test_a_consumer_that_is_behind_is_asked_before_more_is_read(how: str) -> None:
    """Until it has taken everything; only then is the wire looked at."""
    setup = Setup()
    setup.reading.inflates = True
    setup.left = 4
    setup.reading.accept(b"much")
    assert list(setup.inbox) == [b"much"]
    setup.wire.max_bytes = 2**16
    if how == "by waiting":
        for _ in range(3):
            await setup.reading.wait_for_data()
        assert setup.wire.readers == []
    elif how == "by a look":
        await setup.reading.look()
        assert len(setup.wire.readers) == 1
    else:
        assert not setup.reading.read_arrived()
    assert list(setup.inbox) == [b"much", b"", b"", b""]


async def test_what_the_wire_has_to_send_is_written_before_it_is_read_again(nursery: trio.Nursery) -> None:
    """TLS may have to answer before bytes can come."""
    setup = Setup()
    nursery.start_soon(setup.reading.run, name="background")
    setup.wire.give.send_nowait(None)
    await wait_all_tasks_blocked()
    assert (setup.written, list(setup.inbox)) == (1, [])
    setup.wire.give.send_nowait(b"x")
    await wait_all_tasks_blocked()
    assert list(setup.inbox) == [b"x"]
    setup.reading.end()
    nursery.cancel_scope.cancel()


async def test_a_look_goes_past_what_the_wire_has_to_send() -> None:
    """What has come behind it counts; what is to be sent is written afterwards."""
    setup = Setup()
    setup.wire.give.send_nowait(None)
    setup.wire.give.send_nowait(b"x")
    await setup.reading.look()
    assert (setup.written, list(setup.inbox)) == (1, [b"x"])


class Polled(Setup):
    """A reading of a real socket, which the run's poller watches while no program reads."""

    def __init__(self, *, full: Callable[[], bool] = lambda: False) -> None:
        near, self.far = socket.socketpair()
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        super().__init__(full=full, wire=SocketWire(self.stream, is_ours=True))

    async def give(self, data: bytes) -> None:
        """Send, and let everything happen that follows."""
        self.far.send(data)
        await wait_all_tasks_blocked()


@pytest.fixture
async def polled(nursery: trio.Nursery) -> AsyncIterator[Polled]:
    """Give a reading whose background task runs, and has read what came first."""
    setup = Polled()
    nursery.start_soon(setup.reading.run, name="background")
    await wait_all_tasks_blocked()
    await setup.give(b"first")
    assert setup.inbox.popleft() == b"first"
    yield setup
    setup.reading.end()
    setup.far.close()
    await setup.stream.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.needs("epoll")
async def test_the_poller_reads_while_no_program_does(
    polled: Polled, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """Before a program comes, and when it is away; one that waits reads for itself. The task has nothing to do."""
    steps = Steps("background")
    trio.lowlevel.add_instrument(steps)
    await polled.give(b"a")
    await polled.give(b"b")
    assert list(polled.inbox) == [b"a", b"b"]
    polled.inbox.clear()
    for data in (b"c", b"d", b"e"):
        mock_clock.jump(1)
        nursery.start_soon(polled.program)
        await wait_all_tasks_blocked()
        await polled.give(data)
        assert list(polled.inbox) == []
    await polled.give(b"f")
    assert list(polled.inbox) == [b"f"]
    trio.lowlevel.remove_instrument(steps)
    assert steps.count == 0
    polled.far.close()
    await wait_all_tasks_blocked()
    assert polled.reading.over


@pytest.mark.needs("epoll")
@pytest.mark.parametrize("seconds", [0, GRACE / 2])
async def test_a_program_that_comes_back_at_once_is_left_alone(
    polled: Polled, autojump_clock: MockClock, seconds: float
) -> None:
    """Until it is away for the grace: what comes meanwhile waits for it, and the kernel is told nothing."""
    poller, told = poller_of_this_run(), list[int]()
    assert poller is not None
    real = poller.epoll

    class Counting:
        def modify(self, fd: int, events: int) -> None:
            told.append(events)
            real.modify(fd, events)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    poller.epoll = cast("select.epoll", Counting())
    for _ in range(50):
        polled.far.send(b"x")
        assert await polled.program() == b"x"
        await trio.sleep(seconds)
    assert len(told) <= 3
    polled.far.send(b"kept")
    await trio.sleep(5 * GRACE)
    assert list(polled.inbox) == [b"kept"]
    poller.epoll = real


@pytest.mark.needs("epoll")
async def test_the_poller_stops_while_buffers_are_full(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Bytes wait in the kernel; `paused_until` says since when it goes on."""
    full = True
    setup = Polled(full=lambda: full)
    nursery.start_soon(setup.reading.run, name="background")
    await setup.give(b"a")
    assert not setup.inbox
    assert setup.reading.paused_until == float("inf")
    full = False
    setup.wakeup.set()
    await wait_all_tasks_blocked()
    assert list(setup.inbox) == [b"a"]
    full = True
    await setup.give(b"b")
    assert list(setup.inbox) == [b"a"]
    assert setup.reading.paused_until == float("inf")
    setup.reading.end()
    setup.far.close()
    await setup.stream.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.needs("epoll")
async def test_the_poller_reads_nothing_after_a_failure(polled: Polled) -> None:
    """Until it has had its consequences."""
    polled.failing = True
    await polled.give(b"a")
    assert not polled.inbox


@pytest.mark.needs("epoll")
async def test_the_task_serves_a_consumer_that_is_behind(polled: Polled) -> None:
    """What a large message still has to give comes turn by turn; then the poller reads again."""
    polled.reading.inflates, polled.left = True, 4
    await polled.give(b"much")
    await wait_all_tasks_blocked()
    assert list(polled.inbox) == [b"much", b"", b"", b""]
    steps = Steps("background")
    trio.lowlevel.add_instrument(steps)
    await polled.give(b"more")
    trio.lowlevel.remove_instrument(steps)
    assert list(polled.inbox)[4:] == [b"more"]
    assert steps.count == 0


class Decrypting(_PlainWire):
    """A wire that reads more than it gives: the kernel does not know of the rest."""

    reads_now = True

    def __init__(self, lower: SocketWire) -> None:
        self._lower = lower
        self.rest = b""
        self.withholds = False
        """Whether nothing of the next read is given, as of a record that cannot be decrypted."""

    def send_now(self, data: bytes | memoryview) -> int:
        return self._lower.send_now(data)

    async def send(self, data: bytes | memoryview) -> None:
        await self._lower.send(data)

    def _give(self, data: bytes | None) -> bytes | None:
        self.rest += data or b""
        if self.withholds:
            self.withholds, self.has_rest = False, True
            return None
        given, self.rest = self.rest[:1], self.rest[1:]
        self.has_rest = bool(self.rest)
        return given if data or given else data

    async def receive(self, max_bytes: int) -> bytes | None:
        if self.rest:
            await trio.lowlevel.checkpoint()
            return self._give(None)
        return self._give(await self._lower.receive(max_bytes))

    def receive_now(self, max_bytes: int) -> bytes | None:
        return self._give(None if self.rest else self._lower.receive_now(max_bytes))

    def polled_fd(self) -> int | None:
        return self._lower.polled_fd()

    async def aclose(self) -> None:
        await self._lower.aclose()


@pytest.mark.needs("epoll")
@pytest.mark.parametrize("by", ["the poller", "a look for an answer", "a look at a deadline", "a program"])
async def test_what_a_wire_has_left_is_read_though_the_kernel_has_nothing(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """As TLS may have read records that it has not given yet."""
    near, far = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    wire = Decrypting(SocketWire(stream, is_ours=True))
    setup = Setup(wire=wire, busy_poll=BusyPoll(0))
    nursery.start_soon(setup.reading.run)
    await wait_all_tasks_blocked()
    far.send(b"-")
    await wait_all_tasks_blocked()
    setup.inbox.clear()
    far.send(b"abc")
    if by == "a look for an answer":
        assert setup.reading.look_for_answer()
    elif by == "a look at a deadline":
        monkeypatch.setattr(_input, "_LOOK", 1)
        await setup.reading.look()
        assert setup.inbox == deque([b"a"])
    elif by == "a program":
        await setup.program()
        setup.inbox.append(b"a")
    await wait_all_tasks_blocked(3 * GRACE)
    assert b"".join(setup.inbox) == b"abc"
    setup.reading.end()
    far.close()
    await stream.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.needs("epoll")
@pytest.mark.parametrize("withholds", [False, True])
async def test_what_a_look_of_a_listener_leaves_is_read_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock, *, withholds: bool
) -> None:
    """No program comes back to read it: so no grace is given, in however busy traffic."""
    near, far = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    wire = Decrypting(SocketWire(stream, is_ours=True))
    setup = Setup(wire=wire, busy_poll=BusyPoll(0))
    nursery.start_soon(setup.reading.run)
    await trio.sleep(2 * GRACE)
    before = trio.current_time()
    for message in (b"abc", b"def", b"ghi"):
        far.send(message)
        wire.withholds = withholds
        setup.reading.look_for_listeners()
        assert len(setup.inbox) < len(message)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert (b"".join(setup.inbox), trio.current_time()) == (message, before)
        setup.inbox.clear()
    setup.reading.end()
    setup.reading.look_for_listeners()
    far.close()
    await stream.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.needs("epoll")
async def test_a_reader_that_is_full_keeps_nobody_busy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Though something is there to be read, and somebody asks for reading in the background."""
    full = False
    setup = Polled(full=lambda: full)
    nursery.start_soon(setup.reading.run, name="background")

    def fill() -> None:
        nonlocal full
        full = True

    await setup.give(b"a")
    setup.took = fill
    await setup.give(b"b")
    assert setup.reading.paused_until == float("inf"), "at once, and not when more comes"
    setup.far.send(b"c")
    await wait_all_tasks_blocked()
    setup.reading.read_in_background()
    await setup.reading.look()
    await wait_all_tasks_blocked()
    with trio.fail_after(1):
        await wait_all_tasks_blocked(0.1)
    assert list(setup.inbox) == [b"a", b"b"]
    full, setup.took = False, lambda: None
    setup.wakeup.set()
    await wait_all_tasks_blocked()
    assert list(setup.inbox) == [b"a", b"b", b"c"]
    setup.reading.end()
    setup.far.close()
    await setup.stream.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.needs("epoll")
@pytest.mark.parametrize("when", ["it reads", "it looks whether the program is away"])
async def test_a_failure_in_the_poller_is_the_tasks(autojump_clock: MockClock, when: str) -> None:
    """Whatever it is, and wherever: it would end the Trio run."""
    fails = False

    def full() -> bool:
        if fails:
            raise LookupError("a handler of the log")
        return False

    setup = Polled(full=full)
    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="a handler")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.reading.run)
            await wait_all_tasks_blocked()
            await setup.give(b"a")
            if when == "it reads":
                fails = True
                setup.far.send(b"b")
            else:
                setup.inbox.clear()
                for _ in range(2):
                    setup.far.send(b"b")
                    await setup.program()
                fails = True
            await trio.sleep(1)
    setup.reading.end()
    setup.far.close()
    await setup.stream.aclose()


@pytest.mark.needs("epoll")
async def test_when_the_poller_ends_with_the_run_the_task_reads(polled: Polled) -> None:
    """A system task may go on for a while."""
    await polled.give(b"a")
    poller = poller_of_this_run()
    assert poller is not None
    ((_, function),) = poller.functions.items()
    poller.is_over = True
    polled.far.send(b"b")

    async def call() -> None:
        function()

    trio.lowlevel.spawn_system_task(call)
    await wait_all_tasks_blocked()
    assert list(polled.inbox) == [b"a", b"b"]
    poller.is_over = False


@pytest.mark.needs("epoll")
async def test_a_look_and_the_poller_do_not_read_at_once(polled: Polled) -> None:
    """Two readers would take the pieces out of their order."""
    for data in (b"a", b"b", b"c"):
        polled.far.send(data)
        await polled.reading.look()
    assert b"".join(polled.inbox) == b"abc"


@pytest.mark.needs("files as sockets")
async def test_without_epoll_a_task_reads(
    socket_server: SocketServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """As on macOS: it stands by for a program in busy traffic, and sees the end."""
    monkeypatch.setattr(_reader, "HAS_EPOLL", False)
    async with connect_socket(socket_server.url) as task:
        for _ in range(5):
            await task.send("x")
            assert await task.receive() == "x"
        await trio.sleep(2 * GRACE)
        assert await task.ping() >= 0
    assert task.ready_state.name == "CLOSED"


async def test_who_waits_for_the_end_has_it_read_at_once(
    memory_socket_server: SocketServer, autojump_clock: MockClock
) -> None:
    """Not after the time that a program may take for the next message."""

    async def script(connection: ServerConnection) -> None:
        await connection.send("first")
        await connection.receive()
        await connection.close()

    memory_socket_server.handler = script
    async with connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task:
        await task.receive()
        now = trio.current_time()
        await task.send("end")
        await task.wait_closed()
        assert trio.current_time() == now
