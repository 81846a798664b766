"""The pages in Chinese say what those in English do, as far as a program can tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs" / "howto" / "from-mini-programs.md"]
BLOCK = re.compile(r"(?:<!-- .*? -->\n)?^```.*?^```$", re.DOTALL | re.MULTILINE)


def translation(page: Path) -> Path:
    """Give the page in Chinese."""
    return page.with_suffix(".zh-CN.md")


def prose(page: Path) -> str:
    """Give a page without its code."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_is_the_same(page: Path) -> None:
    """To the letter, and runs in the same way; so do the names that the text mentions."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    assert BLOCK.findall(translation(page).read_text(encoding="utf-8")) == blocks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.parametrize(
    "parts",
    [
        lambda text: len(re.findall(r"^#+ ", text, re.MULTILINE)),
        lambda text: len(re.findall(r"^- ", text, re.MULTILINE)),
        lambda text: [line.count("|") for line in text.splitlines() if line.startswith("|")],
        lambda text: set(re.findall(r"`(\w+(?:\.\w+)*)`", text)),
    ],
    ids=["headings", "items", "rows", "names"],
)
def test_nothing_is_left_out(page: Path, parts: Callable[[str], object]) -> None:
    """Neither a heading, an item, a row of a table nor a name in code."""
    assert parts(prose(translation(page))) == parts(prose(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_links_to_the_other(page: Path) -> None:
    """And to pages that exist."""
    assert f"]({translation(page).name})" in prose(page)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose(translation(page)))
    assert page.name in links
    for link in links:
        assert (page.parent / link).exists(), link
