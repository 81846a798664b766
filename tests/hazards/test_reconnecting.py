"""The resilient socket when it is asked for something at a bad moment, or by functions of the wrong kind.

An id in the name of a test, such as L3, is a row of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import suppress

import attrs
import pytest
import trio
from mute import MuteError
from peer import CLOSE, PING, PONG, TEXT, URL, Peer, close_frame, frame
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task import (
    Acknowledgement,
    Attempt,
    Backoff,
    CloseCode,
    CloseEvent,
    Coexist,
    ConnectError,
    ConnectionState,
    ConnectOptions,
    ConnectTimeoutError,
    GaveUpError,
    Heartbeat,
    InvalidOptionsError,
    Outbox,
    ReplacePrevious,
    ResilientSocket,
    Retry,
    SocketClosedError,
    SocketLimitError,
    SocketNotOpenError,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._functions import call_async, call_plain, check_plain
from trio_socket_task._manager import members_of
from trio_socket_task._members import Member
from trio_socket_task._session._session import Session
from trio_socket_task._socket_task import session_of

LONG = Backoff(initial=1000, maximum=1000, random=lambda: 1.0)
CLOSE_TIMEOUT = 10.0
BOUND = 2 * CLOSE_TIMEOUT + 0.2
"""Seconds in which a block is left, whatever goes on: twice the close_timeout, and the grace of an abort."""


AsItCloses = Callable[[Session, Callable[[], object]], None]


@pytest.fixture
def as_it_closes(monkeypatch: pytest.MonkeyPatch) -> AsItCloses:
    """Do something in the step of the scheduler in which a socket has closed, and its place is free."""

    def do(session: Session, request: Callable[[], object]) -> None:
        announce_close = Session.announce_close

        def announce_and_request(self: Session) -> None:
            announce_close(self)
            if self is session:
                request()

        monkeypatch.setattr(Session, "announce_close", announce_and_request)

    return do


@attrs.define
class World:
    """What one resilient socket of a test meets, and what became of it."""

    nursery: trio.Nursery
    moment: str
    request: Callable[[], object] = lambda: None
    dials: list[float] = attrs.field(factory=list)
    greetings: int = 0
    targets: int = 0
    asked_at: float | None = None
    dials_before: int = 0

    def come(self, moment: str) -> None:
        """Make the request if this is its moment."""
        if moment == self.moment and self.asked_at is None:
            self.asked_at = trio.current_time()
            self.dials_before = len(self.dials)
            self.request()

    async def dial(self, host: str, _port: int) -> trio.abc.Stream:
        """Connect to a server that refuses, answers, or drops, as the moment needs it."""
        if host == "other":
            return await self.play(self.good)
        self.dials.append(trio.current_time())
        self.come("dial")
        await trio.sleep(1)
        self.come("dial ends")
        if self.moment in {"decide", "random", "pause", "pause ends"}:
            raise ConnectionRefusedError("down")
        return await self.play(self.good)

    async def play(self, script: Callable[[Peer], Awaitable[None]]) -> trio.abc.Stream:
        """Connect to a script."""

        async def run() -> None:
            ends = (trio.BrokenResourceError, trio.ClosedResourceError, EOFError)
            with suppress(*ends, AssertionError):  # which the request of a connection that was called off raises
                await script(Peer(server))
            await trio.aclose_forcefully(server)

        client, server = memory_stream_pair()
        self.nursery.start_soon(run)
        await trio.lowlevel.checkpoint()
        return client

    async def good(self, peer: Peer) -> None:
        """Answer, and say something."""
        await peer.accept()
        await peer.send(frame(TEXT, b"news"))
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == PING:
                await peer.send(frame(PONG, payload))
            elif opcode == CLOSE:
                await peer.send(frame(CLOSE, payload))
                return

    async def target(self) -> str:
        """Return the URL."""
        self.targets += 1
        self.come("target")
        await trio.sleep(1)
        self.come("target ends")
        return URL

    async def on_connected(self, _task: SocketTask) -> None:
        """Greet the server for as long as it likes."""
        self.greetings += 1
        self.come("on_connected")
        await trio.sleep(1)
        self.come("on_connected ends")
        if self.moment == "on_connected lasts":
            await trio.sleep_forever()

    def decide(self, _attempt: Attempt, _failures: int) -> bool:
        """Go on."""
        self.come("decide")
        return True

    def random(self) -> float:
        """Wait for long."""
        self.come("random")
        return 1.0

    def is_reply(self, data: str | bytes) -> bool:
        """Know no reply."""
        self.come("is_reply")
        return data == "beaten"

    def sent(self, _data: str | bytes) -> None:
        """Know no id."""
        self.come("sent")

    def received(self, _data: str | bytes) -> None:
        """Know no id."""
        self.come("received")


MOMENTS = [
    *("target", "target ends", "room", "dial", "dial ends", "on_connected", "on_connected ends", "on_connected lasts"),
    *("is_reply", "sent", "received", "decide", "random", "pause", "pause ends", "a listener", "connected"),
]
REQUESTS = ["close", "aclose", "cancel", "reconnect", "send", "leave"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("request_", REQUESTS)
async def test_q2_any_request_at_any_moment(  # noqa: C901, PLR0915 (a table of moments, and one story)
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, moment: str, request_: str
) -> None:
    """The block is left in its bound, nothing is dialled after an end, the slot is free, and there is one close."""
    world, wants_end = World(nursery, moment), request_ not in {"reconnect", "send"}
    leave = trio.Event()
    heartbeat = Heartbeat(interval=5, timeout=5, message="beat", reply=world.is_reply)
    outbox = Outbox(proof=Acknowledgement(sent=world.sent, received=world.received))
    closes: list[CloseEvent] = []
    joined: list[str] = []

    def ask() -> None:
        if request_ == "close":
            socket.close(4000, "enough")
        elif request_ == "aclose":
            nursery.start_soon(socket.aclose, 4000, "enough")
        elif request_ == "cancel":
            scope.cancel()
        elif request_ == "reconnect":
            socket.reconnect()
        elif request_ == "send":
            socket.send_nowait("again")
        leave.set()

    async def read(socket: ResilientSocket) -> None:
        with suppress(GaveUpError, trio.EndOfChannel):
            while True:
                await socket.receive()

    async def listen(socket: ResilientSocket) -> None:
        async for event in socket.on_state():
            if event.state is ConnectionState.CONNECTED:
                world.come("a listener")

    world.request = ask
    with trio.fail_after(10_000):
        async with open_socket_manager(Coexist(1), dial=world.dial, close_timeout=CLOSE_TIMEOUT) as manager:
            closed, members = manager.on_socket_close(), members_of(manager)
            admit = members.admit

            def note_who_joins(url: str, options: ConnectOptions) -> Member:
                joined.append(url)
                try:
                    return admit(url, options)
                except SocketLimitError:
                    joined.pop()
                    raise

            monkeypatch.setattr(members, "admit", note_who_joins)
            other = manager.connect_socket("ws://other/") if moment == "room" else None
            with trio.CancelScope() as scope:
                async with open_resilient_socket(
                    world.target,
                    manager=manager,
                    outbox=outbox,
                    heartbeat=heartbeat,
                    on_connected=world.on_connected,
                    backoff=attrs.evolve(LONG, random=world.random),
                    retry=Retry(decide=world.decide),
                ) as socket:
                    nursery.start_soon(read, socket)
                    nursery.start_soon(listen, socket)
                    with suppress(SocketClosedError):
                        await socket.send("hello")
                    if other is not None:
                        await trio.sleep(5)
                        assert socket.state.state is ConnectionState.WAITING
                        await other.aclose()
                        world.come("room")
                    if moment in {"pause", "connected", "on_connected lasts"}:
                        await trio.sleep(5)
                        world.come(moment)
                    if moment == "pause ends":
                        await trio.sleep(1002)
                        world.come(moment)
                    await leave.wait()
                    if not wants_end:
                        await trio.sleep(3)  # so that it has its effect, whatever that is
                        world.asked_at = trio.current_time()
            assert world.asked_at is not None
            assert trio.current_time() - world.asked_at <= BOUND
            dials = len(world.dials)
            assert manager.sockets == ()
            assert socket.state.state is ConnectionState.STOPPED
            if wants_end:
                started_dials = 1 if request_ in {"cancel", "leave", "aclose"} else 0  # asked for before the end began
                assert dials - world.dials_before <= started_dials
            await trio.sleep(5000)
            assert len(world.dials) == dials
            if request_ in {"close", "aclose"}:
                assert socket.close_event is not None
                assert socket.close_event.code in {4000, 4000 if request_ == "close" else 1000}  # who came first
                with pytest.raises(SocketClosedError):
                    await socket.send("late")
        async for event in closed:
            closes.append(event)  # noqa: PERF401 (to its end)
    assert len(closes) == len(joined), "one for each socket that has joined, dialled or not"


@pytest.mark.parametrize("how", ["close", "reconnect"])
async def test_q1_the_instant_in_which_a_full_manager_gets_room(
    autojump_clock: MockClock, nursery: trio.Nursery, as_it_closes: AsItCloses, how: str
) -> None:
    """In one step of the scheduler the place becomes free and the request is made: nothing is dialled for it."""
    world = World(nursery, "never")
    async with open_socket_manager(Coexist(1), dial=world.dial) as manager:
        closes = manager.on_socket_close()
        async with connect_socket("ws://other/", manager=manager) as other:
            async with open_resilient_socket(URL, manager=manager) as socket:
                await trio.sleep(1)
                assert socket.state.state is ConnectionState.WAITING
                as_it_closes(session_of(other), lambda: socket.close() if how == "close" else socket.reconnect())
                await other.aclose()
                with trio.fail_after(1000):
                    if how == "close":
                        await socket.aclose()
                        assert world.dials == []
                    else:
                        await socket.wait_connected()
                assert len(closes._mailbox.items) == 1, "that of the other: nothing else has even joined"
                if how == "close":
                    return
                assert (world.dials, socket._attempts.reconnect_requested) == ([1.0], False)


async def test_q1_a_reconnect_does_not_stay_in_force(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """What ends a later connection is judged: a Close 4001 is the end."""

    class Refusing(World):
        async def good(self, peer: Peer) -> None:
            await peer.accept()
            await trio.sleep(100)
            await peer.send(close_frame(4001))

    world = Refusing(nursery, "never")
    async with open_socket_manager(Coexist(1), dial=world.dial) as manager:
        async with connect_socket("ws://other/", manager=manager) as other:
            async with open_resilient_socket(URL, manager=manager, heartbeat=None) as socket:
                await trio.sleep(1)
                await trio.aclose_forcefully(other)
                socket.reconnect()
                with pytest.raises(GaveUpError, match="4001"):
                    await socket.receive()
                assert len(world.dials) == 1


async def test_q1_a_wait_for_the_program_to_receive_is_looked_after(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """In the step in which the program receives, and closes."""

    class Flooding(World):
        async def good(self, peer: Peer) -> None:
            await peer.accept()
            await peer.send(*(frame(TEXT, b"x" * 1000) for _ in range(100)))

    world = Flooding(nursery, "never")
    async with open_resilient_socket(
        world.target, dial=world.dial, receive_buffer=50_000, backoff=Backoff(random=lambda: 0.01)
    ) as socket:
        await trio.sleep(1000)
        assert "go on receiving" in socket.state.why
        targets = world.targets
        while socket._attempts.backlog.size > 25_000:  # half of the buffer
            await socket.receive()
        socket.close()
    assert world.targets == targets, "the program's own function is not called either"


async def test_q1_a_replacement_that_waits_for_the_old_socket(
    autojump_clock: MockClock, nursery: trio.Nursery, as_it_closes: AsItCloses
) -> None:
    """Closed in the step in which the old one has gone, it dials nothing."""
    world = World(nursery, "never")
    async with open_socket_manager(ReplacePrevious(), dial=world.dial) as manager:
        old = manager.connect_socket("ws://other/")
        await old.wait_open()
        async with open_resilient_socket(URL, manager=manager) as socket:
            as_it_closes(session_of(old), socket.close)
            await old.wait_closed()
    assert world.dials == []


class Closing(Mapping[str, str]):
    """A header that does something when it is looked at."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    def __getitem__(self, name: str) -> str:
        return name

    def __iter__(self) -> Iterator[str]:
        self._do()
        return iter(["name"])

    def __len__(self) -> int:
        return 1


async def test_q2_a_header_that_closes_the_socket(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A mapping of the program's own is a function that calls back, too."""
    world = World(nursery, "never")

    async def target() -> tuple[str, dict[str, object]]:
        await trio.lowlevel.checkpoint()
        return URL, {"header": Closing(lambda: socket.close(4000))}

    async with open_socket_manager(dial=world.dial) as manager:
        closes = manager.on_socket_close()
        async with open_resilient_socket(target, manager=manager) as socket:  # type: ignore[arg-type]
            with pytest.raises(trio.EndOfChannel):
                await socket.receive()
        assert (await closes.receive()).code == 4000
    assert (world.dials, socket.close_event) == ([], CloseEvent(code=4000))


async def test_q2_a_header_that_reconnects(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The attempt that it belongs to is over before anything is dialled; the next is made at once."""
    world = World(nursery, "never")
    asked: list[float] = []

    def reconnect_once() -> None:
        asked.append(trio.current_time())
        if len(asked) == 1:
            socket.reconnect()

    async def target() -> tuple[str, dict[str, object]]:
        await trio.lowlevel.checkpoint()
        return URL, {"header": Closing(reconnect_once)}

    async with open_socket_manager(dial=world.dial) as manager:
        closes = manager.on_socket_close()
        async with open_resilient_socket(target, manager=manager) as socket:  # type: ignore[arg-type]
            await socket.wait_connected()
            assert (await closes.receive()).code == CloseCode.GOING_AWAY
            assert socket.statistics().attempts == 2
    assert world.dials == asked[:1], "without a delay"


@pytest.mark.parametrize("where", ["target", "dial", "on_connected"])
@pytest.mark.parametrize("how", ["close", "wait", "task"])
async def test_q2_aclose_from_what_is_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery, where: str, how: str
) -> None:
    """Itself, or in a task of another nursery that it waits for: nobody waits for himself."""
    world, started = World(nursery, "never"), trio.current_time()

    async def end(here: str) -> None:
        if here != where:
            return
        if how == "close":
            socket.close(4000)
        elif how == "wait":
            await socket.aclose(4000)
        else:
            done = trio.Event()

            async def close() -> None:
                await socket.aclose(4000)
                done.set()

            nursery.start_soon(close)
            await done.wait()

    async def target() -> str:
        await end("target")
        return URL

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await end("dial")
        await trio.lowlevel.checkpoint()
        return await world.dial(host, port)

    async def on_connected(_task: SocketTask) -> None:
        await end("on_connected")

    with trio.fail_after(1000):
        async with open_resilient_socket(target, dial=dial, on_connected=on_connected) as socket:
            async for data in socket:
                assert data == "news"
    assert trio.current_time() - started <= BOUND
    assert len(world.dials) == (where == "on_connected")
    assert socket.close_event == CloseEvent(code=4000)


@pytest.mark.parametrize("where", ["dial", "its task", "send_all", "receive_some"])
async def test_q2_aclose_of_a_socket_from_what_it_waits_for(autojump_clock: MockClock, where: str) -> None:
    """Natively, too: in its own `dial`, in a task that this waits for, and in what its stream does."""

    class Closing(trio.abc.Stream):
        """A stream that closes its socket."""

        async def send_all(self, data: object) -> None:  # noqa: ARG002 (as Trio has it)
            """Send nothing."""
            await trio.lowlevel.checkpoint()
            if where == "send_all":
                await manager.sockets[0].aclose()

        async def wait_send_all_might_not_block(self) -> None:
            """Wait for nothing."""

        async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 (as above)
            """Receive nothing."""
            if where == "receive_some":
                await manager.sockets[0].aclose()
            await trio.sleep_forever()
            raise AssertionError

        async def aclose(self) -> None:
            """Close nothing."""
            await trio.lowlevel.checkpoint()

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        if where == "dial":
            await manager.sockets[0].aclose()
        elif where == "its task":
            async with trio.open_nursery() as tasks:
                tasks.start_soon(manager.sockets[0].aclose)
        return Closing()

    with trio.fail_after(1000):
        async with open_socket_manager() as manager:
            task = manager.connect_socket(URL, dial=dial)
            with pytest.raises(SocketClosedError):
                await task.wait_open()
            assert (await task.wait_closed()).code == CloseCode.NORMAL_CLOSURE
    assert trio.current_time() < BOUND


@pytest.mark.parametrize("where", ["target", "on_connected", "decide", "random"])
async def test_q2_errors_that_cannot_say_what_they_are(
    autojump_clock: MockClock, nursery: trio.Nursery, where: str
) -> None:
    """Are named by their types: the attempt has failed, and the block is left as ever."""
    world = World(nursery, "never")

    async def target() -> str:
        await trio.lowlevel.checkpoint()
        if where == "target":
            raise MuteError
        return URL

    async def on_connected(_task: SocketTask) -> None:
        await trio.lowlevel.checkpoint()
        if where == "on_connected":
            raise MuteError
        raise ValueError("no token")

    def decide(_attempt: Attempt, failures: int) -> bool:
        if where == "decide":
            raise MuteError
        return failures < 2

    def random() -> float:
        if where == "random":
            raise MuteError
        return 0.0

    async with open_resilient_socket(
        target, dial=world.dial, on_connected=on_connected, retry=Retry(decide=decide), backoff=Backoff(random=random)
    ) as socket:
        with pytest.raises(GaveUpError, match=r"the retry policy (stops|raised MuteError)") as given_up:
            await socket.receive()
    assert "MuteError" in str(given_up.value)


class AsyncCall:
    """An object that is an async function."""

    async def __call__(self, *_: object) -> bool:
        """Be async."""
        return True


async def later(*_: object) -> bool:
    """Be async."""
    return True


@pytest.mark.parametrize("function", [later, functools.partial(later, 1), AsyncCall()])
async def test_q6_async_where_plain_is_wanted(function: Callable[..., Awaitable[bool]]) -> None:
    """Refused by the name of the argument, at the call."""
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("decide", lambda: Retry(decide=function)),  # type: ignore[arg-type]
        ("random", lambda: Backoff(random=function)),  # type: ignore[arg-type]
        ("reply", lambda: Heartbeat(message="?", reply=function)),  # type: ignore[arg-type]
        ("sent", lambda: Acknowledgement(sent=function, received=str)),  # type: ignore[arg-type]
        ("received", lambda: Acknowledgement(sent=str, received=function)),  # type: ignore[arg-type]
    ]
    for name, make in wrong:
        with pytest.raises(InvalidOptionsError, match=rf"^{name} must be .*no async function"):
            make()


def hidden(*_: object) -> Awaitable[bool]:
    """Be async, which nobody can know before."""
    return later()


async def test_q6_async_that_cannot_be_known_before(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Is the end at the first call, and counts as no answer."""
    world = World(nursery, "decide")
    for retry, backoff in (
        (Retry(decide=hidden), LONG),  # type: ignore[arg-type]
        (Retry(), Backoff(random=hidden)),  # type: ignore[arg-type]
    ):
        async with open_resilient_socket(URL, dial=world.dial, retry=retry, backoff=backoff) as socket:
            with pytest.raises(GaveUpError, match="must be a plain function"):
                await socket.receive()
    assert len(world.dials) == 2
    with pytest.raises(TypeError, match="reply must be a plain function"):
        Heartbeat(message="?", reply=hidden).is_reply("x")  # type: ignore[arg-type]


def always(_attempt: Attempt, _failures: int) -> bool:
    """Go on for ever."""
    return True


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (None, "target must give a URL, or a tuple of a URL and ConnectOptions, not None"),
        (b"ws://a/", "target must give a URL.* not bytes of length 7"),
        (("ws://a/",), "target must give a URL"),
        (("ws://a/", None), "target must give a URL"),
        (("ws://a/", {"headers": {}}), "target must give no options but header, .*not 'headers'"),
        (("ws://a/", {"timeout": 0}), "timeout must be a positive"),
        ("http://a/?token=secret", "url must be absolute, starting with ws:// or wss://"),
    ],
)
async def test_q6_a_target_of_the_wrong_shape_is_the_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, answer: object, rule: str
) -> None:
    """At once, whatever the retry policy says, with a sentence that names the argument and the rule."""
    asked: list[float] = []

    async def target() -> str:
        asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return answer  # type: ignore[return-value]

    async with open_resilient_socket(target, retry=Retry(decide=always)) as socket:
        with pytest.raises(GaveUpError, match=rule):
            await socket.wait_connected()
    assert asked == [0]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("argument", ["target", "on_connected"])
async def test_q6_plain_where_async_is_wanted(autojump_clock: MockClock, nursery: trio.Nursery, argument: str) -> None:
    """Is the end at once, too."""
    world = World(nursery, "never")
    arguments = {"target": URL, "on_connected": None, argument: lambda *_: URL}
    async with open_resilient_socket(dial=world.dial, retry=Retry(decide=always), **arguments) as socket:  # type: ignore[arg-type]
        with pytest.raises(GaveUpError, match=f"{argument} must be an async function"):
            await socket.receive()
    assert len(world.dials) == (argument == "on_connected")


async def test_q6_a_target_that_never_returns_is_bounded(autojump_clock: MockClock) -> None:
    """By the timeout of an opening; the error says that it was the target."""

    async def target() -> str:
        await trio.sleep_forever()
        raise AssertionError

    retry = Retry(max_attempts=2)
    async with open_resilient_socket(target, timeout=30, retry=retry, backoff=Backoff(random=lambda: 0.0)) as socket:
        with pytest.raises(GaveUpError, match="waiting for the target function to return") as caught:
            await socket.wait_connected()
        assert trio.current_time() == 60
        assert isinstance(caught.value.__cause__, ConnectTimeoutError)


def test_q6_the_helpers() -> None:
    """What cannot be called is refused as well; what is awaited is given back."""
    with pytest.raises(InvalidOptionsError, match="decide must be a function, and no async function, not 3"):
        check_plain("decide", 3, "a function")
    check_plain("decide", functools.partial(always, failures=1), "a function")  # type: ignore[call-arg]

    class Awaited(Awaitable[None]):
        def __await__(self) -> Generator[None, None, None]:
            yield

    with pytest.raises(TypeError, match="plain"):
        call_plain("decide", Awaited)

    def make() -> Awaited:
        return Awaited()

    assert isinstance(call_async("target", make), Awaited)


@pytest.mark.parametrize("how", ["raise", "cancel", "cancel while closing"])
async def test_e6_the_close_event_says_what_went_out(
    autojump_clock: MockClock, nursery: trio.Nursery, how: str
) -> None:
    """1001 where the block ended by force, and with a plain number."""
    codes: list[int] = []

    class Noting(World):
        async def good(self, peer: Peer) -> None:
            await peer.accept()
            codes.append((await peer.read_close())[0])

    world = Noting(nursery, "never")
    with trio.move_on_after(50) as scope, suppress(KeyError):
        async with open_resilient_socket(URL, dial=world.dial, close_timeout=100, heartbeat=None) as socket:
            await socket.wait_connected()
            assert socket.close_event is None
            if how == "raise":
                raise KeyError
            if how == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()
            await socket.send("unproven, so that closing waits")
            await socket.aclose(4000)
    await wait_all_tasks_blocked()
    assert codes == [1001]
    assert socket.close_event == CloseEvent(code=1001)
    assert type(socket.close_event.code) is int


async def test_e6_the_close_event_is_there_as_soon_as_it_is_known(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A server that closed, and has not ended the connection yet."""

    class Lingering(World):
        async def good(self, peer: Peer) -> None:
            await peer.accept()
            await peer.send(close_frame(4001, "done"))
            await trio.sleep(1000)

    world = Lingering(nursery, "never")
    async with open_resilient_socket(URL, dial=world.dial) as socket:
        await trio.sleep(2)
        assert socket.close_event is not None
        assert (socket.close_event.code, socket.close_event.reason) == (4001, "done")
        assert socket.state.state is not ConnectionState.STOPPED


async def test_e6_cancelled_without_a_connection(autojump_clock: MockClock) -> None:
    """Nothing went out; it is as a socket that was closed by force."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError

    with trio.move_on_after(0.5):
        async with open_resilient_socket(URL, dial=dial, backoff=LONG) as socket:
            await trio.sleep_forever()
    assert socket.close_event == CloseEvent(code=CloseCode.GOING_AWAY)
    socket._supervisor.abort()
    assert socket.close_event == CloseEvent(code=CloseCode.GOING_AWAY)


async def test_e7_a_socket_that_never_connects_is_seen(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """A redirect to a login page, for ever: the first failure and every tenth are warnings, the others are told."""

    class Redirecting(World):
        async def good(self, peer: Peer) -> None:
            await peer.read_request()
            await peer.send(
                b"HTTP/1.1 302 Found\r\nLocation: https://login.test/?token=secret\r\nContent-Length: 0\r\n\r\n"
            )

    caplog.set_level(logging.INFO)
    world = Redirecting(nursery, "never")
    url = "ws://server.test/chat?token=secret"
    async with open_resilient_socket(url, dial=world.dial, backoff=Backoff(random=lambda: 0.01)) as socket:
        while len(world.dials) < 25:  # noqa: ASYNC110 (nothing tells of it)
            await trio.sleep(0.1)
        assert "secret" not in repr(socket)
        with pytest.raises(SocketNotOpenError) as refused:
            async with open_resilient_socket(url, dial=world.dial, outbox=None) as other:
                await other.send("x")
        assert "secret" not in str(refused.value)
    name = f"resilient socket {socket._states.label.number} (ws://server.test/chat?"
    lines = [record for record in caplog.records if record.getMessage().startswith(name)]
    failures = [record for record in lines if "302" in record.getMessage()]
    assert len(failures) >= 24
    warned = [index for index, record in enumerate(failures, 1) if record.levelno == logging.WARNING]
    assert warned == [1, 10, 20]
    assert "the first and every 10th" in failures[0].getMessage()
    assert all(re.match(r"resilient socket \d+ \(ws://", record.getMessage()) for record in caplog.records)
    assert "secret" not in caplog.text


async def test_e7_two_sockets_have_two_names(autojump_clock: MockClock) -> None:
    """A number that is unique in the process."""
    async with open_resilient_socket(URL) as one, open_resilient_socket(URL) as two:
        assert str(one._states.label) != str(two._states.label)
        assert repr(one) != repr(two)
        assert f"<ResilientSocket {one._states.label.number} CONNECTING {URL}, connection 0>" == repr(one)


async def test_e7_giving_up_is_a_warning(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, and no secret of the program's own functions' errors."""

    async def target() -> str:
        raise OSError("no answer from https://login.test/?token=secret")

    async with open_resilient_socket(target, retry=Retry(max_attempts=1)) as socket:
        with pytest.raises(GaveUpError) as caught:
            await socket.receive()
        assert "secret" not in socket.state.why
    stopped = [record for record in caplog.records if ": stopped: " in record.getMessage()]
    assert len(stopped) == 1
    assert "1 attempts in a row" in stopped[0].getMessage()
    assert "secret" not in str(caught.value)


async def test_e7_waiting_for_room_is_a_warning(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, as_it_closes: AsItCloses
) -> None:
    """Once, because it may last for ever."""
    world = World(nursery, "never")
    async with open_socket_manager(Coexist(1), dial=world.dial) as manager:
        other = manager.connect_socket("ws://other/")
        async with open_resilient_socket(URL, manager=manager) as socket:
            await trio.sleep(1)
            as_it_closes(session_of(other), lambda: manager.connect_socket("ws://other/"))
            await trio.aclose_forcefully(other)
            await trio.sleep(1)
            assert socket.state.state is ConnectionState.WAITING
    assert len([record for record in caplog.records if "the policy admits no more" in record.getMessage()]) == 1


def test_e7_an_attempt_shows_no_secret() -> None:
    """Nor does the error that keeps the attempts; the URL itself is whole."""
    url = "wss://name:word@a.test/x?token=secret"
    attempt = Attempt(url=url, error=ConnectError(url, "refused"))
    for shown in (repr(attempt), repr(GaveUpError("why", (attempt,))), str(GaveUpError("why", (attempt,)))):
        assert "secret" not in shown
        assert "word" not in shown
    assert attempt.url == url
