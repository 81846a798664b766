"""The page for mini programs tells of the libraries what `nox -s libraries` requires of them."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
LIBRARIES = run_path(str(ROOT / "tests" / "libraries" / "run.py"))["LIBRARIES"]
VERSIONS = json.loads((ROOT / "tests" / "libraries" / "package.json").read_text(encoding="utf-8"))["dependencies"]


def title(package: str) -> str:
    """Give the name and the version that are to be installed; what is not is a server of our own."""
    version = str(VERSIONS.get(package, "scripted"))
    if version.startswith("npm:"):
        return version.removeprefix("npm:").replace("@", " ")
    return version if version == "scripted" else f"{package} {version}"


@pytest.mark.parametrize("page", ["from-mini-programs.md", "from-mini-programs.zh-CN.md"])
def test_the_page_has_each_library(page: str) -> None:
    """With its version, its server and all that its program says, in a row."""
    text = (ROOT / "docs" / "howto" / page).read_text(encoding="utf-8").replace("脚本模拟", "scripted")
    rows = [f"| {title(one.package)} | {title(one.server)} | {', '.join(one.lines)} |" for one in LIBRARIES]
    assert rows
    assert [row for row in rows if row not in text.splitlines()] == []


def test_versions_are_exact() -> None:
    """So what was seen once is seen again."""
    assert [one for one in VERSIONS.values() if not one.removeprefix("npm:mqtt@").replace(".", "").isdecimal()] == []
