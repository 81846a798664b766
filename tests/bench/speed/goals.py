"""What is wanted of the results: ratios within one run, and a few figures that mean something by themselves."""

from __future__ import annotations

from statistics import median
from typing import Final

import attrs
from catalogue import APART, BOTH, SHARING
from scenarios import Figures

OURS = "trio-socket-task"
Results = dict[str, dict[str, list[Figures]]]
"""By scenario with its placement, and client, the figures of each round."""


def named(scenario: str, place: str) -> str:
    """Give the name of a scenario with its placement."""
    return f"{scenario}, {place}"


@attrs.frozen
class Goal:
    """What is wanted of a figure: at least so many times the peer's, or at most where lower is better."""

    scenario: str
    """Its name with the placement."""
    peer: str
    """With whom `client` is compared; none: the figure itself is what is wanted."""
    wanted: float
    figure: str = "rate"
    client: str = OURS
    beside: str = ""
    """Another scenario that the peer's figure is of."""

    def scenarios(self) -> list[str]:
        """Give what has to be measured."""
        return [self.scenario, self.beside or self.scenario]

    def measured(self, results: Results) -> float:
        """Give what is compared with what is wanted."""
        if not self.peer:
            return median(one[self.figure] for one in results[self.scenario][self.client])
        return ratio(results, self, self.figure)

    def judge(self, results: Results) -> tuple[bool, str]:
        """Tell whether it is met, and the words for it."""
        lower = self.figure != "rate"
        whose = "" if self.client == OURS else f" ({self.client})"
        than = f" x {self.peer}" if self.peer else " kB" if self.figure == "kilobytes" else " microseconds"
        at = f" at {self.beside}" if self.beside else ""
        subject = f"{self.scenario}{whose}, {self.figure}"
        wanted = f"wanted {'<=' if lower else '>='} {self.wanted:g}"
        if not all(name in results for name in self.scenarios()):
            return False, f"{subject}: not measured, {wanted}{than}{at}"
        found = self.measured(results)
        is_met = found <= self.wanted if lower else found >= self.wanted
        return is_met, f"{subject}: {found:.2f}{than}{at}, {wanted}"


def ratio(results: Results, goal: Goal, figure: str) -> float:
    """Compare a client with a peer: the median of the ratios of each round; of two scenarios, that of the medians."""
    ours, theirs = results[goal.scenario][goal.client], results[goal.beside or goal.scenario][goal.peer]
    if goal.beside:
        return median(one[figure] for one in ours) / median(one[figure] for one in theirs)
    return median(mine[figure] / others[figure] for mine, others in zip(ours, theirs, strict=True))


def both(scenario: str, peer: str, wanted: float, figure: str = "rate", **more: str) -> list[Goal]:
    """Want the same in both placements."""
    if "beside" in more:
        return [
            Goal(named(scenario, place), peer, wanted, figure, beside=named(more["beside"], place))
            for place in (SHARING, APART)
        ]
    return [Goal(named(scenario, place), peer, wanted, figure, **more) for place in (SHARING, APART)]


BULK: Final = BOTH[-1]
GOALS: Final = [
    # One socket that is always busy.
    Goal(named("echo 64 B", SHARING), "websockets.trio", 2.2),
    Goal(named("echo 64 B", SHARING), "raw Trio TCP", 0.85),
    Goal(named("echo 64 B", SHARING), "aiohttp", 0.9),
    Goal(named("echo 64 B", SHARING), "websockets.trio", 2.6),  # with a look before it waits
    Goal(named("echo 64 B", SHARING), "raw Trio TCP", 1.05),
    Goal(named("echo 64 B", APART), "websockets.trio", 2.0),
    Goal(named("echo 64 B", APART), "raw Trio TCP", 1.0),
    Goal(named("echo 64 B", APART), "picows on uvloop", 1.5),
    Goal(named("flood 64 B", SHARING), "websockets.trio", 6.0),
    Goal(named("flood 64 B", SHARING), "aiohttp", 1.0),
    Goal(named("sink 64 B", SHARING), "websockets.trio", 5.0),
    Goal(named("sink 64 B", SHARING), "aiohttp", 1.0),
    Goal(named("echo 1 MB", BULK), "websockets.trio", 1.3),
    Goal(named("flood 1 MB", BULK), "websockets.trio", 1.3),
    Goal(named("sink 1 MB", BULK), "websockets.trio", 1.3),
    Goal(named("TLS echo 64 B", SHARING), "websockets.trio", 1.5),
    Goal(named("open and close", SHARING), "websockets.trio", 1.2),
    Goal(named("idle sockets", SHARING), "websockets.trio", 0.6, "kilobytes"),
    # Compressed.
    *both("deflate echo 500 B", "websockets.trio", 2.0),
    *both("deflate echo 500 B", "websockets.asyncio", 1.0),
    *both("deflate echo 500 B", "aiohttp", 1.0),
    *both("deflate flood 500 B", "websockets.trio", 3.0),
    Goal(named("deflate echo 1 MB", BULK), "websockets.trio", 1.2),
    # More than one, and now and then.
    *both("five sockets echo", "websockets.trio", 2.0),
    *both("1000 sockets", "websockets.trio", 0.45, "sporadic"),
    *both("1000 sockets", "aiohttp", 1.3, "sporadic"),
    *both("1000 sockets", "websockets.trio", 0.5, "push"),
    *both("1000 heartbeats", "", 120, "beat"),
    *both("1000 heartbeats", "websockets.trio", 0.5, "beat"),
    *both("5000 sockets", OURS, 1.5, "opening", beside="100 sockets"),
    *both("5000 sockets", OURS, 1.5, "echo at once", beside="100 sockets"),
    # The other interfaces.
    *both("flood 64 B", OURS, 0.7, client="on_message()"),
    *both("echo 64 B", OURS, 0.85, client="resilient"),
    *both("sink 64 B", OURS, 0.5, client="resilient"),
    Goal(named("idle sockets", SHARING), "", 22 * 1.024, "kilobytes", client="resilient"),
    *both("echo 64 B", OURS, 0.7, client="dialect"),
]
