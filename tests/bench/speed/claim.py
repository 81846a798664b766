"""What the README says and shows of speed, made of the results, so that it is what was measured.

Of the placements that were measured, each figure is the one that is worse for this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import floor
from pathlib import Path
from textwrap import fill
from typing import Final

TRIO: Final = ("trio-websocket", "websockets.trio", "httpx-ws")
ASYNCIO: Final = ("websockets.asyncio", "aiohttp", "aiohttp on uvloop", "picows on uvloop")
PLACES: Final = {"sharing": "client and server share a processor", "apart": "have one each"}
QUESTIONS: Final = {
    "echo 64 B": "Echo: send, and wait for the answer",
    "flood 64 B": "Receive as fast as they come",
    "sink 64 B": "Send as fast as they go",
}
"""By scenario, in the words of a reader."""
MARKED: Final = re.compile(r"(<!-- speed: .*? -->\n).*?(\n<!-- end -->)", re.DOTALL)

Ratios = Mapping[str, Mapping[str, float]]


def places(ratios: Ratios) -> list[str]:
    """Return in which placements every question was measured."""
    return [place for place in PLACES if all(f"{scenario}, {place}" in ratios for scenario in QUESTIONS)]


def against(ratios: Ratios, scenario: str, client: str) -> float:
    """Return how many times as fast as a client this package is, at worst."""
    return min(ratios[f"{scenario}, {place}"][client] for place in places(ratios))


def sentence(ratios: Ratios) -> str:
    """Say how fast this package is beside the fastest on Trio and on asyncio; figures are rounded down."""
    trio, asyncio = (
        [floor(10 * min(against(ratios, scenario, client) for client in clients)) / 10 for scenario in QUESTIONS]
        for clients in (TRIO, ASYNCIO)
    )
    where = ", or ".join(PLACES[place] for place in places(ratios))
    measured = f"the worse of two: {where}" if len(places(ratios)) > 1 else where
    said = (
        f"It echoes {trio[0]}, receives {trio[1]} and sends {trio[2]} times as fast as the next WebSocket client on "
        f"Trio, and {asyncio[0]}, {asyncio[1]} and {asyncio[2]} times as fast as the fastest on asyncio (messages of "
        f"64 bytes; {measured})."
    )
    return fill(said, 120)


def write(ratios: Ratios, readme: Path, folder: Path) -> None:
    """Put the sentence where it is shown."""
    text = readme.read_text(encoding="utf-8")
    readme.write_text(MARKED.sub(lambda found: found[1] + sentence(ratios) + found[2], text), encoding="utf-8")
    (folder / "claim.md").write_text(f"{sentence(ratios)}\n", encoding="utf-8")
