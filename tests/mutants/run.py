"""Change a sample of the code, one place at a time, and see whether the tests notice: `nox -s mutants`."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path

import attrs
from cosmic_ray.testing import TestOutcome, run_tests
from places import ROOT, Mutant, places

GOAL = 0.97
"""Share of the mutants that must be killed, or named as equivalent."""
TABLE = {
    "_protocol/_[!s]*": "protocol/test_* session/test_session session/test_compression",
    "_protocol/_state": "protocol/test_state session/test_session test_socket_task test_state_machine",
    "_session/*": "session/test_* test_socket_task test_manager test_memory",
    "_resilient/*": "*resilient/test_*",
}
"""Modules, in whatever folders, and the tests that are asked first about their mutants."""
PROCESSES = (
    "cli/* testing/test_[!p]* campaign/* javascript/* test_command_line test_life test_kit test_sigterm"
    " miniprogram/test_[!t]*"
)
PAGES = (
    "test_architecture test_contract test_diagrams test_docs test_libraries test_list test_readme test_reference"
    " test_supply test_translations test_tutorial test_walk"
)
"""Tests that are never asked: they start processes or wait in real time, or are about pages. All others come second."""
SLOW = "not (test_e6 or thousand or herd or many_rounds)"
STALLED = 20
"""Seconds, on top of ten times what it takes elsewhere, after which a test stands still, by the mutant's fault."""
MEMORY = 4 << 30
"""Bytes that tests may use: some mutants take more and more."""
COMMAND = f"{sys.executable} -m pytest -k '{SLOW}' -q -p asking -p no:cacheprovider -p no:xdist"


def files(folder: str, patterns: str) -> list[Path]:
    """Give the files of patterns, each of which must match."""
    found = [sorted((ROOT / folder).rglob(f"{pattern}.py")) for pattern in patterns.split()]
    if not all(found):
        sys.exit(f"a pattern matches nothing in {folder}/ any more: {patterns}")
    return list(dict.fromkeys(path.relative_to(ROOT) for path in chain(*found)))


def copy(source: Path, folder: str) -> Path:
    """Make a copy of the project to change, or of a copy with what is compiled; go there, and use it."""
    own = Path(tempfile.mkdtemp(dir=folder))
    ignored = shutil.ignore_patterns("__pycache__") if source == ROOT else None
    for name in ("trio_socket_task", "tests"):
        shutil.copytree(source / name, own / name, ignore=ignored)
    shutil.copy(source / "pyproject.toml", own)
    os.chdir(own)
    os.environ["PYTHONPATH"] = f"{own}{os.pathsep}{own / 'tests' / 'mutants'}"  # before what is installed
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    return own


@attrs.frozen
class Reach:
    """What the tests do where nothing is changed."""

    seconds: dict[str, float]
    """Of each test that may be asked."""
    tests: dict[str, dict[str, set[str]]]
    """By path and line: those that run it."""

    def choose(self, mutant: Mutant) -> list[dict[str, float]]:
        """Give the tests that can notice a mutant: first those of its kind of module, of each the fast ones first.

        With each stands when it stands still.
        """
        by_line = self.tests.get(str(mutant.path), {})
        of_module = set().union(*by_line.values())
        elsewhere = set(self.seconds).difference(*(tests for lines in self.tests.values() for tests in lines.values()))
        asked = set(self.seconds)
        if mutant.lines:
            asked &= elsewhere.union(*(by_line.get(str(line), ()) for line in mutant.lines))
        order = sorted(asked, key=lambda test: (test in elsewhere, test not in of_module, self.seconds[test]))
        paths = {str(path) for path in files("tests", mutant.tests)}
        limits = {test: STALLED + 10 * self.seconds[test] for test in order}
        first = {test: limit for test, limit in limits.items() if test.partition("::")[0] in paths}
        return [first, {test: limit for test, limit in limits.items() if test not in first}]


def record(number: int) -> Reach:
    """Run all tests that may be asked, so many processes at a time, where nothing is changed."""
    never = files("tests", f"{PROCESSES} {PAGES}")
    paths = [str(path) for path in files("tests", "test_*") if path not in never]
    command = shlex.split(COMMAND)
    started = [subprocess.Popen([*command, f"--record={part}.json", *paths[part::number]]) for part in range(number)]
    failed = [process.wait() for process in started]
    if any(failed):
        print("the tests above fail where nothing is changed, and are not asked", file=sys.stderr, flush=True)
    reach = Reach({}, {})
    for part in range(number):
        seconds, lines = json.loads(Path(f"{part}.json").read_text(encoding="utf-8"))
        reach.seconds.update(seconds)
        for path, of_path in lines.items():
            for line, tests in of_path.items():
                reach.tests.setdefault(path, {}).setdefault(line, set()).update(filter(None, tests))
    return reach


def complaint(groups: list[dict[str, float]]) -> str:
    """Run chosen tests, each group in a process of its own; give what the first failure says, if any."""
    for chosen in filter(None, groups):
        Path("chosen.json").write_text(json.dumps(chosen), encoding="utf-8")
        paths = dict.fromkeys(test.partition("::")[0] for test in chosen)
        outcome, output = run_tests(f"{COMMAND} -x --chosen=chosen.json {' '.join(paths)}", timeout=1800)
        if outcome is not TestOutcome.SURVIVED:
            return output or "it ended without a word"
    return ""


def lives(mutant: Mutant, groups: list[dict[str, float]]) -> bool:
    """Whether no test notices a mutant."""
    mutant.path.write_text(mutant.texts()[1], encoding="utf-8")
    try:
        return not complaint(groups)
    finally:
        shutil.copy2(ROOT / mutant.path, mutant.path)  # as old as what was compiled from it


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
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        first = copy(ROOT, folder)
        reach = record(asked.jobs)
        pool = stack.enter_context(ProcessPoolExecutor(asked.jobs, None, copy, (first, folder)))
        lived = 0
        outcomes = pool.map(lives, unknown, map(reach.choose, unknown))
        for number, (mutant, lives_on) in enumerate(zip(unknown, outcomes, strict=True), 1):
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
