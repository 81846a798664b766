"""The reference pages name what the package has, with the values that it has."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

import attrs
import pytest

import trio_socket_task
from trio_socket_task import (
    Acknowledgement,
    Backoff,
    Coexist,
    ConnectOptions,
    Heartbeat,
    Outbox,
    Retry,
    _errors,
    connect_socket,
    javascript,
    miniprogram,
    open_resilient_socket,
    open_socket_manager,
    testing,
)
from trio_socket_task._options import check_options
from trio_socket_task._url import check_url

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "reference"
NOTHING = object()
"""The default of an option that has none."""


def page(name: str) -> str:
    """Give a page's text."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def table(name: str, heading: str) -> dict[str, str]:
    """Give the first two columns of the table after a heading, or after a name and a colon, without backticks."""
    after = re.split(rf"^#+ {heading}$|^`{heading}`:$", page(name), maxsplit=1, flags=re.MULTILINE)[1]
    rows = re.split(r"\n\n(?!\|)", after[after.index("| option |") :], maxsplit=1)[0].splitlines()[2:]
    columns = [row.split("|") for row in rows]
    return {column[1].strip(" `"): column[2].strip(" `") for column in columns}


def is_said(default: object, said: str) -> bool:
    """Whether a cell says a default: as a literal, by the name of a function, or as Python shows it."""
    if default is NOTHING:
        return said == ""
    if callable(default):
        return said.rpartition(".")[2] == getattr(default, "__name__", None)
    try:
        value: object = ast.literal_eval(said)
    except (ValueError, SyntaxError):
        return said == repr(default) or (said == f"{type(default).__name__}()" and default == type(default)())
    return type(value) is type(default) and value == default


def defaults_of_options() -> dict[str, object]:
    """Give what `connect_socket` uses for each of its options."""
    options = check_options(check_url("wss://example.org/"), {})
    return {name: getattr(options, name) for name in ConnectOptions.__annotations__}


def defaults_of_class(kind: type[attrs.AttrsInstance]) -> dict[str, object]:
    """Give the default of each field."""
    return {field.name: NOTHING if field.default is attrs.NOTHING else field.default for field in attrs.fields(kind)}


def defaults_of_function(function: Callable[..., object]) -> dict[str, object]:
    """Give the default of each parameter."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: NOTHING if one.default is inspect.Parameter.empty else one.default for one in parameters}


@pytest.mark.parametrize(
    ("heading", "defaults"),
    [
        ("ConnectOptions", defaults_of_options()),
        ("Heartbeat", defaults_of_class(Heartbeat)),
        ("Backoff", defaults_of_class(Backoff)),
        ("Retry", defaults_of_class(Retry)),
        ("Outbox", defaults_of_class(Outbox)),
        ("Acknowledgement", defaults_of_class(Acknowledgement)),
        ("Coexist", defaults_of_class(Coexist)),
        ("open_socket_manager", defaults_of_function(open_socket_manager)),
        ("connect_socket", defaults_of_function(connect_socket)),
        ("open_mini_program", defaults_of_function(miniprogram.open_mini_program)),
        ("open_javascript", defaults_of_function(javascript.open_javascript)),
        ("open_resilient_socket", defaults_of_function(open_resilient_socket)),
    ],
)
def test_every_option_has_a_row_with_its_default(heading: str, defaults: dict[str, object]) -> None:
    """All of them, in their order, no other, and what the code really does when nothing is said."""
    said = table("options", heading)
    assert list(said) == list(defaults)
    assert [name for name, default in defaults.items() if not is_said(default, said[name])] == []


def exceptions() -> Iterator[type[Exception]]:
    """Give every public exception, and those of `_errors` whether public or not."""
    for module in (_errors, trio_socket_task, testing, miniprogram, javascript):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Exception) and not value.__name__.startswith("_"):
                yield value


def test_every_exception_has_a_section() -> None:
    """And there is none for anything else."""
    headings = re.findall(r"^### (\w+)$", page("errors"), re.MULTILINE)
    assert sorted(headings) == sorted({error.__name__ for error in exceptions()})


def test_no_other_exception_is_named() -> None:
    """What looks like one of ours is one, or Python's."""
    named = set(re.findall(r"(?<![\w.])[A-Z]\w*Error\b", page("errors")))
    assert named - {error.__name__ for error in exceptions()} - vars(builtins).keys() == set()


@pytest.mark.parametrize("error", list(dict.fromkeys(exceptions())))
def test_every_field_of_an_exception_is_explained(error: type[Exception]) -> None:
    """Each has a line in the section of its exception."""
    section = re.split(rf"^### {error.__name__}$", page("errors"), flags=re.MULTILINE)[1]
    said = re.findall(r"^- `(\w+)`:", re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE)
    init = error.__dict__.get("__init__")
    assert said == ([] if init is None else list(inspect.signature(init).parameters)[1:])


def test_the_tree_is_the_one_in_the_code() -> None:
    """Line by line."""
    drawn = page("errors").partition("```text\n")[2].partition("```")[0]
    assert drawn.splitlines() == [
        line.removeprefix("    ") for line in (_errors.__doc__ or "").splitlines() if line.startswith("    ")
    ]


@pytest.mark.parametrize(
    "module",
    [trio_socket_task, miniprogram, javascript, testing],
    ids=["main", "miniprogram", "javascript", "testing"],
)
def test_every_public_name_is_in_the_api(module: ModuleType) -> None:
    """Once, and nothing that is not public."""
    directive = re.compile(rf"^\.\. auto\w+:: {re.escape(module.__name__)}\.(\w+)(?:\(\))?$", re.MULTILINE)
    assert sorted(directive.findall(page("api"))) == sorted(module.__all__)


def limits() -> Iterable[tuple[str, str]]:
    """Give each constant of the page of limits, with the value that it says."""
    return re.findall(r"^\|[^|\n]*\| `([^`|]+)` \| `([\w.]+)` \|", page("limits"), re.MULTILINE)


@pytest.mark.parametrize(("value", "where"), limits(), ids=lambda text: text)
def test_a_limit_is_what_the_page_says(value: str, where: str) -> None:
    """The module holds it, under that name."""
    module, _, name = where.rpartition(".")
    assert getattr(importlib.import_module(f"trio_socket_task.{module}"), name) == ast.literal_eval(value)


def test_every_row_of_limits_is_checked() -> None:
    """None is written in another form."""
    rows = [
        row for row in page("limits").splitlines() if row.startswith("|") and not row.startswith(("| limit", "|--"))
    ]
    assert len(rows) == len(list(limits())) > 0


def test_the_groups_of_the_conformance_table() -> None:
    """Are those of the expected results, with as many cases."""
    expected = json.loads((ROOT / "tests" / "conformance" / "expected.json").read_text())
    counts: Counter[tuple[int, str]] = Counter(
        (int(case.split(".")[0]), result["behavior"]) for case, result in expected.items()
    )
    rows = re.findall(r"^\| (\d+) \|[^|]*\| (\d+) \| (\d+) \| (\d+) \|$", page("conformance"), re.MULTILINE)
    said: Counter[tuple[int, str]] = Counter()
    for group, cases, good, informational in rows:
        assert int(cases) == int(good) + int(informational)
        said += Counter({(int(group), "OK"): int(good), (int(group), "INFORMATIONAL"): int(informational)})
    assert said == counts
    assert all(result["behavior"] == result["behaviorClose"] for result in expected.values())
