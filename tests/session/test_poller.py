"""`_poller`: one task watches the sockets of all programs that are away."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial

import attrs
import pytest
import trio
from conftest import ServeTcp
from peer import PING, PONG, TEXT, Peer, close_frame, frame, reset
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_socket_task import Heartbeat, SocketLostError, connect_socket
from trio_socket_task._session import _poller
from trio_socket_task._session._poller import GRACE, Polled, Poller, poller_of_this_run
from trio_socket_task.testing import ServerConnection, SocketServer, open_test_server

pytestmark = pytest.mark.needs("epoll")


@attrs.define
class Watched:
    """One socket that the poller knows, and how often it was called for it."""

    near: socket.socket
    far: socket.socket
    polled: Polled
    calls: int = 0
    reads: bool = True

    def on_readable(self) -> None:
        self.calls += 1
        if self.reads:
            self.near.recv(100)

    def watch(self) -> bool:
        return self.polled.watch(self.on_readable)


def the_poller() -> Poller:
    """Return this run's."""
    poller = poller_of_this_run()
    assert poller is not None
    assert poller_of_this_run() is poller
    return poller


@pytest.fixture
async def sockets() -> AsyncIterator[list[Watched]]:
    """Give three sockets that are not watched yet; each is forgotten and closed in the end."""
    pairs = [socket.socketpair() for _ in range(3)]
    yield [Watched(near, far, Polled(near.fileno())) for near, far in pairs]
    for pair in pairs:
        for one in pair:
            one.close()


async def test_it_calls_for_what_can_be_read_while_it_is_watched(sockets: list[Watched]) -> None:
    """Until it was read; not while the watching pauses, and not after its end."""
    first, second, _ = sockets
    assert first.watch()
    assert first.watch(), "twice is once"
    assert second.watch()
    first.far.send(b"x")
    await wait_all_tasks_blocked()
    assert (first.calls, second.calls) == (1, 0)
    first.polled.pause()
    first.polled.pause()
    first.far.send(b"y")
    await wait_all_tasks_blocked()
    assert first.calls == 1
    assert first.watch()
    await wait_all_tasks_blocked()
    assert first.calls == 2
    second.polled.end()
    second.polled.end()
    second.far.send(b"x")
    await wait_all_tasks_blocked()
    assert second.calls == 0
    assert list(the_poller().functions) == [first.near.fileno()]
    first.polled.end()


async def test_a_reset_is_told_of_once_while_the_watching_pauses() -> None:
    """The kernel tells of a reset whatever it is asked for; again and again, it would keep the loop busy."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
    far = await listeners[0].accept()
    calls: list[int] = []
    polled = Polled(near.socket.fileno())
    assert polled.watch(lambda: calls.append(1))
    polled.pause()
    await reset(far)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(calls) <= 1
    polled.end()
    await near.aclose()
    await listeners[0].aclose()


class Passes(trio.abc.Instrument):
    """How often the loop has looked for I/O, as it does after each task has had its turn."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += timeout >= 0


async def test_others_run_between_many_sockets(sockets: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """When their turn has taken its time; those that are left come next."""
    now, passes, calls = 0.0, Passes(), list[tuple[int, int]]()
    monkeypatch.setattr(_poller, "perf_counter", lambda: now)
    trio.lowlevel.add_instrument(passes)

    def take(number: int, seconds: float) -> None:
        nonlocal now
        calls.append((number, passes.count))
        now += seconds
        sockets[number].polled.end()

    for number, (one, seconds) in enumerate(zip(sockets, (0.0005, 0.0005, 0), strict=True)):
        assert one.polled.watch(partial(take, number, seconds))
        one.far.send(b"x")
    await wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(passes)
    assert [number for number, _ in calls] == [0, 1, 2]
    assert calls[0][1] == calls[1][1] == calls[2][1] - 1


async def test_who_was_called_may_end_another(sockets: list[Watched]) -> None:
    """Though it could be read as well."""
    first, second, _ = sockets

    def end_all() -> None:
        calls.append(1)
        first.polled.end()
        second.polled.end()

    calls: list[int] = []
    for one in (first, second):
        assert one.polled.watch(end_all)
        one.far.send(b"x")
    await wait_all_tasks_blocked()
    assert calls == [1]


async def test_a_program_that_is_there_is_asked_again(autojump_clock: MockClock) -> None:
    """Each grace, with all others, until it is away."""
    poller, asked = the_poller(), list[tuple[str, float]]()
    started, left = trio.current_time(), {"a": 3, "b": 1}

    def is_here(name: str) -> bool:
        asked.append((name, round((trio.current_time() - started) / GRACE)))
        left[name] -= 1
        return left[name] > 0

    for name in left:
        poller.ask_later(partial(is_here, name))
    await trio.sleep(10 * GRACE)
    assert asked == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    poller.ask_later(partial(is_here, "b"))
    await trio.sleep(10 * GRACE)
    assert len(asked) == 5


async def test_the_kernel_may_refuse(sockets: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many are watched already (epoll_ctl(2), ENOSPC), this one is not."""

    class Full:
        def register(self, fd: int, events: int) -> None:
            raise OSError(errno.ENOSPC, "no space", fd, events)

    await wait_all_tasks_blocked()
    with monkeypatch.context() as patch:
        patch.setattr(the_poller(), "epoll", Full())
        assert not sockets[0].watch()
        sockets[0].polled.pause()
        sockets[0].polled.end()
    assert the_poller().functions == {}


async def test_there_may_be_no_file_descriptor_left(sockets: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """For the poller's own: then each socket has its own task, until there is."""

    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(select, "epoll", fail)
    assert poller_of_this_run() is None
    assert not sockets[0].watch()
    monkeypatch.undo()
    assert sockets[0].watch()
    sockets[0].polled.end()


async def test_there_may_be_no_place_for_its_task(sockets: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """When asynchronous generators are closed, at the end of a run, its nursery takes no more tasks."""
    made: list[select.epoll] = []

    def make(real: type[select.epoll] = select.epoll) -> select.epoll:
        made.append(real())
        return made[0]

    def refuse(_function: object) -> None:
        raise RuntimeError("Nursery is closed to new arrivals")

    with monkeypatch.context() as patch:
        patch.setattr(select, "epoll", make)
        patch.setattr(trio.lowlevel, "spawn_system_task", refuse)
        assert not sockets[0].watch()
    assert made[0].closed
    assert sockets[0].watch()
    sockets[0].polled.end()


async def test_it_ends_with_its_last_socket(sockets: list[Watched]) -> None:
    """Its task and its file descriptor with it; the next socket has a new one."""
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(2):
        assert sockets[0].watch()
        assert sockets[1].watch()
        poller = the_poller()
        sockets[0].polled.end()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before + 1
        sockets[1].polled.end()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert poller.epoll.closed
        assert sockets[2].watch(), "at once"
        sockets[2].polled.end()
        assert sockets[0].watch(), "while the last one is about to end"
        sockets[0].polled.end()
        await wait_all_tasks_blocked()
        sockets[0].far.send(b"x")
        assert sockets[0].watch()
        await wait_all_tasks_blocked()
        assert sockets[0].calls
        sockets[0].polled.end()
        await wait_all_tasks_blocked()


def test_at_the_end_of_the_run_all_are_called() -> None:
    """A system task may still have a socket: it is told that nobody watches it any more."""
    calls: list[str] = []
    pairs = [socket.socketpair() for _ in range(2)]

    async def main() -> None:
        polled = Polled(pairs[0][0].fileno())
        assert polled.watch(partial(again, polled))
        await wait_all_tasks_blocked()

    def again(polled: Polled) -> None:
        calls.append("called")
        assert not Polled(pairs[1][0].fileno()).watch(calls.clear)
        assert not polled.ask_later(bool)
        polled.pause()
        assert not polled.watch(calls.clear)
        polled.end()

    trio.run(main)
    assert calls == ["called"]
    for pair in pairs:
        for one in pair:
            one.close()


async def test_what_comes_while_the_program_is_away_is_read(serve_tcp: ServeTcp) -> None:
    """Pings are answered, messages kept, the close is seen."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(TEXT, b"kept"), frame(PING, b"there?"))
        assert await peer.read_frame() == (PONG, b"there?")
        await peer.send(close_frame(1000, "bye"))
        await peer.read_close()
        await peer.stream.aclose()

    with trio.fail_after(10):
        async with connect_socket(await serve_tcp(script)) as task:
            assert (await task.wait_closed()).peer_reason == "bye"
            assert await task.receive() == "kept"


async def test_a_function_that_ends_the_program_does_not_end_the_poller(socket_server: SocketServer) -> None:
    """What the program's own function raises comes out of the socket's block, as it did of its task."""

    def answer(_data: str | bytes) -> str:
        raise SystemExit(3)

    async def handler(connection: ServerConnection) -> None:
        await connection.accept()
        await connection.send("ping")
        await connection.wait_closed()

    socket_server.handler = handler
    heartbeat = Heartbeat(interval=60, answer=answer)
    with trio.fail_after(10), pytest.raises((SystemExit, BaseExceptionGroup)) as caught:
        async with connect_socket(socket_server.url, heartbeat=heartbeat):
            await trio.sleep_forever()
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, SystemExit)


async def test_a_function_of_the_programs_sees_the_programs_context(serve_tcp: ServeTcp) -> None:
    """Whichever task calls it."""
    seen: list[str] = []

    def answer(data: str | bytes) -> str | None:
        seen.append(f"{request.get()} {data!r}")
        return None

    async def script(peer: Peer) -> None:
        await peer.accept()
        for data in (b"a", b"b"):
            await peer.send(frame(TEXT, data), frame(PING))
            assert await peer.read_frame() == (PONG, b"")
        await peer.send(close_frame(1000))
        await peer.read_close()
        await peer.stream.aclose()

    request: ContextVar[str] = ContextVar("request", default="nobody's")
    request.set("mine")
    with trio.fail_after(10):
        async with connect_socket(await serve_tcp(script), heartbeat=Heartbeat(interval=60, answer=answer)) as task:
            await task.wait_closed()
    assert seen == ["mine 'a'", "mine 'b'"]


@pytest.mark.parametrize("tls", [False, True])
async def test_a_reset_while_the_program_is_away_keeps_its_reason(*, tls: bool) -> None:
    """The kernel tells of it once."""

    async def handler(connection: ServerConnection) -> None:
        await connection.accept()
        await connection.receive()
        await connection.drop()

    async with open_test_server(handler, tls=tls) as server:
        with trio.fail_after(10):
            async with connect_socket(server.url, ssl_context=server.ssl_context) as task:
                await task.send("go")
                event = await task.wait_closed()
                with pytest.raises(SocketLostError, match="reset"):
                    await task.receive()
    assert event.code == 1006


async def test_a_stream_that_somebody_else_can_close_is_waited_for_by_a_task(socket_server: SocketServer) -> None:
    """Trio tells its tasks that a stream is closed; the kernel tells nobody."""
    streams: list[trio.SocketStream] = []

    async def dial(host: str, port: int) -> trio.SocketStream:
        streams.append(await trio.open_tcp_stream(host, port))
        return streams[0]

    with trio.fail_after(10):
        async with connect_socket(socket_server.url, dial=dial) as task:
            await wait_all_tasks_blocked()
            await streams[0].aclose()
            assert (await task.wait_closed()).code == 1006
