"""The recordings of the command line are drawn as they were recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.casts import draw, frames

pytestmark = pytest.mark.once

FOLDER = Path(__file__).parent.parent.parent / "docs" / "casts"


@pytest.mark.parametrize("name", ["demo", "keep"])
def test_a_drawing_shows_its_recording(name: str) -> None:
    """Both were written by the same run."""
    header, *events = map(json.loads, (FOLDER / f"{name}.cast").read_text(encoding="utf-8").splitlines())
    assert draw(header["title"], frames(events)) == (FOLDER / f"{name}.svg").read_text(encoding="utf-8")


def test_a_frame_is_what_the_terminal_shows_then() -> None:
    """With the caption of that time; what comes at once is one frame, and what takes long is cut short."""
    events = [(0.0, "o", "> he"), (0.01, "o", "llo\r\n"), (1.01, "m", "Ctrl-D"), (9.0, "o", "\x1b[Abye\x1b[K")]
    assert frames(events) == [
        (0.0, ["> hello", ""], ""),
        (1.01, ["> hello", ""], "Ctrl-D"),
        (2.51, ["bye", ""], "Ctrl-D"),
    ]
