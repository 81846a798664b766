"""What proves that a message was delivered: one entry for each way that an outbox knows."""

from __future__ import annotations

import random
from typing import final

import attrs


@final
@attrs.frozen
class Proof:
    """A way to prove delivery."""

    name: str

    def options(self) -> dict[str, object]:
        """Return what `Outbox` is given for it."""
        return {}

    def on_written(self, name: str, proved: set[str]) -> None:
        """Note that a message was written whole."""

    def on_read(self, name: str, proved: set[str]) -> None:
        """Note that a server has read a message."""
        proved.add(name)


PROOFS = (Proof("pong"),)


def draw_proof(dice: random.Random) -> Proof:
    """Draw one."""
    return dice.choice(PROOFS)
