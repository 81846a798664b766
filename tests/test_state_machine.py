"""Managers and sockets against a small model, by rules that hypothesis puts in any order."""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from outcome import Outcome, acapture
from peer import TEXT, URL, Peer, close_frame, frame
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task import (
    CloseEvent,
    Coexist,
    CoexistencePolicy,
    ErrorEvent,
    Listener,
    MessageEvent,
    OpenEvent,
    ReadyState,
    ReplacePrevious,
    SocketClosedError,
    SocketLimitError,
    SocketLostError,
    SocketManager,
    SocketNotOpenError,
    SocketTask,
    open_socket_manager,
)
from trio_socket_task._session._mailbox import Mailbox
from trio_socket_task._socket_task import session_of

pytestmark = pytest.mark.long

Event = OpenEvent | MessageEvent | ErrorEvent | CloseEvent


class Loop:
    """A Trio run that is the guest of a loop which goes on only while a rule wants something done."""

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._orders: list[tuple[Callable[[], Awaitable[object]], list[Outcome[object]]]] = []
        self._wake = trio.Event()
        self._over = False
        trio.lowlevel.start_guest_run(
            self._obey,
            run_sync_soon_threadsafe=self._due.put,
            done_callback=self._on_done,
            clock=MockClock(autojump_threshold=0.0001),
            restrict_keyboard_interrupt_to_checkpoints=True,
        )

    async def _obey(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            for order, done in self._orders:
                if order is stop:
                    return
                done.append(await acapture(order))
            self._orders.clear()

    def _on_done(self, outcome: Outcome[None]) -> None:
        self._over = True
        self.outcome = outcome

    def do(self, order: Callable[[], Awaitable[object]]) -> None:
        """Do something in the Trio run, and let the rest of the run do what it can."""
        done: list[Outcome[object]] = []
        self._orders.append((order, done))
        self._due.put(self._wake.set)
        while not done and not self._over:
            self._due.get()()
        for outcome in done:
            outcome.unwrap()
        if self._over:
            self.outcome.unwrap()


async def stop() -> None:
    """Stand for the end of the run."""


@attrs.define(eq=False)
class Model:
    """What is known of one socket."""

    task: SocketTask
    events: Mailbox[Event] = attrs.field(factory=lambda: Mailbox(10**6, endless=True))
    peer: Peer | None = None
    expected: list[str] = attrs.field(factory=list)
    asked: tuple[int, str] | None = None
    """What this side closed it with first, if it did."""
    dropped: bool = False
    listeners: list[Listener[MessageEvent]] = attrs.field(factory=list)


class SocketsMachine(RuleBasedStateMachine):
    """Connect, send, receive, close, peer close, drop, listeners, replacement; the model says what must hold."""

    sockets = Bundle("sockets")

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.models: list[Model] = []
        self.global_closes: Listener[CloseEvent] | None = None
        self.manager: SocketManager | None = None

    @initialize(policy=st.sampled_from([Coexist(1), Coexist(2), Coexist(5), Coexist(None), ReplacePrevious()]))
    def begin(self, policy: CoexistencePolicy) -> None:
        """Open a manager."""

        async def begin() -> None:
            self.block = open_socket_manager(policy)
            self.manager = await self.block.__aenter__()

        self.policy = policy
        self.loop.do(begin)

    @rule(target=sockets, answers=st.booleans())
    def connect(self, *, answers: bool) -> Model | None:
        """Start a socket, whose peer accepts or stays silent."""
        made: list[Model] = []

        async def connect() -> None:
            assert self.manager is not None
            client, server = memory_stream_pair()
            peer = Peer(server)

            async def dial(_host: str, _port: int) -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                return client

            alive = [model for model in self.models if model.task.ready_state is not ReadyState.CLOSED]
            limit = None if isinstance(self.policy, ReplacePrevious) else self.policy.limit
            if limit is not None and len(alive) >= limit:
                with pytest.raises(SocketLimitError):
                    self.manager.connect_socket(URL, dial=dial)
                return
            model = Model(self.manager.connect_socket(URL, dial=dial, close_timeout=1, timeout=2), peer=peer)
            assert model.task.ready_state is ReadyState.CONNECTING
            if isinstance(self.policy, ReplacePrevious):
                for old in alive:
                    if old.asked is None and not old.dropped and old.task.ready_state is not ReadyState.CLOSED:
                        old.asked = (1000, "replaced by a new connection")
            listeners = session_of(model.task).subscriptions  # one mailbox for all kinds keeps their order
            for topic in (listeners.open, listeners.error, listeners.close):
                topic.attach(model.events)  # type: ignore[arg-type]
            if answers:
                trio.lowlevel.spawn_system_task(self._serve, peer)
            self.models.append(model)
            made.append(model)
            await wait_all_tasks_blocked()

        self.loop.do(connect)
        return made[0] if made else None

    @staticmethod
    async def _serve(peer: Peer) -> None:
        try:
            await peer.accept()
            await peer.echo()
        except (AssertionError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other side has gone, or a rule has ended this one

    @rule(model=sockets, number=st.integers(0, 99))
    def send(self, model: Model | None, number: int) -> None:
        """Send; the echo is expected."""

        async def send() -> None:
            assert model is not None
            state = model.task.ready_state
            if state is ReadyState.OPEN:
                await model.task.send(str(number))
                model.expected.append(str(number))
                assert await model.task.receive() == model.expected.pop(0)
            else:
                kind = SocketNotOpenError if state is ReadyState.CONNECTING else (SocketClosedError, SocketLostError)
                with pytest.raises(kind):
                    await model.task.send(str(number))

        if model is not None:
            self.loop.do(send)

    @rule(model=sockets, code=st.sampled_from([1000, 3000, 4999]), wait=st.booleans())
    def close(self, model: Model | None, code: int, *, wait: bool) -> None:
        """Close from this side."""

        async def close() -> None:
            assert model is not None
            if model.task.ready_state in (ReadyState.CONNECTING, ReadyState.OPEN):
                model.asked = (code, "mine")
            model.task.close(code, "mine")
            if wait:
                await model.task.wait_closed()

        if model is not None:
            self.loop.do(close)

    @rule(model=sockets, how=st.sampled_from(["close", "drop", "violate"]))
    def peer_ends(self, model: Model | None, how: str) -> None:
        """End it from the other side."""

        async def end() -> None:
            assert model is not None
            assert model.peer is not None
            if model.task.ready_state is not ReadyState.OPEN:
                return
            model.dropped = True
            if how == "close":
                await model.peer.send(close_frame(1011, "theirs"))
            elif how == "violate":
                await model.peer.send(frame(TEXT, b"\xff"))
            await model.peer.stream.aclose()
            event = await model.task.wait_closed()
            assert (event.code, event.reason) == ((1011, "theirs") if how == "close" else (1006, ""))

        if model is not None:
            self.loop.do(end)

    @rule(model=sockets, come=st.booleans())
    def listeners_come_and_go(self, model: Model | None, *, come: bool) -> None:
        """Message listeners beside the reader; the latest goes first."""

        async def change() -> None:
            assert model is not None
            if come and model.task.ready_state is ReadyState.OPEN:
                await model.task.send("claim")  # whoever listens first takes the inbox: the reader shall keep it
                assert await model.task.receive() == "claim"
                model.listeners.append(model.task.on_message())
            elif model.listeners:
                await model.listeners.pop().aclose()

        if model is not None:
            self.loop.do(change)

    @rule(model=sockets)
    def cancelled_calls(self, model: Model | None) -> None:
        """Calls that are cancelled harm nothing."""

        async def cancel() -> None:
            assert model is not None
            for call in (model.task.receive, model.task.wait_closed, model.task.wait_open):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    with suppress(trio.EndOfChannel, SocketLostError, SocketClosedError):
                        await call()

        if model is not None:
            self.loop.do(cancel)

    @rule()
    def time_passes(self) -> None:
        """Long enough for every deadline."""

        async def sleep() -> None:
            await trio.sleep(5)
            await wait_all_tasks_blocked()

        self.loop.do(sleep)

    @invariant()
    def what_must_hold(self) -> None:
        """Limits, the order of events, one close each and nothing after it."""

        async def look() -> None:
            if self.manager is None:
                return
            await wait_all_tasks_blocked()
            alive = [model.task for model in self.models if model.task.ready_state is not ReadyState.CLOSED]
            assert list(self.manager.sockets) == alive
            assert self.manager.current is (alive[0] if alive else None)
            if isinstance(self.policy, ReplacePrevious):
                up = [task for task in alive if task.ready_state is ReadyState.OPEN or task.header]
                assert len(up) <= 1
            elif self.policy.limit is not None:
                assert len(alive) <= self.policy.limit
            for model in self.models:
                self._look_at(model)

        self.loop.do(look)

    @staticmethod
    def _look_at(model: Model) -> None:
        seen = [event for event, _ in model.events.items]
        kinds = [type(event) for event in seen]
        order = [OpenEvent, ErrorEvent, CloseEvent]
        assert kinds == sorted(set(kinds), key=order.index), kinds
        closed = model.task.ready_state is ReadyState.CLOSED
        assert (CloseEvent in kinds) == closed
        if closed:
            event = model.task.close_event
            assert seen[-1] == event
            assert event is not None
            if model.asked is not None:
                assert (event.code, event.reason) == model.asked
            elif not model.dropped:
                assert event.code == 1006  # its peer stayed silent, and it timed out
                assert kinds == [ErrorEvent, CloseEvent]

    def teardown(self) -> None:
        """Leave the block: everything is CLOSED then."""

        async def end() -> None:
            if self.manager is not None:
                await self.block.__aexit__(None, None, None)
                assert self.manager.sockets == ()
                for model in self.models:
                    assert model.task.ready_state is ReadyState.CLOSED

        self.loop.do(end)
        self.loop.do(stop)


SocketsMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestSockets = SocketsMachine.TestCase
