"""The contract's page names tests that exist, for every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reference" / "contract.md").read_text(encoding="utf-8")
HEADS = ("| row", "| |", "| rule", "| when", "| what")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(HEADS)]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (TESTS / "miniprogram").rglob("test_*.py"))
EXISTING = {
    node.name
    for path in TESTS.rglob("test_*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_exist(row: str) -> None:
    """At least one, in its last column."""
    named = re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1])
    assert named
    assert set(named) <= EXISTING


def test_no_decision_is_missing() -> None:
    """Fifteen of them."""
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == [str(number) for number in range(1, 16)]


@pytest.mark.parametrize(
    "string", re.findall(r"^\| [^|]* \| (`.*?`) \|", PAGE.split("## The dialect's strings")[1], re.MULTILINE)
)
def test_a_string_is_asserted_as_it_stands(string: str) -> None:
    """The words after `:fail` are in some test of the dialect."""
    words = re.sub(r'"<.*?>"|<.*?>|String instead of .*', "", string.strip("`").split(":fail ", 1)[-1]).strip()
    assert words in SOURCES, words
