"""Charts and tables of the results, one chart for each question: ``python charts.py docs/benchmarks``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from matplotlib import pyplot as plt

OURS, OTHERS, ON_ASYNCIO = "#c1440e", "#2a6f97", "#9fb8c7"
ASYNCIO: Final = {"websockets.asyncio", "aiohttp", "aiohttp on uvloop", "picows on uvloop"}

QUESTIONS: Final = {
    "small": ("Messages of 64 bytes, thousands a second", ["echo 64 B", "flood 64 B", "sink 64 B"], "rate", 1e-3),
    "large": ("Messages of 1 MB, MB a second", ["echo 1 MB", "flood 1 MB", "sink 1 MB"], "rate", 1.0),
    "tls": (
        "Over TLS: thousands a second, and MB a second",
        ["TLS echo 64 B", "TLS flood 64 B", "TLS sink 64 B", "TLS echo 1 MB"],
        "rate",
        1e-3,
    ),
    "latency": ("Microseconds of an echo at the 99th percentile", ["latency", "latency under a flood"], "p99", 1.0),
    "opening": ("Connections opened and closed a second", ["open and close", "TLS open and close"], "rate", 1.0),
    "idle": ("Kilobytes of an idle socket", ["idle sockets"], "kilobytes", 1.0),
}
"""By file: the title, the scenarios, the figure that is drawn, and what it is multiplied by."""


def colour(client: str) -> str:
    """Tell ours from the others on Trio, and these from those on asyncio."""
    return OURS if client == "trio-socket-task" else ON_ASYNCIO if client in ASYNCIO else OTHERS


def draw_question(name: str, medians: dict[str, dict[str, dict[str, float]]], folder: Path) -> None:
    """Draw one chart: bars of every client, a panel for each scenario."""
    title, scenarios, figure, factor = QUESTIONS[name]
    columns = min(2, len(scenarios))  # more would be too small to read on a phone
    rows = -(-len(scenarios) // columns)
    size = (3.6 * columns + 1.2, 2.6 * rows + 0.3)
    canvas, panels = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for panel in list(panels.flat)[len(scenarios) :]:
        panel.set_visible(False)
    for number, (panel, scenario) in enumerate(zip(panels.flat, scenarios, strict=False)):
        scale = 1.0 if "MB" in scenario else factor
        clients = list(reversed(medians[scenario]))
        values = [medians[scenario][client][figure] * scale for client in clients]
        bars = panel.barh(clients, values, color=[colour(client) for client in clients])
        panel.bar_label(
            bars, [f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in values], fontsize=8, padding=2
        )
        panel.set_title(scenario, fontsize=10, loc="left")
        panel.margins(x=0.22)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        if number % columns:
            panel.set_yticklabels([])
    canvas.suptitle(title, fontsize=11, x=0.01, ha="left")
    canvas.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(canvas)


def draw_curves(curves: dict[str, dict[str, object]], folder: Path) -> None:
    """Draw the curves on one sheet."""
    canvas, panels = plt.subplots(2, 3, figsize=(10.5, 5.6), layout="constrained")
    for panel, curve in zip(panels.flat, curves.values(), strict=False):
        points = curve["points"]
        assert isinstance(points, dict)
        across = [int(value) for value in points]
        panel.plot(across, list(points.values()), "o-", color=OURS, markersize=4)
        panel.set_title(str(curve["title"]), fontsize=9, loc="left")
        panel.set_xlabel(str(curve["across"]), fontsize=8)
        panel.set_ylabel(str(curve["up"]), fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        if max(across) > 1000:
            panel.set_xscale("log")
        if curve["across"] == "bytes":
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
    for panel in list(panels.flat)[len(curves) :]:
        panel.set_visible(False)
    canvas.savefig(folder / "curves.svg", metadata={"Date": None})


def write_tables(results: dict[str, dict[str, dict[str, object]]], folder: Path) -> None:
    """Write the goals, the ratios and the versions as pages to include."""
    goals = [f"| {words} | {'met' if met else '**missed**'} |" for met, words in results["goals"]]
    ratios = results["ratios"]
    clients = list(dict.fromkeys(client for scenario in ratios.values() for client in scenario))[1:]
    rows = [
        f"| {scenario} | " + " | ".join(f"{of[client]:.2f}" if client in of else "" for client in clients) + " |"
        for scenario, of in ratios.items()
    ]
    about = results["about"]
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    (folder / "goals.md").write_text("\n".join(["| goal | |", "|---|---|", *goals, ""]), encoding="utf-8")
    (folder / "ratios.md").write_text(
        "\n".join([f"| | {' | '.join(clients)} |", "|---|" + "---|" * len(clients), *rows, ""]), encoding="utf-8"
    )
    (folder / "about.md").write_text(
        f"{about['date']}, {about['processors']} processors, {about['machine']}, Python {about['python']}, "
        f"{about['rounds']} rounds; {versions}.\n",
        encoding="utf-8",
    )


def main(folder: Path) -> None:
    """Draw and write everything that there is data for."""
    plt.rcParams["svg.hashsalt"] = "trio-socket-task"  # the same picture from the same data
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for name in QUESTIONS:
        draw_question(name, results["medians"], folder)
    write_tables(results, folder)
    draw_curves(json.loads((folder / "curves.json").read_text(encoding="utf-8")), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
