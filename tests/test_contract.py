"""The contract's page names tests that exist, for every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reference" / "contract.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| row", "| |", "| rule"))]
EXISTING = {
    node.name
    for path in TESTS.glob("test_*.py")
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
    """Eleven of them."""
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == [str(number) for number in range(1, 12)]
