"""Change a sample of the code, one place at a time, and see whether the tests notice: `nox -s mutants`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import tomllib
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path

from cosmic_ray.testing import TestOutcome, run_tests
from places import ROOT, Mutant, places

GOAL = 0.97
"""Share of the mutants that must be killed, or named as equivalent."""
TABLE = {
    "_protocol/_[!s]*": "protocol/test_* session/test_session",
    "_protocol/_state": "protocol/test_state session/test_session test_socket_task test_state_machine",
    "_session/*": "session/test_* test_socket_task test_manager test_memory",
    "_resilient/*": "*resilient/test_*",
}
"""Modules, in whatever folders, and the tests that are asked first about their mutants."""
PROCESSES = "cli/* testing/test_[!p]* campaign/* test_command_line test_life test_kit miniprogram/test_[!t]*"
PAGES = (
    "test_architecture test_contract test_diagrams test_docs test_list test_readme test_reference test_supply"
    " test_tutorial test_walk"
)
"""Tests that are never asked: they start processes or wait in real time, or are about pages. All others come second."""
SLOW = "not (test_e6 or thousand or herd or many_rounds)"
STALLED = 60
"""Seconds after which a test stands still, by the mutant's fault: those that are asked take less than ten."""
OPTIONS = (
    f"-k '{SLOW}' -x -q -p no:cacheprovider -o faulthandler_timeout={STALLED} -o faulthandler_exit_on_timeout=true"
)


def files(folder: str, patterns: str) -> list[Path]:
    """Give the files of patterns, each of which must match."""
    found = [sorted((ROOT / folder).rglob(f"{pattern}.py")) for pattern in patterns.split()]
    if not all(found):
        sys.exit(f"a pattern matches nothing in {folder}/ any more: {patterns}")
    return list(dict.fromkeys(path.relative_to(ROOT) for path in chain(*found)))


def begin(folder: str) -> None:
    """Let a process have a copy of the project to change."""
    own = Path(tempfile.mkdtemp(dir=folder))
    for name in ("trio_socket_task", "tests"):
        shutil.copytree(ROOT / name, own / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", own)
    os.chdir(own)
    os.environ["PYTHONPATH"] = str(own)  # before what is installed, in the processes of tests as well


def complaint(tests: str) -> str:
    """Run tests, those that are asked first in a process of their own; give what the first failure says, if any."""
    never = files("tests", f"{PROCESSES} {PAGES}")
    first = [path for path in files("tests", tests) if path not in never]
    for group in (first, [path for path in files("tests", "test_*") if path not in {*first, *never}]):
        command = f"{sys.executable} -m pytest {OPTIONS} {' '.join(map(str, group))}"
        outcome, output = run_tests(command, timeout=600)
        if outcome is not TestOutcome.SURVIVED:
            return output or f"{command} ended without a word"
    return ""


def lives(mutant: Mutant) -> bool:
    """Whether no test notices a mutant."""
    before, after = mutant.texts()
    mutant.path.write_text(after, encoding="utf-8")
    try:
        return not complaint(mutant.tests)
    finally:
        mutant.path.write_text(before, encoding="utf-8")


def bare(*words: str) -> tuple[str, ...]:
    """Give words without their spaces, of which cosmic-ray is as generous as a formatter is."""
    return tuple("".join(word.split()) for word in words)


def equivalents(found: list[list[Mutant]]) -> set[tuple[str, ...]]:
    """Read which mutants no test can notice, and why; each must be one that there is."""
    named = tomllib.loads((Path(__file__).parent / "equivalents.toml").read_text(encoding="utf-8"))["mutant"]
    known = {bare(one["module"], one["function"], one["before"], after) for one in named for after in one["after"]}
    where = {(one["module"], one["function"]) for one in named if one["because"]}
    there = {bare(*one.key()) for place in found for one in place if (one.path.name, one.function) in where}
    if known - there:
        sys.exit(f"equivalents.toml names what is no mutant any more, or gives no reason: {sorted(known - there)}")
    return known


def main() -> int:
    """Draw a sample, judge it, and show what lives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=400, help="how many mutants; the default is 400")
    parser.add_argument("--seed", type=int, default=1, help="which ones; the default is 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time; the default: processors")
    parser.add_argument("--only", default="", help="of the modules whose path has this in it")
    asked = parser.parse_args()
    modules = {path: tests for patterns, tests in TABLE.items() for path in files("trio_socket_task", patterns)}
    found = [place for path, tests in modules.items() for place in places(path, tests)]
    known = equivalents(found)
    found = [place for place in found if asked.only in str(place[0].path)]
    if not found:
        sys.exit(f"no module has {asked.only} in its path")
    draw = random.Random(asked.seed)  # noqa: S311 (nothing secret)
    draw.shuffle(found)
    drawn = (draw.choice(place) for place in found)  # one after another, so that a larger sample begins as a small one
    sample = list(islice(filter(Mutant.compiles, drawn), asked.sample))
    unknown = [mutant for mutant in sample if bare(*mutant.key()) not in known]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(asked.jobs, None, begin, (folder,)) as pool:
        if words := pool.submit(complaint, " ".join(TABLE.values())).result():
            sys.exit(f"{words}\nthe tests fail without any mutant")
        lived = 0
        for number, (mutant, lives_on) in enumerate(zip(unknown, pool.map(lives, unknown), strict=True), 1):
            lived += lives_on
            if lives_on:
                print(f"LIVES, in {mutant.function}", *mutant.diff(), "", sep="\n", flush=True)
            if not number % 20:
                print(f"{number} of {len(unknown)}, {lived} lived", file=sys.stderr, flush=True)
    share = 1 - lived / len(sample)
    print(f"{len(sample)} of {len(found)} places, seed {asked.seed}: {len(unknown) - lived} mutants killed,", end=" ")
    print(f"{len(sample) - len(unknown)} equivalent, {lived} lived: {share:.1%}, where {GOAL:.0%} are wanted")
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
