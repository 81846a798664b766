"""A pytest plugin: which tests reach which lines, how long each takes, and a run of chosen ones in a given order."""

from __future__ import annotations

import faulthandler
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest
from hypothesis import Phase, settings

COVERAGE = pytest.StashKey[coverage.Coverage]()
LIMITS = pytest.StashKey[dict[str, float]]()
SECONDS: dict[str, float] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `run.py` says."""
    parser.addoption("--record", help="write what each test reaches, and its seconds, to this file")
    parser.addoption("--chosen", help="run the tests that this file names, in this order, for so many seconds at most")


def pytest_configure(config: pytest.Config) -> None:
    """Look at what runs; where a test is to fail once, do not look for the simplest example of how."""
    if config.getoption("record"):
        watch = config.stash[COVERAGE] = coverage.Coverage(None, include=["*/trio_socket_task/*"], config_file=False)
        watch.start()
    else:
        phases = [Phase.explicit, Phase.generate]
        settings.register_profile("mutants", settings.get_profile("project"), phases=phases)
        settings.load_profile("mutants")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what was chosen."""
    if path := config.getoption("chosen"):
        limits = config.stash[LIMITS] = json.loads(Path(path).read_text(encoding="utf-8"))
        order = {name: number for number, name in enumerate(limits)}
        items[:] = sorted((one for one in items if one.nodeid in order), key=lambda one: order[one.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Note whose lines they are; or end the process where a test stands still."""
    if watch := item.config.stash.get(COVERAGE, None):
        watch.switch_context(item.nodeid)
    if limits := item.config.stash.get(LIMITS, None):
        faulthandler.dump_traceback_later(limits[item.nodeid], exit=True, file=sys.__stderr__)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long it took; one that fails where nothing is changed tells nothing of a change."""
    SECONDS[report.nodeid] = SECONDS.get(report.nodeid, 0) + (math.inf if report.failed else report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write it down."""
    if watch := session.config.stash.get(COVERAGE, None):
        watch.stop()
        data = watch.get_data()
        lines = {path: data.contexts_by_lineno(path) for path in data.measured_files()}
        found = {str(Path(path).relative_to(Path.cwd())): of_path for path, of_path in lines.items()}
        seconds = {test: duration for test, duration in SECONDS.items() if duration < math.inf}
        Path(session.config.getoption("record")).write_text(json.dumps([seconds, found]), encoding="utf-8")
