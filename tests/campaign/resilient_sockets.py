"""Part a: a resilient socket under random faults, in virtual time; every message is accounted for."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from typing import final

import attrs
import trio

from trio_socket_task import (
    Acknowledgement,
    Backoff,
    Coexist,
    ConnectError,
    ConnectOptions,
    GaveUpError,
    Listener,
    ResilientSocket,
    Retry,
    SocketClosedError,
    SocketLimitError,
    SocketManager,
    UndeliveredEvent,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task.testing import open_memory_server

from .findings import Findings
from .kit_server import KitServer
from .ledger import Ledger
from .program import URL, Program
from .resilient_plan import ResilientPlan, draw_plan
from .seeded import run_seeded
from .watch import Watch
from .world import World

_DRAIN = 20_000.0
"""Seconds within which everything is delivered once every server is good: an hour's Retry-After, several delays."""


def run(seed: int) -> Findings:
    """Run one seed."""
    findings = Findings("a", seed)
    run_seeded(_run, findings, virtual=True)
    return findings


class BodyError(Exception):
    """What the body of the block raises."""


async def _run(dice: random.Random, findings: Findings) -> None:
    plan = draw_plan(dice)
    findings.note(f"{plan}")
    async with trio.open_nursery() as servers:
        await _Run(plan, dice, findings, servers).run()
        servers.cancel_scope.cancel()


@final
@attrs.define(eq=False)
class _Run:
    """One run."""

    plan: ResilientPlan
    dice: random.Random
    findings: Findings
    servers: trio.Nursery
    has_drained: bool = False
    ledger: Ledger = attrs.field(init=False)
    world: World = attrs.field(init=False)
    watch: Watch = attrs.field(init=False)
    program: Program = attrs.field(init=False)
    rivals: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> None:
        """Run the program, and judge."""
        plan, findings = self.plan, self.findings
        resends = plan.outbox is not None and plan.outbox.resend
        self.ledger = Ledger(findings, resends, plan.outbox is not None, plan.proof, trusts_written=plan.with_kit)
        close_timeout = plan.options["close_timeout"]
        acknowledges = isinstance(plan.proof.proof, Acknowledgement)
        on_acknowledge = self.ledger.acknowledge if acknowledges else None
        self.world = World(
            findings,
            self.dice,
            self.servers,
            plan.good_servers,
            close_timeout,
            self.ledger.read,
            self.ledger.written,
            on_acknowledge,
        )
        async with trio.open_nursery() as watchers:
            self.watch = Watch(findings, plan.bound, self.world.client_closes, watchers)
            self.program = Program(plan, self.dice, self.world, self.ledger, self.watch)
            self.program.tasks = watchers
            async with AsyncExitStack() as stack:
                manager = None
                if plan.with_kit:
                    self.world.kit_server = KitServer(findings, self.dice, self.ledger.read, on_acknowledge)
                    self.world.kit = await stack.enter_async_context(open_memory_server(self.world.kit_server.serve))
                if plan.policy is not None:
                    manager = await stack.enter_async_context(open_socket_manager(plan.policy, dial=self.program.dial))
                    self.program.manager = manager
                async with trio.open_nursery() as others:
                    others.start_soon(self._run_rivals)
                    await self._use(watchers, manager)
                    self.rivals.cancel()
                findings.check(manager is None or not manager.sockets, "a slot of the manager is not free")
            await trio.sleep(1.0)
            findings.check(not watchers.child_tasks, "calls did not return when the socket had stopped")
            watchers.cancel_scope.cancel()
        self.world.check_streams()
        assert self.watch.socket is not None
        self.ledger.close(
            self.watch.socket.statistics(), has_drained=self.has_drained, acknowledged=self.watch.acknowledged
        )

    async def _use(self, watchers: trio.Nursery, manager: SocketManager | None) -> None:
        """Use a resilient socket, and check how its block is left."""
        plan, program, error = self.plan, self.program, BodyError()
        options: ConnectOptions = {**plan.options, "dial": program.dial}
        block = open_resilient_socket(
            program.target if plan.asks_target else URL,
            backoff=Backoff(initial=plan.initial, useful_after=plan.useful_after, random=program.random),
            retry=Retry(decide=program.decide, max_attempts=6 if plan.retries == "few" else None),
            outbox=plan.outbox,
            on_connected=None if plan.on_connected is None else program.on_connected,
            manager=manager,
            **options,
        )
        with trio.CancelScope() as scope:
            try:
                async with block as socket:
                    program.socket = self.watch.socket = socket
                    watchers.start_soon(self.watch.watch_states, socket.on_state(), program.poke)
                    watchers.start_soon(self._hear_reports, socket.on_undelivered())
                    await self._be_in_block(watchers, socket)
                    self.watch.note_end(by_force=plan.end in ("cancel", "raise"))
                    if plan.end == "cancel":
                        scope.cancel()
                    elif plan.end == "raise":
                        raise error
            except BodyError as caught:
                self.findings.check(caught is error, "another exception than the body's came out")
            else:
                self.findings.check(plan.end != "raise", "the body's exception was lost")
        self.watch.check_left()
        program.look()

    async def _be_in_block(self, watchers: trio.Nursery, socket: ResilientSocket) -> None:
        plan, program = self.plan, self.program
        async with trio.open_nursery() as inside:
            nursery = watchers if plan.outlive else inside
            all_sent = trio.Event()
            nursery.start_soon(self._send_all, all_sent)
            for _ in range(plan.receivers):
                nursery.start_soon(program.run_receiver)
            inside.start_soon(program.run_actions)
            await trio.sleep(plan.seconds)
            program.look()
            if plan.end == "close":
                program.close()
                with trio.move_on_after(plan.bound + 1.0) as patience:
                    await self.watch.stopped.wait()
                self.findings.check(not patience.cancelled_caught, "it goes on after it was closed")
            elif plan.end == "aclose":
                program.close()
                await socket.aclose()
            elif plan.end == "drain":
                await self._drain(socket, nursery, all_sent)
            inside.cancel_scope.cancel()

    async def _send_all(self, done: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            for number, sender in enumerate(self.plan.senders):
                nursery.start_soon(self.program.run_sender, number, sender)
        done.set()

    async def _drain(self, socket: ResilientSocket, nursery: trio.Nursery, all_sent: trio.Event) -> None:
        """Let everything be delivered, with good servers."""
        self.program.calm = True
        self.rivals.cancel()
        await self.world.heal()
        nursery.start_soon(self.program.run_receiver)
        with trio.move_on_after(_DRAIN) as patience:
            try:
                await all_sent.wait()
                await socket.wait_delivered()
            except (SocketClosedError, GaveUpError) as error:
                self.watch.note_over(error)
                return
        figures = socket.statistics()
        self.findings.check(not patience.cancelled_caught, "not everything is delivered, with good servers")
        self.findings.check(figures.waiting == figures.unconfirmed == 0, "wait_delivered() returned too early")
        self.has_drained = not patience.cancelled_caught
        self.findings.count("drained")

    async def _hear_reports(self, reports: Listener[UndeliveredEvent]) -> None:
        async for event in reports:
            self.ledger.report(event)
            self.program.poke("on_undelivered", may_raise=False)

    async def _run_rivals(self) -> None:
        with self.rivals:
            async with trio.open_nursery() as nursery:
                for _ in range(self.plan.rivals):
                    nursery.start_soon(self._run_rival)

    async def _run_rival(self) -> None:
        """Open other sockets in the manager, for a while each."""
        manager = self.program.manager
        assert manager is not None
        while True:
            try:
                async with connect_socket("ws://rival.test/", manager=manager, close_timeout=0.2, timeout=1.0):
                    await trio.sleep(self.dice.random() * self.plan.seconds)
                self.program.poke("rival", may_raise=False)  # in the instant in which there is room
            except (SocketLimitError, ConnectError, SocketClosedError):
                pass
            if isinstance(self.plan.policy, Coexist) and self.plan.policy.limit is not None:
                self.findings.check(len(manager.sockets) <= self.plan.policy.limit, "more sockets than the limit")
            await trio.sleep(self.dice.choice((0.0, 0.5, self.dice.random() * self.plan.seconds)))
