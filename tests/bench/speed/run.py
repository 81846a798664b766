"""Measure every client against the same server: ``python run.py [--rounds 5] [--only flood] [--check]``.

Each client has a process of its own, the server another. A scenario goes round by round, A B C A B C, so that what the
machine does to one it does to all; only ratios within one run mean anything. The harness fails where a client cannot be
run, or where a payload comes back wrong.

Client and server share one processor, but for messages of 1 MB. On a virtual machine it costs more than a whole echo to
wake a processor that sleeps, and how often that happens depends on what else the machine does: measured across
processors, the same client is at 15 000 or at 35 000 echoes a second, and all clients look alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import attrs
import trustme
from clients import CLIENTS, versions
from scenarios import FRESH, LIMITS, SCENARIOS, Figures

HERE = Path(__file__).parent
NEAR, FAR = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
"""The processor that clients and server share, and that of the server where it has its own."""
OURS = "trio-socket-task"
KEEP_MEMORY = {f"MALLOC_{name}_": str(32 * 2**20) for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD")}
LOWER_IS_BETTER = {"p50", "p99", "kilobytes", "cpu", "cpu seconds", "peak megabytes"}


@attrs.frozen
class Goal:
    """What is wanted of a ratio: at least so many times the peer's figure, or at most where lower is better."""

    scenario: str
    peer: str
    ratio: float
    figure: str = "rate"

    def is_met(self, ratio: float) -> bool:
        """Judge."""
        return ratio <= self.ratio if self.figure in LOWER_IS_BETTER else ratio >= self.ratio


GOALS: Final = [
    Goal("echo 64 B", "websockets.trio", 2.2),
    Goal("echo 64 B", "raw Trio TCP", 0.85),
    Goal("echo 64 B", "aiohttp", 0.9),
    Goal("flood 64 B", "websockets.trio", 6.0),
    Goal("flood 64 B", "aiohttp", 1.0),
    Goal("sink 64 B", "websockets.trio", 5.0),
    Goal("sink 64 B", "aiohttp", 1.0),
    Goal("echo 1 MB", "websockets.trio", 1.3),
    Goal("flood 1 MB", "websockets.trio", 1.3),
    Goal("sink 1 MB", "websockets.trio", 1.3),
    Goal("TLS echo 64 B", "websockets.trio", 1.5),
    Goal("idle sockets", "websockets.trio", 0.6, "kilobytes"),
    Goal("open and close", "websockets.trio", 1.2),
]

Results = dict[str, dict[str, list[Figures]]]
"""By scenario and client, the figures of each round."""


class Worker:
    """A client's process."""

    def __init__(self, name: str, ports: str, certificate: Path, settings: dict[str, str]) -> None:
        command = [sys.executable, str(HERE / "worker.py"), name, ports, str(certificate), str(NEAR)]
        environment = {**os.environ, **settings}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._name = name

    def measure(self, scenario: str) -> Figures:
        """Run a scenario once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(scenario) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} could not be measured in {scenario!r}; its words are above")
        figures: Figures = json.loads(line)
        return figures

    def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a server near the clients and one far from them; give their ports and the certificate to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    ports = {}
    with ExitStack() as stack:
        for place, processor in (("near", NEAR), ("far", FAR)):
            command = [sys.executable, str(HERE / "server.py"), str(folder / "server.pem"), str(processor)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdin is not None
            assert process.stdout is not None
            stack.enter_context(process)
            stack.callback(process.stdin.close)
            ports[place] = json.loads(process.stdout.readline())
        yield json.dumps(ports), folder / "authority.pem"


def measure(rounds: int, only: str, settings: dict[str, str]) -> Results:
    """Measure everybody, with variables of the environment that are the same for all."""
    results: Results = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (ports, certificate), ExitStack() as stack:

        def worker(name: str) -> Worker:
            made = Worker(name, ports, certificate, settings)
            stack.callback(made.stop)
            return made

        workers = {name: worker(name) for name in CLIENTS}
        for scenario in (name for name in SCENARIOS if only in name):
            print(f"{scenario} ...", file=sys.stderr)
            takes_part = [name for name in workers if not name.startswith("raw") or scenario in LIMITS]
            results[scenario] = {name: [] for name in takes_part}
            for _ in range(rounds):
                for name in takes_part:
                    one = worker(name) if scenario in FRESH else workers[name]
                    results[scenario][name].append(one.measure(scenario))
                    if one is not workers[name]:
                        one.stop()
    return results


def medians(results: Results) -> dict[str, dict[str, Figures]]:
    """Give each figure's median."""
    return {
        scenario: {
            name: {figure: median(one[figure] for one in rounds) for figure in rounds[0]}
            for name, rounds in clients.items()
        }
        for scenario, clients in results.items()
    }


def ratio(results: Results, scenario: str, peer: str, figure: str) -> float:
    """Compare this package with a peer: the median of the ratios of each round."""
    pairs = zip(results[scenario][OURS], results[scenario][peer], strict=True)
    return median(ours[figure] / theirs[figure] for ours, theirs in pairs)


def show(results: Results) -> None:
    """Print a table for each scenario."""
    for scenario, clients in medians(results).items():
        print(f"\n{scenario}")
        for name, figures in clients.items():
            shown = "  ".join(f"{figure} {value:,.1f}" for figure, value in figures.items())
            main = next(iter(figures))
            print(f"  {name:20} {shown}  ({ratio(results, scenario, name, main):.2f} x)")
    print(f"\n(n x): the {OURS} figure divided by that client's")


def judge(results: Results) -> list[tuple[bool, str]]:
    """Give how the goals stand: whether each is met, and the words for it."""
    verdicts = []
    for goal in (goal for goal in GOALS if goal.scenario in results):
        reached = ratio(results, goal.scenario, goal.peer, goal.figure)
        sign = "<=" if goal.figure in LOWER_IS_BETTER else ">="
        words = f"{goal.scenario}, {goal.figure}: {reached:.2f} x {goal.peer}, wanted {sign} {goal.ratio}"
        verdicts.append((goal.is_met(reached), words))
    return verdicts


def as_json(results: Results, rounds: int) -> str:
    """Give all that the documentation shows."""
    ratios = {
        scenario: {name: ratio(results, scenario, name, next(iter(figures[0]))) for name, figures in clients.items()}
        for scenario, clients in results.items()
    }
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.platform(),
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "rounds": rounds,
        "versions": versions(),
    }
    found = {"about": about, "goals": judge(results), "ratios": ratios, "medians": medians(results)}
    return json.dumps(found, indent=1) + "\n"


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure WebSocket clients against one another.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the names of scenarios")
    parser.add_argument("--check", action="store_true", help="fail where a goal is missed")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let no client give memory back to the system (glibc's settings)"
    )
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    results = measure(arguments.rounds, arguments.only, KEEP_MEMORY if arguments.keep_memory else {})
    show(results)
    verdicts = judge(results)
    if arguments.check:
        for met, words in verdicts:
            print(f"{'met   ' if met else 'MISSED'} {words}")
    if arguments.output is not None:
        arguments.output.write_text(as_json(results, arguments.rounds), encoding="utf-8")
    return int(arguments.check and not all(met for met, _ in verdicts))


if __name__ == "__main__":
    sys.exit(main())
