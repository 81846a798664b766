"""Runs seeds of all parts over several processes, and says what they found."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import final

import attrs

from . import cuts, dialect, races, resilient_sockets
from .findings import Findings

_MOST_SHOWN = 10  # bad seeds of a part that are shown each
_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


@final
@attrs.frozen
class Part:
    """One part of the campaign."""

    title: str
    run: Callable[[int], Findings]
    share: float
    """How many seeds it runs for each of part a."""
    most: int | None = None
    """How many seeds there are, where that is a limit."""

    def seeds(self, number: int) -> int:
        """Return how many seeds it runs when part a runs so many."""
        return min(max(1, round(number * self.share)), self.most or 10**9)


PARTS: Mapping[str, Part] = {
    "a": Part("resilient sockets under random faults", resilient_sockets.run, 1.0),
    "b": Part("a conversation cut at every byte", cuts.run, cuts.CASES / 10_000, cuts.CASES),
    "c": Part("tasks that race", races.run, 0.5),
    "d": Part("the dialect with hostile calls", dialect.run, 0.2),
}


def run_one(part: str, seed: int) -> Findings:
    """Run one seed of a part."""
    logging.getLogger("trio_socket_task").setLevel(logging.CRITICAL)  # thousands of runs warn of what they are made for
    findings = PARTS[part].run(seed)
    findings.count("runs")
    return findings


def _run_job(job: tuple[str, int]) -> Findings:
    findings = run_one(*job)
    findings.trace.clear()  # the seed shows it again
    return findings


@final
@attrs.define(eq=False)
class Report:
    """What all runs have found."""

    figures: defaultdict[str, Counter[str]] = attrs.field(factory=lambda: defaultdict(Counter))
    problems: defaultdict[str, dict[str, list[int]]] = attrs.field(factory=lambda: defaultdict(dict))
    bad: Counter[str] = attrs.field(factory=Counter)

    @property
    def runs(self) -> int:
        """How many runs there have been."""
        return sum(figures["runs"] for figures in self.figures.values())

    def add(self, findings: Findings) -> None:
        """Add the findings of a run, and show them where something was wrong."""
        part = findings.part
        self.figures[part].update(findings.figures)
        if not findings.problems:
            return
        self.bad[part] += 1
        for problem in findings.problems:
            self.problems[part].setdefault(_NUMBER.sub("#", problem)[:150], []).append(findings.seed)
        if self.bad[part] <= _MOST_SHOWN:
            show(findings)

    def print(self, parts: Sequence[str]) -> None:
        """Print the counts of each part."""
        for part in parts:
            figures = dict(self.figures[part])
            print(f"\n{part}  {PARTS[part].title}: {figures.pop('runs', 0)} runs, {self.bad[part]} bad")
            print("   " + ", ".join(f"{number} {name}" for name, number in sorted(figures.items())))
            for problem, seeds in sorted(self.problems[part].items(), key=lambda item: -len(item[1])):
                few = ", ".join(map(str, sorted(set(seeds))[:5]))
                print(f"   {len(seeds)} x {problem} (seeds {few}{', ...' if len(set(seeds)) > 5 else ''})")


def show(findings: Findings, *, trace: bool = False) -> None:
    """Print the findings of one run, and how to see them again."""
    if trace:
        print("\n".join(findings.trace))
    print(f"\n{findings.part} seed {findings.seed}: {'bad' if findings.problems else 'good'}")
    for problem in findings.problems:
        print(f"   {problem}")
    if not trace:
        print(f"   again: nox -s campaign -- --part {findings.part} --seed {findings.seed} --trace")


def run_many(jobs: Sequence[tuple[str, int]], processes: int, seconds: float | None) -> Report:
    """Run jobs, each a part and a seed, until they are done or the time is up."""
    report = Report()
    deadline = None if seconds is None else time.monotonic() + seconds
    for findings in _results(jobs, processes):
        report.add(findings)
        if deadline is not None and time.monotonic() > deadline:
            print(f"\nthe {seconds:g} seconds are over")
            break
    return report


def _results(jobs: Sequence[tuple[str, int]], processes: int) -> Iterator[Findings]:
    if processes == 1:
        yield from map(_run_job, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_run_job, jobs, chunksize=4)


def plan_jobs(parts: Sequence[str], number: int, first: int) -> list[tuple[str, int]]:
    """Return the jobs of some parts, mixed, so that a run that is stopped has seen something of each."""
    counts = {part: PARTS[part].seeds(number) if len(parts) > 1 else number for part in parts}
    jobs = [(seed / counts[part], part, first + seed) for part in parts for seed in range(counts[part])]
    return [(part, seed) for _, part, seed in sorted(jobs)]


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
