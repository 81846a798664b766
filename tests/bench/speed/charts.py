"""Charts and tables of the results, one chart for each question: ``python charts.py docs/benchmarks``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import attrs
import claim
from catalogue import APART, SHARING
from goals import OURS as OURS_NAME
from goals import named
from interfaces import INTERFACES
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

OURS, INTERFACE, OTHERS, ON_ASYNCIO, INK = "#b5380a", "#e08a5b", "#2a6f97", "#7d8a92", "#222222"
PAPER = "#ffffff"
"""Charts bring their own background, so that they can be read on a dark page."""
WIDTH, BAR = 5.0, 0.2
"""Inches of a chart, which is as wide as a phone, and of a bar."""

Medians = dict[str, dict[str, dict[str, float]]]


@attrs.frozen
class Question:
    """One chart: a panel for each scenario and figure."""

    title: str
    panels: list[tuple[str, str]]
    """Scenarios without their placement, and which figure of each."""
    factor: float = 1.0
    only: tuple[str, ...] = ()
    """Who is shown, as far as this package's other interfaces were measured; else all but those."""

    def clients(self, of: Medians, figure: str) -> list[str]:
        """Give who has this figure, in any placement."""
        measured = [client for client, figures in next(iter(of.values()), {}).items() if figure in figures]
        if self.only:
            return [client for client in self.only if client in measured and INTERFACES.keys() & measured]
        return [client for client in measured if client not in INTERFACES]


QUESTIONS: Final = {
    "small": Question(
        "Messages of 64 bytes, thousands a second",
        [("echo 64 B", "rate"), ("flood 64 B", "rate"), ("sink 64 B", "rate")],
        1e-3,
    ),
    "sporadic": Question(
        "1000 sockets that speak now and then:\nmicroseconds of processor a message (less is better)",
        [("1000 sockets", "sporadic"), ("1000 sockets", "push"), ("1000 heartbeats", "beat")],
    ),
    "crowd": Question(
        "As there are more sockets: microseconds of processor\n(less is better)",
        [
            ("100 sockets", "echo at once"),
            ("5000 sockets", "echo at once"),
            ("100 sockets", "opening"),
            ("5000 sockets", "opening"),
        ],
    ),
    "interfaces": Question(
        "This package by its other interfaces,\n64 bytes, thousands a second",
        [("echo 64 B", "rate"), ("flood 64 B", "rate"), ("sink 64 B", "rate")],
        1e-3,
        ("trio-socket-task", "on_message()", "resilient", "dialect", "websockets.trio", "aiohttp"),
    ),
    "large": Question(
        "Messages of 1 MB, MB a second", [(f"{what} 1 MB", "rate") for what in ("echo", "flood", "sink")]
    ),
    "tls": Question(
        "Over TLS, thousands a second",
        [(f"TLS {what} 64 B", "rate") for what in ("echo", "flood", "sink")],
        1e-3,
    ),
    "latency": Question(
        "Microseconds of an echo at the 99th percentile\n(less is better)",
        [("latency", "p99"), ("latency under a flood", "p99")],
    ),
    "opening": Question(
        "Connections opened and closed a second", [("open and close", "rate"), ("TLS open and close", "rate")]
    ),
    "idle": Question("Kilobytes of an idle socket (less is better)", [("idle sockets", "kilobytes")]),
}
"""By file."""


def colour(client: str) -> str:
    """Tell ours from the others on Trio, and these from those on asyncio."""
    if client in INTERFACES:
        return INTERFACE
    return OURS if client == OURS_NAME else ON_ASYNCIO if client in claim.ASYNCIO else OTHERS


def draw_question(name: str, medians: Medians, folder: Path) -> bool:
    """Draw one chart, a panel under the other, with a name at every bar; tell whether there was anything to draw."""
    question = QUESTIONS[name]
    panels = []
    for scenario, figure in question.panels:
        of = {place: medians[named(scenario, place)] for place in (SHARING, APART) if named(scenario, place) in medians}
        if shown := question.clients(of, figure):
            panels.append((scenario, figure, of, shown))
    if not panels:
        return False
    bars = [len(of) * len(shown) for _, _, of, shown in panels]
    canvas, axes = plt.subplots(
        *(len(panels), 1),
        figsize=(WIDTH, 1.2 + sum(0.5 + BAR * count for count in bars)),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"height_ratios": bars},
        facecolor=PAPER,
    )
    for axis, (scenario, figure, of, shown) in zip(axes.flat, panels, strict=True):
        _draw_panel(axis, of, shown, figure, question.factor)
        axis.set_title(scenario if figure == "rate" else f"{scenario}: {figure}", fontsize=10, loc="left", color=INK)
    canvas.suptitle(question.title, fontsize=11, x=0.01, ha="left", color=INK)
    canvas.legend(handles=_legend(panels), loc="outside lower left", fontsize=8, ncols=2, frameon=False)
    canvas.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(canvas)
    return True


def _draw_panel(axis: Axes, of: Medians, shown: list[str], figure: str, factor: float) -> None:
    height = 0.84 / len(of)
    for number, (place, clients) in enumerate(of.items()):
        values = [clients[client][figure] * factor for client in shown]
        where = [-row - (number - (len(of) - 1) / 2) * height for row in range(len(shown))]
        colours = [colour(client) for client in shown]
        bars = axis.barh(where, values, height * 0.9, color=colours, alpha=1.0 if place == SHARING else 0.5)
        words = [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in values]
        several = [f"{word} {place}" for word in words] if len(of) > 1 else words
        axis.bar_label(bars, several, fontsize=8, padding=2, color=INK)
    axis.set_yticks([-row for row in range(len(shown))], shown)
    axis.set_ylim(-len(shown) + 0.45, 0.55)
    axis.margins(x=0.28)
    axis.tick_params(labelsize=9, colors=INK)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(panels: list[tuple[str, str, Medians, list[str]]]) -> list[Patch]:
    seen = {colour(client) for _, _, _, shown in panels for client in shown}
    words = {
        OURS: "this package",
        INTERFACE: "its other interfaces",
        OTHERS: "others on Trio",
        ON_ASYNCIO: "others on asyncio",
    }
    return [Patch(color=shade, label=label) for shade, label in words.items() if shade in seen]


def draw_first_look(ratios: claim.Ratios, path: Path, ink: str, paper: str) -> None:
    """Draw the picture of the README: one group of bars for a question, this package beside each other client."""
    clients = [OURS_NAME, *claim.TRIO, *claim.ASYNCIO]
    canvas, axes = plt.subplots(3, 1, figsize=(WIDTH, 6.2), layout="constrained", facecolor=paper, sharex=True)
    for axis, (scenario, question) in zip(axes.flat, claim.QUESTIONS.items(), strict=True):
        speeds = [1.0, *(1 / claim.against(ratios, scenario, client) for client in clients[1:])]
        bars = axis.barh([-row for row in range(len(clients))], speeds, 0.78, color=[colour(one) for one in clients])
        axis.bar_label(bars, [f"{speed:.2f}" for speed in speeds], fontsize=8, padding=3, color=ink)
        axis.set_yticks([-row for row in range(len(clients))], clients)
        axis.set_title(question, fontsize=10, loc="left", color=ink, fontweight="bold")
        axis.margins(x=0.12, y=0.02)
        axis.tick_params(labelsize=9, colors=ink, length=0, labelbottom=False)
        axis.spines[:].set_visible(False)
        axis.set_facecolor(paper)
    worse = "\n(of two placements the one that is worse for it)" if len(claim.places(ratios)) > 1 else ""
    title = f"Speed with messages of 64 bytes, trio-socket-task = 1{worse}"
    canvas.suptitle(title, fontsize=11, x=0.01, ha="left", color=ink)
    shades = {OURS: "this package", OTHERS: "others on Trio", ON_ASYNCIO: "others on asyncio"}
    handles = [Patch(color=shade, label=label) for shade, label in shades.items()]
    canvas.legend(handles=handles, loc="outside lower left", fontsize=9, ncols=3, frameon=False, labelcolor=ink)
    canvas.savefig(path, metadata={"Date": None})
    plt.close(canvas)


def draw_curves(curves: dict[str, dict[str, object]], folder: Path) -> None:
    """Draw the curves on one sheet."""
    canvas, panels = plt.subplots(2, 3, figsize=(10.5, 5.6), layout="constrained", facecolor=PAPER)
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
    seen = dict.fromkeys(client for scenario in ratios.values() for client in scenario)
    clients = [client for client in seen if client != "trio-socket-task"]
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
        f"{about['rounds']} rounds; {versions}.\n{about.get('note', '')}".strip()
        + "\n",
        encoding="utf-8",
    )


def main(folder: Path) -> None:
    """Draw and write everything that there is data for."""
    plt.rcParams["svg.hashsalt"] = "trio-socket-task"  # the same picture from the same data
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    drawn = [name for name in QUESTIONS if draw_question(name, results["medians"], folder)]
    pictures = [f"![{QUESTIONS[name].title}](benchmarks/{name}.svg)".replace("\n", " ") for name in drawn]
    (folder / "charts.md").write_text("\n\n".join(pictures) + "\n", encoding="utf-8")
    write_tables(results, folder)
    claim.write(results["ratios"], folder.parent.parent / "README.md", folder)
    draw_first_look(results["ratios"], folder / "first-look.svg", INK, PAPER)
    draw_first_look(results["ratios"], folder / "first-look-dark.svg", "#e6e6e6", "none")
    draw_curves(json.loads((folder / "curves.json").read_text(encoding="utf-8")), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
