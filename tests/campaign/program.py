"""A program that uses a resilient socket as its plan says, and its functions, which call back at bad moments."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import final

import trio

from trio_socket_task import (
    Attempt,
    GaveUpError,
    OutboxFullError,
    ResilientSocket,
    SocketClosedError,
    SocketLostError,
    SocketManager,
    SocketNotOpenError,
    SocketTask,
    retry_by_evidence,
)

from .ledger import Ledger
from .resilient_plan import ResilientPlan, SenderPlan
from .server import message
from .watch import Watch
from .world import World

URL = "ws://server.test/chat?token=secret"
_BY_HAND = "by hand"


class PokeError(Exception):
    """What the program's own functions raise."""


@final
class Program:
    """The program: what it calls, and what is called back."""

    def __init__(self, plan: ResilientPlan, dice: random.Random, world: World, ledger: Ledger, watch: Watch) -> None:
        self.plan = plan
        self.socket: ResilientSocket | None = None
        self.manager: SocketManager | None = None
        self.tasks: trio.Nursery | None = None
        self.calm = False
        """Whether its functions do nothing but their work."""
        self._dice = dice
        self._findings = world.findings
        self._world = world
        self._ledger = ledger
        self._watch = watch
        self._numbers: dict[str, int] = {}

    # What it calls

    def _name(self, sender: str) -> str:
        self._numbers[sender] = self._numbers.get(sender, -1) + 1
        return f"{sender}.{self._numbers[sender]}"

    async def send(self, sender: str, size: int, patience: float | None = None) -> None:
        """Send one message, and note what becomes of the call."""
        assert self.socket is not None
        name = self._name(sender)
        self._ledger.offer(name)
        text = message(name, size)
        with trio.CancelScope(deadline=trio.current_time() + (1e9 if patience is None else patience)):
            try:
                await self.socket.send(text.encode() if size % 20 else text)
            except trio.Cancelled:
                self._ledger.settle(name, "cancelled")
                raise
            except Exception as error:  # noqa: BLE001 (judged)
                self._refused(name, error)
            else:
                self._ledger.settle(name, "accepted")

    def send_nowait(self, sender: str, size: int) -> None:
        """Send one message without waiting."""
        assert self.socket is not None
        name = self._name(sender)
        self._ledger.offer(name)
        try:
            self.socket.send_nowait(message(name, size))
        except Exception as error:  # noqa: BLE001 (judged)
            self._refused(name, error, trio.WouldBlock)
        else:
            self._ledger.settle(name, "accepted")

    def _refused(self, name: str, error: Exception, *more: type[Exception]) -> None:
        self._ledger.settle(name, "refused", repr(error))
        allowed: tuple[type[Exception], ...] = (SocketClosedError, GaveUpError, *more)
        if self.plan.outbox is None:
            allowed += (SocketNotOpenError, SocketLostError)
        elif self.plan.outbox.when_full == "refuse":
            allowed += (OutboxFullError,)
        self._findings.check(isinstance(error, allowed), f"send raised {error!r}")
        if isinstance(error, SocketClosedError | GaveUpError) and self.plan.outbox is not None:
            self._watch.note_over(error)

    def look(self) -> None:
        """Look at the figures."""
        if self.socket is not None:
            self._ledger.look(self.socket.statistics())

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Ask to close."""
        if self.socket is not None:
            self.socket.close(code, reason)
            self._watch.note_close_request()

    async def aclose(self) -> None:
        """Close and wait."""
        assert self.socket is not None
        self.close()
        await self.socket.aclose(3001, "a second time")

    def _act(self, where: str, choice: str) -> None:
        """Do something to the socket."""
        if self.socket is None:
            return
        self._findings.note(f"{where}: {choice}")
        task = self.socket.task
        match choice:
            case "close":
                self.close(4000, "from a function")
            case "reconnect":
                self.socket.reconnect()
                self._watch.note_reconnect()
            case "send":
                self.send_nowait("f", 10)
            case "close by hand" if task is not None:
                task.close(4001, _BY_HAND)
            case "close socket" if self.manager is not None and self.manager.current is not None:
                with suppress(SocketNotOpenError):
                    self.manager.close_socket(4001, _BY_HAND)
            case "aclose" if self.tasks is not None:
                self.tasks.start_soon(self.aclose)
            case "raise":
                raise PokeError(where)
        self.look()

    def poke(self, where: str, *, may_raise: bool = True) -> None:
        """Call back from one of the program's own functions, perhaps."""
        if not self.calm and self._dice.random() < self.plan.pokes[where]:
            choices = ["close", "reconnect", "reconnect", "send", "send", "close by hand", "close socket", "aclose"]
            self._act(where, self._dice.choice(choices + ["raise"] * 4 * may_raise))

    async def poke_async(self, where: str) -> None:
        """Call back, perhaps, from an async function, which can wait as well."""
        self.poke(where)
        if self.calm or self._dice.random() >= self.plan.pokes[where]:
            return
        choice = self._dice.choice(("sleep", "sleep", "aclose", "send", "hang"))
        self._findings.note(f"{where} waits: {choice}")
        if choice == "aclose":
            await self.aclose()
        elif choice == "send":
            await self.send("f", 10, patience=1.0)
        elif choice == "hang":
            await trio.sleep(1000)
        else:
            await trio.sleep(self._dice.choice((0.0, 0.1, 5.0)))
        self.poke(where)

    # What it gives to the socket

    async def target(self) -> str:
        """Say where to go."""
        await self.poke_async("target")
        return URL

    def decide(self, attempt: Attempt, failures: int) -> bool:
        """Say whether to go on."""
        self.poke("decide")
        return retry_by_evidence(attempt, failures) if self.plan.retries == "default" else True

    def random(self) -> float:
        """Draw a delay."""
        self.poke("random")
        return self._dice.choice((0.0, 1.0, self._dice.random()))

    async def dial(self, host: str, _port: int) -> trio.abc.Stream:
        """Connect, or fail."""
        if host == "rival.test":
            return await self._world.connect()
        self._watch.note_dial()
        await trio.lowlevel.checkpoint()
        await self.poke_async("dial")
        if not self.calm and self._dice.random() < 0.1:
            raise OSError("the network is down")
        stream = await self._world.connect()
        if not self.calm and self._dice.random() < 0.02:
            await stream.aclose()
        return stream

    async def on_connected(self, task: SocketTask) -> None:
        """Have the first words with the server."""
        self._watch.note_task(task)
        if self.plan.on_connected in ("greet", "receive"):
            name = self._name("greeting")
            self._ledger.greetings.add(name)
            await task.send(message(name))
        if not self.calm:
            await self.poke_async("on_connected")
            if self.plan.on_connected == "wait":
                await trio.sleep(self._dice.choice((0.0, 0.3, 3.0)))
            elif self.plan.on_connected == "receive":
                self._watch.received(await task.receive(), by_greeting=True)
            elif self.plan.on_connected == "raise" and self._dice.random() < 0.5:
                raise PokeError("on_connected")

    # What its tasks do

    async def run_sender(self, number: int, plan: SenderPlan) -> None:
        """Send as planned."""
        for _ in range(plan.number):
            if self._watch.stopped.is_set():
                return
            if plan.nowait:
                self.send_nowait(f"s{number}", plan.size)
            else:
                await self.send(f"s{number}", plan.size, plan.patience)
            with trio.move_on_after(plan.gap):
                await self._watch.stopped.wait()

    async def run_receiver(self) -> None:
        """Receive to the end, with calls that are cancelled in between."""
        assert self.socket is not None
        while True:
            with trio.move_on_after(self._dice.choice((0.0, 0.05, 1e9))):
                try:
                    data = await self.socket.receive()
                except (trio.EndOfChannel, GaveUpError) as error:
                    self._watch.note_over(error)
                    return
                self._watch.received(data)
                self.poke("receiver", may_raise=False)

    async def run_actions(self) -> None:
        """Do this and that to the socket."""
        assert self.socket is not None
        for _ in range(self.plan.actions):
            await trio.sleep(self._dice.random() * self.plan.seconds / self.plan.actions)
            choices = ("reconnect", "send", "close by hand", "close socket", "look", "wait", "listen")
            choice = self._dice.choice(choices)
            if choice == "wait":
                call = self._dice.choice((self.socket.wait_connected, self.socket.wait_delivered))
                with trio.move_on_after(self._dice.choice((0.0, 0.1))), suppress(SocketClosedError, GaveUpError):
                    await call()
            elif choice == "listen":
                async with self.socket.on_state() as states:
                    await states.receive()
            else:
                self._act("meanwhile", choice)
