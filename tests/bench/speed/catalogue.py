"""Everything that is measured, by the name that the goals, the charts and the command line know it by."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

import attrs
from clients import CLIENTS
from crowds import heartbeats, many
from interfaces import DIALECT, INTERFACES
from scenarios import (
    LARGE,
    SMALL,
    Measurement,
    deflate_echo,
    deflate_flood,
    echo,
    fairness,
    five_sockets,
    flood,
    idle,
    latency,
    open_and_close,
    raw_echo,
    sink,
    sink_from_20_tasks,
)

SHARING, APART = "sharing", "apart"
"""Client and server on one processor, or on processors of their own."""
BOTH: Final = (SHARING, APART) if len(os.sched_getaffinity(0)) > 1 else (SHARING,)
RAW: Final = "raw Trio TCP"


@attrs.frozen
class Scenario:
    """One thing that is measured, and who can do it."""

    measure: Measurement
    figures: tuple[str, ...] = ("rate",)
    """What of it is compared."""
    places: tuple[str, ...] = BOTH
    fresh: bool = False
    """Whether it wants a new process each round. What a process did before to its memory matters: what was freed is not
    counted again, and whether large blocks are given back to the system depends on the blocks that came before them.
    And of two processes that do the same, one opens sockets faster by some 8 %, as its hashes and addresses have it."""
    rounds: int = 5
    """How often it is measured at most: less, where a single measurement takes seconds."""
    raw: Measurement | None = None
    """What raw Trio TCP is measured with, where it can do the same."""
    interfaces: tuple[str, ...] = ()
    """The other interfaces of this package that do it as well."""
    without: tuple[str, ...] = ()
    """Clients that cannot do it, or not in a sensible time."""

    def clients(self) -> list[str]:
        """Give who is measured."""
        absent = (*self.without, *(() if self.raw else (RAW,)))
        return [*(name for name in CLIENTS if name not in absent), *self.interfaces]


def crowd(sockets: int, parts: tuple[str, ...], rounds: int) -> Scenario:
    """Make a scenario of many sockets."""
    raw = partial(many, sockets=sockets, parts=tuple(part for part in parts if part != "push"), server="raw")
    figures = (*parts, "echo at once", "opening")
    measure = partial(many, sockets=sockets, parts=parts)
    return Scenario(measure, figures, fresh=True, rounds=rounds, raw=raw, without=("httpx-ws",))


NOT_DEFLATING = ("trio-websocket", "httpx-ws", "picows on uvloop")
"""Clients that have no permessage-deflate; in picows a program may do it itself."""
SCENARIOS: Final[dict[str, Scenario]] = {
    "echo 64 B": Scenario(partial(echo, size=SMALL, count=100), raw=raw_echo, interfaces=tuple(INTERFACES)),
    "latency": Scenario(latency, ("p50", "p99"), rounds=3),
    "flood 64 B": Scenario(partial(flood, size=SMALL, count=10_000), interfaces=tuple(INTERFACES)),
    "sink 64 B": Scenario(partial(sink, size=SMALL, count=10_000), interfaces=("resilient", "dialect")),
    "sink 64 B, 20 tasks": Scenario(sink_from_20_tasks, rounds=3),
    "five sockets echo": Scenario(five_sockets),
    "100 sockets": crowd(100, ("sporadic", "push"), rounds=2),
    "1000 sockets": crowd(1000, ("sporadic", "push"), rounds=3),
    "5000 sockets": crowd(5000, (), rounds=1),
    "1000 heartbeats": Scenario(
        partial(heartbeats, sockets=1000),
        ("beat",),
        fresh=True,
        rounds=3,
        without=("trio-websocket", "httpx-ws"),  # no heartbeat, and too slow
    ),
    "echo 1 MB": Scenario(partial(echo, size=LARGE, count=5), places=BOTH[-1:], fresh=True),
    "flood 1 MB": Scenario(partial(flood, size=LARGE, count=200), places=BOTH[-1:], fresh=True),
    "sink 1 MB": Scenario(partial(sink, size=LARGE, count=200), places=BOTH[-1:], fresh=True),
    "TLS echo 64 B": Scenario(partial(echo, size=SMALL, count=100, server="tls")),
    "TLS flood 64 B": Scenario(partial(flood, size=SMALL, count=10_000, server="tls"), rounds=3),
    "TLS sink 64 B": Scenario(partial(sink, size=SMALL, count=10_000, server="tls"), rounds=3),
    "TLS echo 1 MB": Scenario(partial(echo, size=LARGE, count=5, server="tls"), places=BOTH[-1:], fresh=True, rounds=3),
    "open and close": Scenario(open_and_close, fresh=True),
    "TLS open and close": Scenario(partial(open_and_close, server="tls"), fresh=True, rounds=3),
    "idle sockets": Scenario(idle, ("kilobytes",), places=BOTH[:1], fresh=True, interfaces=("resilient",)),
    "deflate echo 500 B": Scenario(deflate_echo, without=NOT_DEFLATING),
    "deflate flood 500 B": Scenario(deflate_flood, without=NOT_DEFLATING),
    "deflate echo 1 MB": Scenario(
        partial(deflate_echo, size=LARGE), places=BOTH[-1:], fresh=True, without=NOT_DEFLATING
    ),
    "latency under a flood": Scenario(fairness, ("p50", "p99"), rounds=3),
}


def measurement(scenario: str, client: str) -> Measurement:
    """Give what a client is measured with."""
    of = SCENARIOS[scenario]
    if client == RAW:
        assert of.raw is not None
        return of.raw
    return DIALECT[scenario] if client == "dialect" else of.measure
