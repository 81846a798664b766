"""Each hazard has its tests in this folder, named by its id.

Ids such as V3 are rows of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "docs" / "explanation" / "reliability.md"


def test_every_hazard_has_a_test() -> None:
    """The ids of the page are the ids of the tests."""
    on_the_page = re.findall(
        r"^\| ([A-Z]\d+) \|", PAGE.read_text(encoding="utf-8").split("## Side by side")[0], re.MULTILINE
    )
    sources = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("test_*.py"))
    tested = re.findall(r"^(?:async )?def test_([a-z]\d+)_", sources, re.MULTILINE)
    assert len(on_the_page) == len(set(on_the_page)) == 32 + 31
    assert {one.lower() for one in on_the_page} == set(tested)
