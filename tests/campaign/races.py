"""Part c: tasks that race on sockets and on their manager, in memory, over TCP and over TLS."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import final

import attrs
import trio

from trio_socket_task import (
    Coexist,
    CoexistencePolicy,
    ConnectError,
    ConnectOptions,
    PerMessageDeflate,
    ReadyState,
    ReplacePrevious,
    SocketClosedError,
    SocketLimitError,
    SocketManager,
    SocketTask,
    connect_socket,
    open_socket_manager,
)
from trio_socket_task.testing import SocketServer, open_memory_server, open_test_server

from .deflate_server import DeflateServer, open_deflate_server
from .findings import Findings
from .race_server import RaceServer
from .racers import Racers
from .seeded import run_seeded

_PATIENCE = 60.0
"""Seconds for what takes milliseconds, or waits for some close timeouts of virtual time."""
_COMPRESS = 0.4
"""How many of the races have compression."""
_TRANSPORTS = ("memory", "memory", "memory", "tcp", "tls")


def run(seed: int) -> Findings:
    """Run one seed."""
    findings = Findings("c", seed)
    transport = _TRANSPORTS[seed % len(_TRANSPORTS)]
    run_seeded(partial(_run, transport=transport), findings, virtual=transport == "memory")
    return findings


async def _run(dice: random.Random, findings: Findings, *, transport: str) -> None:
    with trio.move_on_after(_PATIENCE) as patience:
        server = RaceServer(dice, findings, waits=transport == "memory")
        block: AbstractAsyncContextManager[SocketServer | DeflateServer]
        compresses = dice.random() < _COMPRESS
        if compresses:
            findings.count("with compression")
            block = open_deflate_server(server.serve, transport)
        elif transport == "memory":
            block = open_memory_server(server.serve)
        else:
            block = open_test_server(server.serve, tls=transport == "tls")
        async with block as kit:
            await _Race(dice, findings, server, kit, waits=transport == "memory", compresses=compresses).run()
    findings.check(not patience.cancelled_caught, "it hangs")


@final
@attrs.define(eq=False)
class _Race:
    """One race."""

    dice: random.Random
    findings: Findings
    server: RaceServer
    kit: SocketServer | DeflateServer
    waits: bool
    """Whether time is virtual, so that there is no harm in waiting."""
    compresses: bool
    made: int = 0
    all: list[Racers] = attrs.field(factory=list)
    policy: CoexistencePolicy = attrs.field(init=False)

    async def run(self) -> None:
        """Open sockets in several tasks, and let tasks race on each; then judge."""
        self.policy = self.dice.choice((Coexist(), Coexist(1), Coexist(2), Coexist(None), ReplacePrevious()))
        self.findings.note(f"{self.policy}")
        outer = trio.CancelScope()
        with outer:
            async with open_socket_manager(
                self.policy, dial=self.kit.dial, ssl_context=self.kit.ssl_context, close_timeout=2.0
            ) as manager:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, manager, nursery.cancel_scope)
                    if self.dice.random() < 0.2:
                        nursery.start_soon(self._cancel_late, outer)
                    async with trio.open_nursery() as openers:
                        for _ in range(self.dice.randint(1, 3)):
                            openers.start_soon(self._open_some, manager)
                    nursery.cancel_scope.cancel()
        self.findings.check(not manager.sockets, "sockets are left")
        total = manager.statistics()
        for name in ("messages_sent", "messages_received", "bytes_sent", "bytes_received"):
            expected = sum(getattr(racers.task.statistics(), name) for racers in self.all)
            self.findings.check(getattr(total, name) == expected, f"the manager's {name} is not its sockets' sum")
        for racers in self.all:
            racers.judge(self.server.seen.get(racers.path))

    async def _cancel_late(self, scope: trio.CancelScope) -> None:
        await self._pause(300)
        self.findings.note("cancelled")
        scope.cancel()

    async def _watch(self, manager: SocketManager, _scope: trio.CancelScope) -> None:
        while True:
            self._look(manager)
            await self._pause(20)

    def _look(self, manager: SocketManager) -> None:
        sockets = manager.sockets
        self.findings.check(
            all(task.ready_state is not ReadyState.CLOSED for task in sockets), "a CLOSED socket counts"
        )
        if isinstance(self.policy, ReplacePrevious):
            up = [task for task in sockets if task.header]
            self.findings.check(len(up) <= 1, "two connections are up at once")
        elif self.policy.limit is not None:
            self.findings.check(len(sockets) <= self.policy.limit, "more sockets than the limit")

    async def _pause(self, most: int) -> None:
        """Let others run."""
        if self.waits and self.dice.random() < 0.2:
            await trio.sleep(self.dice.choice((0.001, 0.01, 0.2)))
        for _ in range(self.dice.randint(0, most)):
            await trio.lowlevel.checkpoint()

    async def _open_some(self, manager: SocketManager) -> None:
        for _ in range(self.dice.randint(1, 3)):
            self.made += 1
            path = f"/{self.made}"
            url = self.kit.url.rstrip("/") + path
            options = ConnectOptions(
                send_buffer=self.dice.choice((1, 2000, 2**20)), receive_buffer=self.dice.choice((1, 3000, 2**24))
            )
            if self.compresses:
                options["per_message_deflate"] = PerMessageDeflate(threshold=self.dice.choice((0, 64)))
            before = len(manager.sockets)
            try:
                if self.dice.random() < 0.5:
                    await self._race(manager.connect_socket(url, **options), path, closes=True)
                else:
                    async with connect_socket(url, manager=manager, **options) as task:
                        await self._race(task, path, closes=self.dice.random() < 0.5)
            except SocketLimitError:
                limit = self.policy.limit if isinstance(self.policy, Coexist) else None
                self.findings.check(before == limit, "SocketLimitError below the limit")
                self.findings.count("refused by the limit")
            except (ConnectError, SocketClosedError) as error:
                self._judge_opening(path, error)
            self._look(manager)
            await self._pause(10)

    async def _race(self, task: SocketTask, path: str, *, closes: bool) -> None:
        racers = Racers(task, path, self.dice, self.findings, waits=self.waits)
        self.all.append(racers)
        await racers.run(closes=closes)

    def _judge_opening(self, path: str, error: Exception) -> None:
        self.findings.note(f"{error!r}")
        seen = self.server.seen.get(path)
        if isinstance(error, SocketClosedError):
            self.findings.check(isinstance(self.policy, ReplacePrevious), f"nobody closed it, and {error!r}")
        else:
            self.findings.check(seen is not None and seen.fate == "reject", f"a good server, and {error!r}")
