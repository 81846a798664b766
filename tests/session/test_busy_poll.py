"""`_busy_poll`: how long it is worth to look for an answer before waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import perf_counter

import pytest
import trio
from counts import count_turns
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import connect_socket
from trio_socket_task._session._busy_poll import BusyPoll, waiting_in_this_run
from trio_socket_task._session._reader import Reader
from trio_socket_task._session._wakeup import Wakeup
from trio_socket_task._stream._wire import _PlainWire
from trio_socket_task.miniprogram import open_mini_program
from trio_socket_task.testing import ServerConnection, SocketServer


class ReadyWire(_PlainWire):
    """A wire that can be read at once, or has nothing."""

    reads_now = True

    def __init__(self) -> None:
        self.there: deque[bytes] = deque()
        self.tries = 0
        self.after = 0

    def send_now(self, data: bytes | memoryview) -> int:
        return len(data)

    async def send(self, data: bytes | memoryview) -> None:
        raise NotImplementedError

    async def receive(self, max_bytes: int) -> bytes:
        raise NotImplementedError

    def receive_now(self, max_bytes: int) -> bytes | None:
        assert max_bytes
        self.tries += 1
        return self.there.popleft() if self.there and self.tries > self.after else None

    async def aclose(self) -> None:
        raise NotImplementedError


class Setup:
    """A reader that may look, and takes what it finds."""

    def __init__(self, limit: float) -> None:
        self.taken: list[bytes] = []
        self.full = False
        self.wire = ReadyWire()
        self.poll = BusyPoll(limit)
        self.reader = Reader(self.wire, self, Wakeup(), trio.lowlevel.ParkingLot(), self.poll)

    def receive_data(self, data: bytes, *, read_was_full: bool) -> bool:
        self.taken.append(data)
        return read_was_full

    def is_behind(self) -> bool:
        return False

    def is_full(self) -> bool:
        return self.full

    def needs_task(self) -> bool:
        return self.is_full() or self.is_failing()

    def is_failing(self) -> bool:
        return False

    def write_pending_output(self) -> None:
        raise NotImplementedError


async def test_one_try_is_always_made() -> None:
    """Also where no time is allowed; what it finds is taken."""
    setup = Setup(0)
    assert not setup.reader.look_for_answer()
    assert setup.wire.tries == 1
    setup.wire.there.append(b"answer")
    assert setup.reader.look_for_answer()
    assert (setup.taken, setup.wire.tries) == ([b"answer"], 2)


async def test_more_tries_are_made_while_there_is_time() -> None:
    """Until the answer is there."""
    setup = Setup(60)
    setup.wire.after = 1000
    setup.wire.there.append(b"answer")
    assert setup.reader.look_for_answer()
    assert (setup.taken, setup.wire.tries) == ([b"answer"], 1001)


async def test_the_time_is_bounded() -> None:
    """By the limit."""
    setup = Setup(0.0001)
    assert not setup.reader.look_for_answer()
    assert setup.wire.tries > 1


async def test_nothing_is_read_that_is_not_to_be_read() -> None:
    """While a reader is behind, or when the end has come."""
    setup = Setup(60)
    setup.wire.there.extend([b"a", b""])
    setup.full = True
    assert not setup.reader.look_for_answer()
    setup.full = False
    assert setup.reader.look_for_answer()
    assert setup.reader.look_for_answer()
    assert setup.reader.over
    assert not setup.reader.look_for_answer()
    assert (setup.taken, setup.wire.tries) == ([b"a"], 2)


async def test_looks_that_find_nothing_become_rare() -> None:
    """After eight in a row one in 64 is tried again; what is found makes up for two."""
    poll = BusyPoll(1)
    assert all(poll.begin() for _ in range(100)), "as long as it pays"
    for _ in range(8):
        poll.learn(poll.begin(), found=False)
    looks = [poll.begin() for _ in range(128)]
    assert [number for number, end in enumerate(looks, 1) if end] == [64, 128]
    poll.learn(looks[-1], found=True)
    assert poll.begin()
    poll.learn(0.0, found=False)
    poll.learn(1.0, found=False)
    assert poll.begin(), "one try teaches nothing, and one failure is one"
    poll.learn(1.0, found=False)
    assert not poll.begin()


async def test_a_socket_does_not_look_while_others_wait() -> None:
    """Their answers would lie about meanwhile."""
    one, other = BusyPoll(1), BusyPoll(1)
    assert one.waiting is other.waiting
    other.waiting.count += 1
    assert not one.begin()
    other.waiting.count -= 1
    assert one.begin()


@pytest.mark.needs("epoll")
async def test_a_program_is_counted_for_as_long_as_it_waits(socket_server: SocketServer) -> None:
    """Others look again when its answer has come, or when it waits no more."""
    async with connect_socket(socket_server.url) as task:
        await task.send("x")
        await task.receive()
        for ends_by in ("an answer", "cancelling"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(task.receive)
                await wait_all_tasks_blocked()
                assert waiting_in_this_run().count == 1
                if ends_by == "an answer":
                    await task.send("x")
                else:
                    nursery.cancel_scope.cancel()
            assert waiting_in_this_run().count == 0


async def test_a_socket_does_not_look_right_after_another_has_looked_in_vain() -> None:
    """Whose listener waits then, or its dialect: the answer is on its way, for a millisecond at most."""
    one, other = BusyPoll(1), BusyPoll(1)
    other.learn(other.begin(), found=False)
    assert not one.begin()
    assert other.begin(), "its own answer is what it waits for"
    other.learn(other.begin(), found=True)
    assert one.begin()
    other.learn(0.0, found=False)
    end = perf_counter() + 0.002
    while perf_counter() < end:
        pass
    assert one.begin()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    """Readers that have looked into their sockets; each has found an answer."""
    looks: list[Reader] = []

    def look(reader: Reader) -> bool:
        assert trio.lowlevel.currently_ki_protected()
        looks.append(reader)
        reader.accept(b"\x81\x06answer")
        return True

    monkeypatch.setattr(Reader, "look_for_answer", look)
    return looks


async def say_nothing(connection: ServerConnection) -> None:
    """Accept, and say nothing."""
    await connection.accept()
    await connection.wait_closed()


async def test_a_listener_looks_for_the_answer_before_it_waits(
    memory_socket_server: SocketServer, looks: list[Reader]
) -> None:
    """As `receive` does: once for what was sent, as long as the socket is open."""
    memory_socket_server.handler = say_nothing
    async with (
        connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task,
        task.on_message() as listener,
    ):
        await task.wait_open()
        for number in range(1, 100):
            await task.send("question")
            assert (await listener.receive()).data == "answer"
            assert len(looks) == number
        with trio.move_on_after(0) as scope:
            await listener.receive()
        assert scope.cancelled_caught
        await task.send("question")
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.receive()
        assert scope.cancelled_caught, "before it has looked"
        task.close()
        with pytest.raises(trio.EndOfChannel):
            await listener.receive()
    assert len(looks) == 99


async def test_a_turn_of_looks_ends_exactly(
    memory_socket_server: SocketServer, looks: list[Reader], autojump_clock: MockClock
) -> None:
    """After 32 messages `receive` waits, so that others run."""
    memory_socket_server.handler = say_nothing
    async with connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task:
        await task.wait_open()
        for number in range(1, 34):
            task.send_nowait("question")
            with trio.move_on_after(1):
                assert await task.receive() == "answer"
            assert len(looks) == min(number, 32)


async def test_sending_and_receiving_share_a_turn(memory_socket_server: SocketServer, looks: list[Reader]) -> None:
    """However fast the answers are, others run every 32 messages of both together at most."""
    memory_socket_server.handler = say_nothing
    turns: list[None] = []
    async with (
        connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task,
        trio.open_nursery() as nursery,
    ):
        await task.wait_open()
        nursery.start_soon(count_turns, turns)
        for _ in range(640):
            await task.send("question")
            await task.receive()
        nursery.cancel_scope.cancel()
    assert (len(looks) > 500, len(turns) >= 2 * 640 / 32 - 4) == (True, True)


async def test_a_listener_lets_others_run(memory_socket_server: SocketServer, looks: list[Reader]) -> None:
    """However fast the answers are, every 32 events at most."""
    memory_socket_server.handler = say_nothing
    turns: list[None] = []
    async with (
        connect_socket(memory_socket_server.url, dial=memory_socket_server.dial) as task,
        task.on_message() as listener,
        trio.open_nursery() as nursery,
    ):
        await task.wait_open()
        nursery.start_soon(count_turns, turns)
        for _ in range(640):
            task.send_nowait("question")
            await listener.receive()
        nursery.cancel_scope.cancel()
    assert (len(looks), len(turns) >= 640 / 32 - 4) == (640, True)


async def test_a_mini_program_looks_for_the_answer_before_it_waits(
    memory_socket_server: SocketServer, looks: list[Reader]
) -> None:
    """Where it listens to messages; others run every 32 of its listener's calls at most."""
    memory_socket_server.handler = say_nothing
    answers, over = 0, trio.Event()

    def answer(res: Mapping[str, object]) -> None:
        nonlocal answers
        assert res["data"] == "answer"
        answers += 1
        wx_task.send(data="question") if answers < 640 else over.set()

    async with open_mini_program("wx", dial=memory_socket_server.dial) as wx:
        wx_task = wx.connectSocket(url=memory_socket_server.url)
        opened = trio.Event()
        wx_task.onOpen(lambda _res: opened.set())
        await opened.wait()
        wx_task.send(data="question")
        await wait_all_tasks_blocked()
        assert not looks, "nobody listens yet"
        wx_task.onMessage(answer)
        wx_task.send(data="question", success=lambda _res: None)
        turns = 0
        while not over.is_set():
            await trio.lowlevel.checkpoint()
            turns += 1
    assert (answers, len(looks), turns >= 640 / 32 - 4) == (640, 640, True)


@pytest.mark.parametrize("busy_poll", [0, 0.00005])
async def test_others_run_all_the_same(socket_server: SocketServer, busy_poll: float) -> None:
    """However fast the answers are, every 32 messages at most."""
    turns: list[None] = []
    async with connect_socket(socket_server.url, busy_poll=busy_poll) as task, trio.open_nursery() as nursery:
        nursery.start_soon(count_turns, turns)
        for _ in range(640):
            await task.send("x")
            await task.receive()
        nursery.cancel_scope.cancel()
    assert len(turns) >= 640 * 2 / 32 - 1


async def test_a_look_can_be_cancelled_before_it_begins(socket_server: SocketServer, looks: list[Reader]) -> None:
    """As every wait can, though it would find an answer at once: then nothing is lost."""
    async with connect_socket(socket_server.url) as task:
        await task.send("x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await task.receive()
        assert scope.cancelled_caught
        assert not looks
        assert await task.receive() == "answer"
        assert task.statistics().messages_received == 1
        assert task.ready_state.name == "OPEN"
