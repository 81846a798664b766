"""Measure every client against the same server: ``python run.py [--rounds 5] [--only flood] [--check]``.

Each client has a process of its own, the server another. A scenario goes round by round, A B C A B C, so that what the
machine does to one it does to all; only ratios within one run mean anything. The harness fails where a client cannot be
run, or where a payload comes back wrong.

Every scenario of small messages is measured in both placements: client and server sharing one processor, and apart.
Which of them a program lives in is not known here, so nothing is shown in one alone but memory, and messages of 1 MB,
whose server has a processor of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import trustme
from catalogue import APART, SCENARIOS, SHARING
from clients import versions
from goals import GOALS, OURS, Goal, Results, named, ratio
from interfaces import INTERFACES
from scenarios import Figures

HERE = Path(__file__).parent
NEAR, FAR = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
"""The processor that clients and server share, and that of the server where it is apart."""
KEEP_MEMORY = {f"MALLOC_{name}_": str(32 * 2**20) for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD")}


class Worker:
    """A client's process."""

    def __init__(self, name: str, ports: str, certificate: Path, settings: dict[str, str]) -> None:
        command = [sys.executable, str(HERE / "worker.py"), name, ports, str(certificate), str(NEAR)]
        environment = {**os.environ, **settings}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._name = name

    def measure(self, scenario: str, place: str) -> Figures:
        """Run a scenario once, against the server in that place."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([scenario, place]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} could not be measured in {scenario!r}, {place}; its words are above")
        figures: Figures = json.loads(line)
        return figures

    def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a server where the clients are and one apart from them; give their ports and the certificate to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    ports = {}
    with ExitStack() as stack:
        for place, processor in ((SHARING, NEAR), (APART, FAR)):
            command = [sys.executable, str(HERE / "server.py"), str(folder / "server.pem"), str(processor)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdin is not None
            assert process.stdout is not None
            stack.enter_context(process)
            stack.callback(process.stdin.close)
            ports[place] = json.loads(process.stdout.readline())
        yield json.dumps(ports), folder / "authority.pem"


def wanted(only: str) -> list[tuple[str, str]]:
    """Give the scenarios with their placements whose names match."""
    return [
        (name, place) for name, of in SCENARIOS.items() for place in of.places if re.search(only, named(name, place))
    ]


def measure(rounds: int, only: str, settings: dict[str, str]) -> Results:
    """Measure everybody, with variables of the environment that are the same for all."""
    results: Results = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (ports, certificate), ExitStack() as stack:

        def worker(name: str) -> Worker:
            made = Worker(name, ports, certificate, settings)
            stack.callback(made.stop)
            return made

        workers: dict[str, Worker] = {}
        for scenario, place in wanted(only):
            started, of = time.monotonic(), SCENARIOS[scenario]
            taken = results[named(scenario, place)] = {name: [] for name in of.clients()}
            for _ in range(min(rounds, of.rounds)):
                for name, figures in taken.items():
                    if of.fresh or name not in workers:
                        workers[name] = worker(name)
                    figures.append(workers[name].measure(scenario, place))
                    if of.fresh:
                        workers.pop(name).stop()
            print(f"{named(scenario, place)}: {time.monotonic() - started:.0f} s", file=sys.stderr)
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


def show(results: Results) -> None:
    """Print a table for each scenario."""
    for scenario, clients in medians(results).items():
        print(f"\n{scenario}")
        for name, figures in clients.items():
            shown = "  ".join(f"{figure} {value:,.1f}" for figure, value in figures.items())
            main = next(iter(figures))
            print(f"  {name:20} {shown}  ({compare(results, scenario, name, main):.2f} x)")
    print(f"\n(n x): the {OURS} figure divided by that client's")


def compare(results: Results, scenario: str, peer: str, figure: str, client: str = OURS) -> float:
    """Give the median of the ratios of each round."""
    return ratio(results, Goal(scenario, peer, 0, figure, client), figure)


def ratios(results: Results) -> dict[str, dict[str, float]]:
    """Give this package divided by each client, by scenario and figure; its other interfaces as rows of their own."""
    found = {}
    for scenario, clients in results.items():
        for figure in SCENARIOS[scenario.rpartition(", ")[0]].figures:
            for client in (name for name in clients if name == OURS or name in INTERFACES):
                row = scenario if figure == "rate" else f"{scenario}, {figure}"
                row = row if client == OURS else f"{row}: {client}"
                peers = (name for name, of in clients.items() if name not in INTERFACES and figure in of[0])
                found[row] = {peer: compare(results, scenario, peer, figure, client) for peer in peers}
    return found


def judge(results: Results, only: str) -> list[tuple[bool, str]]:
    """Give how the goals stand, of all that was to be measured: whether each is met, and the words for it."""
    return [goal.judge(results) for goal in GOALS if all(re.search(only, name) for name in goal.scenarios())]


def as_json(results: Results, rounds: int) -> str:
    """Give all that the documentation shows."""
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.platform(),
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "rounds": rounds,
        "versions": versions(),
    }
    found = {"about": about, "goals": judge(results, ""), "ratios": ratios(results), "medians": medians(results)}
    return json.dumps(found, indent=1) + "\n"


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure WebSocket clients against one another.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a pattern in the names of scenarios, such as 'flood 64 B|sharing'")
    parser.add_argument("--check", action="store_true", help="fail where a goal is missed")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let no client give memory back to the system (glibc's settings)"
    )
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    results = measure(arguments.rounds, arguments.only, KEEP_MEMORY if arguments.keep_memory else {})
    show(results)
    verdicts = judge(results, arguments.only)
    if arguments.check:
        for met, words in verdicts:
            print(f"{'met   ' if met else 'MISSED'} {words}")
    if arguments.output is not None:
        arguments.output.write_text(as_json(results, arguments.rounds), encoding="utf-8")
    return int(arguments.check and not all(met for met, _ in verdicts))


if __name__ == "__main__":
    sys.exit(main())
