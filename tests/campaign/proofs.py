"""What proves that a message was delivered: one entry for each way that an outbox knows."""

from __future__ import annotations

import random
from typing import Literal, final

import attrs

from trio_socket_task import Acknowledgement

from .server import acknowledged_name, name_of


@final
@attrs.frozen
class Proof:
    """A way to prove delivery."""

    name: str
    proof: Literal["pong", "written"] | Acknowledgement = attrs.field(repr=False)
    """What `Outbox` is given for it."""

    def on_written(self, name: str, proved: set[str]) -> None:
        """Note that a message was written whole."""
        if self.proof == "written" or (isinstance(self.proof, Acknowledgement) and not has_id(name)):
            proved.add(name)

    def on_read(self, name: str, proved: set[str]) -> None:
        """Note that a server has read a message, of which a pong tells."""
        if self.proof == "pong":
            proved.add(name)

    def on_acknowledged(self, name: str, before: set[str], proved: set[str]) -> None:
        """Note that a server acknowledges a message, and perhaps all that were sent before it."""
        if isinstance(self.proof, Acknowledgement) and has_id(name):
            proved.add(name)
            if self.proof.cumulative:
                proved.update(before)


def has_id(name: str) -> bool:
    """Whether a message has an id, by the program's own function: some have none, for some the function raises."""
    number = int(name.rsplit(".", 1)[1])
    return number % 5 != 4 and number % 7 != 6


def _id_of_sent(data: str | bytes) -> str | None:
    name = name_of(data)
    if has_id(name):
        return name
    if name.endswith("4"):
        return None
    raise ValueError(name)


PROOFS = (
    *[Proof("a pong", "pong")] * 4,
    *[Proof("being written", "written")] * 2,
    Proof("an acknowledgement", Acknowledgement(sent=_id_of_sent, received=acknowledged_name)),
    Proof(
        "a cumulative acknowledgement",
        Acknowledgement(sent=_id_of_sent, received=acknowledged_name, cumulative=True),
    ),
)


def draw_proof(dice: random.Random) -> Proof:
    """Draw one."""
    return dice.choice(PROOFS)
