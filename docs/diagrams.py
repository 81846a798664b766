"""Drawings made from the code when the documentation is built, and kept for readers of the pages on a code host."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from html import escape
from itertools import count, pairwise
from pathlib import Path

from sphinx.application import Sphinx

import trio_socket_task
from trio_socket_task._protocol._state import TRANSITIONS, Phase, Trigger

PACKAGE = Path(trio_socket_task.__file__).parent
FOLDER = Path(__file__).parent / "drawings"
Table = Mapping[tuple[Phase, Trigger], Phase]
Imports = Mapping[str, AbstractSet[str]]

_STATE, _GAP, _LANE = (132, 132), 176, 34
_SPACE, _RISE, _LETTER, _LINE = 18, 46, 7.6, 17  # beside boxes, between floors, and a letter's width and height
_SWEEPS = 24
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}"
 font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="12" text-anchor="middle">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z" fill="#33475b"/></marker></defs>
<rect class="ground" width="100%" height="100%" fill="#ffffff"/>
"""


def _svg(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    return _HEAD.format(title=title, w=width, h=height) + "\n".join(parts) + "\n</svg>\n"


def _box(x: float, y: float, width: float, height: float) -> str:
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"'
    return f'<rect class="box" {shape} fill="#eaf1f8" stroke="#33475b"/>'


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#16202b" {style}>{escape(words)}</text>'


def _arrow(path: str, data: str) -> str:
    return f'<path class="arrow" {data} d="{path}" fill="none" stroke="#33475b" marker-end="url(#tip)"/>'


def draw_states(table: Table) -> str:
    """Draw every phase, from left to right, and an arrow for each entry of the table."""
    states = sorted(Phase)
    (width, height), left = _STATE, {state: 24 + state * (_STATE[0] + _GAP) for state in states}
    kinds = {(start, end) for (start, _), end in table.items()}
    long = sorted(
        ((s, t) for (s, t), end in table.items() if end not in (s, s + 1)), key=lambda e: (table[e] - e[0], e[0])
    )
    top = 24 + _LANE * len(long)
    parts = [_box(left[state], top, width, height) for state in states]
    parts += [_text(left[s] + width / 2, top + height / 2 + 4, s.name, 'font-weight="bold"') for s in states]
    for start, end in sorted(kinds):
        triggers = [t for (s, t), e in table.items() if (s, e) == (start, end)]
        for number, trigger in enumerate(triggers, 1):
            data = f'data-from="{start.name}" data-trigger="{trigger.name}" data-to="{end.name}"'
            if end == start:  # below the box
                x, half = left[start] + width * number / (len(triggers) + 1), width / (2 * len(triggers) + 4)
                low = top + height + _LANE * number
                path = f"M{x - half:.1f} {top + height} V{low} H{x + half:.1f} V{top + height}"
                side, anchor = (-8 - half, "end") if number % 2 else (8 + half, "start")
                label = _text(x + side, low - 4, trigger.name, f'text-anchor="{anchor}"')
            elif end == start + 1:  # from side to side
                y = top + height * number / (len(triggers) + 1)
                path = f"M{left[start] + width} {y:.1f} H{left[end]}"
                label = _text(left[end] - _GAP / 2, y - 6, trigger.name)
            else:  # over the top, or back
                lane = top - _LANE * (long.index((start, trigger)) + 1) + 10
                shift = width * (long.index((start, trigger)) + 1) / (len(long) + 1)
                path = f"M{left[start] + width - shift:.1f} {top} V{lane} H{left[end] + shift:.1f} V{top}"
                label = _text(left[start] + width - shift + 8, lane - 5, trigger.name, 'text-anchor="start"')
            parts += [_arrow(path, data), label]
    return _svg("The phases of a connection", left[states[-1]] + width + 24, top + height + 3 * _LANE, parts)


def read_imports() -> dict[str, set[str]]:
    """Give every module of the package, dotted, with the modules of the package that it imports."""
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {module: set(_imports(module, path, paths.keys())) for module, path in sorted(paths.items())}


def _imports(module: str, path: Path, modules: AbstractSet[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        base, name = module.split(".")[: -node.level], node.module or ""
        if not node.level and name.split(".")[0] != PACKAGE.name:
            continue
        target = ".".join([*base, name] if node.level else name.split(".")[1:]).strip(".")
        yield target if target in modules else f"{target}.__init__".strip(".")


def group(imports: Imports) -> dict[str, set[str]]:
    """Put the modules of a folder together."""
    boxes: dict[str, set[str]] = {}
    for module, others in imports.items():
        box = module.split(".")[0]
        boxes.setdefault(box, set()).update(other.split(".")[0] for other in others if other.split(".")[0] != box)
    return boxes


def floors(boxes: Imports) -> dict[str, int]:
    """Give each box its floor: one above the highest that it imports.

    Raises:
        ValueError: Imports go round in a circle.
    """
    found: dict[str, int] = {}
    while len(found) < len(boxes):
        ready = [box for box in boxes if box not in found and all(other in found for other in boxes[box])]
        if not ready:
            raise ValueError(f"imports go round in a circle among {sorted(boxes.keys() - found.keys())}")
        found |= {box: max((found[other] + 1 for other in boxes[box]), default=0) for box in ready}
    return found


def _reach(box: str, boxes: Imports) -> set[str]:
    return set(boxes[box]).union(*(_reach(other, boxes) for other in boxes[box]))


def needed(boxes: Imports) -> dict[str, set[str]]:
    """Give the imports without those that follow from others: what is imported imports them in turn."""
    return {box: set(of).difference(*(_reach(other, boxes) for other in of)) for box, of in boxes.items()}


def _raised(level: Mapping[str, int], boxes: Imports) -> dict[str, int]:
    """Return the floors with each box as near to what imports it as it can be: so arrows are short."""
    raised = dict(level)
    for box in sorted(boxes, key=lambda box: -level[box]):
        above = [raised[other] for other, of in boxes.items() if box in of]
        raised[box] = min(above, default=raised[box] + 1) - 1
    return raised


def draw_floors(imports: Imports) -> str:
    """Draw every module on its floor, a folder as one box, and the imports that do not follow from others."""
    boxes = group(imports)
    level = _raised(floors(boxes), boxes)
    members = {box: sorted(m.partition(".")[2] for m in imports if m.startswith(f"{box}.")) for box in boxes}
    lines = {box: [box, *textwrap.wrap("  ".join(members[box]), 50)] for box in boxes}
    size = {box: (max(map(len, text)) * _LETTER + 16, len(text) * _LINE + 12.0) for box, text in lines.items()}
    rows: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for box in sorted(boxes):
        rows[level[box]].append(box)
    ways, numbers = [], count()
    for box, of in sorted(needed(boxes).items()):
        for other in sorted(of):  # a way past the floors between has a place on each of them
            bends = [f"bend {next(numbers)}" for _ in range(level[box] - level[other] - 1)]
            for number, bend in enumerate(bends, 1):
                rows[level[box] - number].append(bend)
                size[bend] = (0.0, 0.0)
            ways.append([box, *bends, other])
    centre = _places(rows, ways, size)
    height = [max(size[box][1] for box in row) for row in rows]
    top = {n: 24 + sum(height[n + 1 :]) + _RISE * (len(rows) - 1 - n) for n in range(len(rows))}
    floor = {box: n for n, row in enumerate(rows) for box in row}
    parts = []
    for way in ways:
        path = f"M{centre[way[0]]:.1f} {top[floor[way[0]]] + size[way[0]][1]:.1f}"
        for upper, box in pairwise(way):
            end = top[floor[box]]
            begin = top[floor[upper]] + height[floor[upper]]
            half = (begin + end) / 2
            path += f" L{centre[upper]:.1f} {begin:.1f} C{centre[upper]:.1f} {half:.1f} {centre[box]:.1f} {half:.1f}"
            path += f" {centre[box]:.1f} {end:.1f}"
        parts.append(_arrow(path, f'data-from="{way[0]}" data-to="{way[-1]}"'))
    for box, text in lines.items():
        (wide, high), y = size[box], top[floor[box]]
        parts.append(_box(centre[box] - wide / 2, y, wide, high))
        for number, line in enumerate(text):
            style = 'font-weight="bold"' if number == 0 else 'font-size="11"'
            parts.append(_text(centre[box], y + 18 + _LINE * number, line, style))
    width = max(centre[box] + size[box][0] / 2 for box in centre) + 24
    return _svg("The modules on their floors", width, top[0] + height[0] + 24, parts)


def _places(rows: list[list[str]], ways: list[list[str]], size: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Give each box its centre: near those that it is joined with, in an order that lets few arrows cross."""
    joined: dict[str, list[str]] = {box: [] for row in rows for box in row}
    for way in ways:
        for upper, lower in pairwise(way):
            joined[upper].append(lower)
            joined[lower].append(upper)
    centre = {box: 80.0 * number for row in rows for number, box in enumerate(row)}
    for _ in range(_SWEEPS):
        for row in [*rows, *reversed(rows)]:
            wish = {box: sum(centre[other] for other in joined[box]) / (len(joined[box]) or 1) for box in row}
            row.sort(key=lambda box: (wish[box], box))
            edge, shift = -float("inf"), []
            for box in row:
                centre[box] = max(wish[box], edge + size[box][0] / 2)
                edge = centre[box] + size[box][0] / 2 + _SPACE
                shift.append(centre[box] - wish[box])
            for box in row:
                centre[box] -= sum(shift) / len(shift)
    left = min(centre[box] - size[box][0] / 2 for box in centre)
    return {box: place - left + 24 for box, place in centre.items()}


def draw() -> dict[str, str]:
    """Give both drawings, by the name of their file."""
    return {"floors.svg": draw_floors(read_imports()), "states.svg": draw_states(TRANSITIONS)}


def write(_app: Sphinx) -> None:
    """Put both where the pages look for them."""
    FOLDER.mkdir(exist_ok=True)
    for name, drawing in draw().items():
        (FOLDER / name).write_text(drawing, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw before the pages are read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
