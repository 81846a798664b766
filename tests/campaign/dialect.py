"""Part d: the mini-program dialect under hostile calls, in virtual time."""

from __future__ import annotations

import logging
import random
from typing import final

import attrs
import trio

from trio_socket_task.miniprogram import MiniProgram, open_mini_program

from .dialect_calls import Calls
from .dialect_ledger import DialectLedger
from .findings import Findings
from .seeded import run_seeded
from .world import World

_LIBRARIES = (("wx", None), ("qq", None), ("wx", "1.4.4"), ("wx", "1.5.0"))


def run(seed: int) -> Findings:
    """Run one seed."""
    findings = Findings("d", seed)
    logging.getLogger("trio_socket_task.miniprogram").disabled = True  # what callbacks raise is logged, at length
    run_seeded(_run, findings, virtual=True)
    return findings


class BodyError(Exception):
    """What the body of the block raises."""


@final
@attrs.frozen(kw_only=True)
class _Plan:
    """What a program does."""

    vendor: str
    base_library: str | None
    close_timeout: float
    timeout: float
    send_buffer: int
    receive_buffer: int
    tells_close: bool
    actors: int
    calls: int
    end: str
    good_servers: float


def _draw(dice: random.Random) -> _Plan:
    vendor, base_library = dice.choice(_LIBRARIES)
    return _Plan(
        vendor=vendor,
        base_library=base_library,
        close_timeout=dice.choice((0.5, 3.0)),
        timeout=dice.choice((1.0, 5.0)),
        send_buffer=dice.choice((1, 500, 2**20)),
        receive_buffer=dice.choice((1, 2000, 2**24)),
        tells_close=dice.random() < 0.7,
        actors=dice.randint(1, 3),
        calls=dice.choice((3, 10, 30)),
        end=dice.choice(("leave", "leave", "leave", "wait", "cancel", "raise")),
        good_servers=dice.choice((0.2, 0.7)),
    )


async def _run(dice: random.Random, findings: Findings) -> None:
    plan, error = _draw(dice), BodyError()
    findings.note(f"{plan}")
    async with trio.open_nursery() as servers:
        ledger = DialectLedger(findings)
        calls = Calls(dice, ledger)
        world = World(findings, dice, servers, plan.good_servers, plan.close_timeout, ledger.read)

        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            await trio.sleep(dice.choice((0.0, 0.0, 0.1)))
            if dice.random() < 0.2:
                world.client_closes.set()  # which is also when servers reset what they do not read
            if dice.random() < 0.1:
                raise OSError("the network is down")
            return await world.connect()

        block = open_mini_program(
            plan.vendor,  # type: ignore[arg-type]
            base_library=plan.base_library,
            close_after_connect_error=plan.tells_close,
            dial=dial,
            timeout=plan.timeout,
            close_timeout=plan.close_timeout,
            send_buffer=plan.send_buffer,
            receive_buffer=plan.receive_buffer,
        )
        with trio.CancelScope() as scope:
            try:
                async with block as wx:
                    await _be_in_block(plan, calls, wx)
                    if plan.end == "wait":
                        with trio.move_on_after(20):
                            await wx.wait_closed()
                    ledger.begin_to_leave()
                    world.client_closes.set()
                    if plan.end == "cancel":
                        scope.cancel()
                    elif plan.end == "raise":
                        raise error
            except BodyError as caught:
                findings.check(caught is error, "another exception than the body's came out")
            else:
                findings.check(plan.end != "raise", "the body's exception was lost")
        orderly = plan.end in ("leave", "wait")
        ledger.check_left(plan.close_timeout if orderly else 0.3, orderly=orderly)
        for _ in range(5):
            calls.make()  # after the end
        await trio.sleep(1)
        ledger.judge(orderly=orderly, tells_close=plan.tells_close)
        servers.cancel_scope.cancel()
    world.check_streams()


async def _be_in_block(plan: _Plan, calls: Calls, wx: MiniProgram) -> None:
    calls.begin(wx, None if plan.base_library == "1.4.4" else 5)  # where a new one replaces them, old ones may close
    async with trio.open_nursery() as nursery:
        for _ in range(plan.actors):
            nursery.start_soon(calls.run_actor, plan.calls)
