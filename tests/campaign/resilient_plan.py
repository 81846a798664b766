"""What a program does with a resilient socket, drawn at random."""

from __future__ import annotations

import random
from typing import Literal, final

import attrs

from trio_socket_task import (
    Coexist,
    CoexistencePolicy,
    ConnectOptions,
    Heartbeat,
    Outbox,
    PerMessageDeflate,
    ReplacePrevious,
)

from .proofs import Proof, draw_proof

DEFLATES = (
    PerMessageDeflate(threshold=0),
    PerMessageDeflate(),
    PerMessageDeflate(client_no_context_takeover=True, threshold=0),
)
"""What programs offer that compress."""
ENDS = ("leave", "leave", "close", "aclose", "cancel", "raise", "drain", "drain", "drain")
FUNCTIONS = ("target", "on_connected", "decide", "random", "dial", "on_state", "on_undelivered", "receiver", "rival")


@final
@attrs.frozen(kw_only=True)
class SenderPlan:
    """What one task sends."""

    number: int
    gap: float
    size: int
    nowait: bool
    patience: float | None
    """Seconds after which a send is cancelled."""


@final
@attrs.frozen(kw_only=True)
class ResilientPlan:
    """What a program does."""

    outbox: Outbox | None
    proof: Proof
    options: ConnectOptions
    initial: float
    useful_after: float
    retries: Literal["default", "always", "few"]
    asks_target: bool
    on_connected: str | None
    policy: CoexistencePolicy | None
    """Of the manager that it shares with other sockets, if it does."""
    rivals: int
    senders: tuple[SenderPlan, ...]
    receivers: int
    outlive: bool
    """Whether senders and receivers go on when the block has been left."""
    seconds: float
    """How long the block lasts."""
    end: str
    pokes: dict[str, float]
    """How often each of the program's functions calls back."""
    actions: int
    """How many things happen to the socket by the way."""
    with_kit: bool
    """Whether the server is the kit's."""
    good_servers: float
    """How many of the connections meet a good server."""

    @property
    def bound(self) -> float:
        """Seconds that an orderly end may take."""
        return 2 * self.options["close_timeout"] + 0.5


def draw_plan(dice: random.Random) -> ResilientPlan:
    """Draw what a program does."""
    outbox, proof = _draw_outbox(dice)
    policy = dice.choice((None, None, None, Coexist(1), Coexist(1), Coexist(2), Coexist(5), ReplacePrevious()))
    pokes = {name: dice.choice((0.02, 0.1, 0.5)) if dice.random() < 0.4 else 0.0 for name in FUNCTIONS}
    return ResilientPlan(
        outbox=outbox,
        proof=proof,
        options=_draw_options(dice),
        initial=dice.choice((0.01, 0.5, 5.0, 60.0)),
        useful_after=dice.choice((0.01, 5.0, 30.0)),
        retries=dice.choice(("default", "always", "always", "always", "few")),
        asks_target=dice.random() < 0.5,
        on_connected=dice.choice((None, None, "pass", "greet", "wait", "receive", "raise")),
        policy=policy,
        rivals=0 if policy is None else dice.randint(0, 2),
        senders=tuple(_draw_sender(dice) for _ in range(dice.randint(0, 4))),
        receivers=dice.choice((0, 1, 1, 2)),
        outlive=dice.random() < 0.5,
        seconds=dice.choice((0.0, 0.05, 1.0, 5.0, 20.0, 100.0)),
        end=dice.choice(ENDS),
        pokes=pokes,
        actions=dice.choice((0, 0, 1, 3, 8)),
        with_kit=dice.random() < 0.2,
        good_servers=dice.choice((0.0, 0.3, 0.7)),
    )


def _draw_outbox(dice: random.Random) -> tuple[Outbox | None, Proof]:
    proof = draw_proof(dice)
    if dice.random() < 0.08:
        return None, proof
    small = dice.random() < 0.4
    outbox = Outbox(
        max_messages=dice.choice((1, 2, 5, 20)) if small else 10_000,
        max_bytes=dice.choice((600, 3000)) if small else 2**24,
        when_full=dice.choice(("wait", "wait", "refuse", "drop_oldest")),
        max_age=dice.choice((0.01, 0.5, 5.0)) if dice.random() < 0.25 else None,
        resend=dice.random() < 0.5,
        proof=proof.proof,
    )
    return outbox, proof


def _draw_options(dice: random.Random) -> ConnectOptions:
    options = ConnectOptions(
        close_timeout=dice.choice((0.2, 0.2, 1.0, 10.0)),
        timeout=dice.choice((1.0, 10.0)),
        send_buffer=dice.choice((1, 300, 2**20)),
        receive_buffer=dice.choice((200, 2000, 2**24)),
    )
    beat = dice.random()
    if beat < 0.4:
        options["heartbeat"] = Heartbeat(interval=dice.choice((0.3, 2.0)), timeout=dice.choice((0.2, 3.0)))
    elif beat < 0.7:
        options["heartbeat"] = None
    if dice.random() < 0.15:
        options["receive_timeout"] = dice.choice((0.5, 10.0))
    if dice.random() < 0.4:
        options["per_message_deflate"] = dice.choice(DEFLATES)
    return options


def _draw_sender(dice: random.Random) -> SenderPlan:
    return SenderPlan(
        number=dice.choice((1, 5, 20, 60)),
        gap=dice.choice((0.0, 0.0, 0.01, 0.2, 2.0)),
        size=dice.choice((0, 10, 130, 500)),
        nowait=dice.random() < 0.25,
        patience=dice.choice((0.0, 0.001, 0.1)) if dice.random() < 0.3 else None,
    )
