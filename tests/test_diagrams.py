"""The drawings of the documentation show what the code has, and change with it."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
import test_architecture as architecture

from trio_socket_task._protocol._state import TRANSITIONS, Phase, Trigger

pytestmark = pytest.mark.once

SOURCE = Path(__file__).parent.parent / "docs" / "diagrams.py"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    """Load the extension, which is no part of the package, without what only a build needs."""
    sphinx, application = ModuleType("sphinx"), ModuleType("sphinx.application")
    application.__dict__["Sphinx"] = object
    spec = importlib.util.spec_from_file_location("diagrams", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sphinx", sphinx)
        patch.setitem(sys.modules, "sphinx.application", application)
        spec.loader.exec_module(module)
    module.__dict__["read_imports"] = cache(module.read_imports)  # every module of the package, for each drawing
    return module


def words(drawing: str) -> list[str]:
    """Give every text of a drawing."""
    return [text.text or "" for text in ET.fromstring(drawing).iter(f"{SVG}text")]  # noqa: S314 (our own)


def arrows(drawing: str) -> list[dict[str, str]]:
    """Give what every arrow of a drawing says it is."""
    paths = ET.fromstring(drawing).iter(f"{SVG}path")  # noqa: S314 (our own)
    return [
        {name.removeprefix("data-"): value for name, value in path.attrib.items() if name.startswith("data-")}
        for path in paths
        if path.get("class") == "arrow"
    ]


def test_every_transition_is_drawn(diagrams: ModuleType) -> None:
    """Each entry of the table is an arrow with its trigger's name beside it, and there is no other."""
    drawing = diagrams.draw_states(TRANSITIONS)
    drawn = [(arrow["from"], arrow["trigger"], arrow["to"]) for arrow in arrows(drawing)]
    assert sorted(drawn) == sorted(
        (state.name, trigger.name, end.name) for (state, trigger), end in TRANSITIONS.items()
    )
    assert sorted(words(drawing)) == sorted(
        [state.name for state in Phase] + [trigger.name for _, trigger in TRANSITIONS]
    )


@pytest.mark.parametrize("entry", TRANSITIONS)
def test_a_transition_less_is_an_arrow_less(diagrams: ModuleType, entry: tuple[Phase, Trigger]) -> None:
    """The drawing follows the table."""
    shorter = {key: end for key, end in TRANSITIONS.items() if key != entry}
    drawn = [(arrow["from"], arrow["trigger"]) for arrow in arrows(diagrams.draw_states(shorter))]
    assert (entry[0].name, entry[1].name) not in drawn
    assert len(drawn) == len(TRANSITIONS) - 1


@pytest.mark.parametrize("end", Phase)
def test_a_new_transition_is_drawn(diagrams: ModuleType, end: Phase) -> None:
    """Wherever it goes, also back."""
    longer = {**TRANSITIONS, (Phase.CLOSED, Trigger.OPENED): end}
    new = {"from": "CLOSED", "trigger": "OPENED", "to": end.name}
    assert new in arrows(diagrams.draw_states(longer))
    assert new not in arrows(diagrams.draw_states(TRANSITIONS))


def test_imports_are_read_as_the_architecture_reads_them(diagrams: ModuleType) -> None:
    """The drawing and the test of the floors know the same modules and the same imports."""
    read = {
        module.removesuffix(".__init__"): {other.removesuffix(".__init__") for other in others}
        for module, others in diagrams.read_imports().items()
    }
    assert read == {module: set(architecture.own_imports(module)) for module in architecture.MODULES}


def test_every_module_is_drawn(diagrams: ModuleType) -> None:
    """A module of the package itself has a box; one of a folder is named in the folder's."""
    drawing = diagrams.draw_floors(diagrams.read_imports())
    drawn = [word for text in words(drawing) for word in text.split()]
    for module in diagrams.read_imports():
        assert all(part in drawn for part in module.split(".")), module


def test_arrows_go_down_and_leave_nothing_out(diagrams: ModuleType) -> None:
    """What is imported is below, and every import is an arrow or follows from several."""
    boxes: dict[str, set[str]] = diagrams.group(diagrams.read_imports())
    floor: dict[str, int] = diagrams.floors(boxes)
    drawn: dict[str, set[str]] = {box: set() for box in boxes}
    for arrow in arrows(diagrams.draw_floors(diagrams.read_imports())):
        drawn[arrow["from"]].add(arrow["to"])
    for box in sorted(boxes, key=lambda box: floor[box]):
        assert all(floor[other] < floor[box] for other in drawn[box])
        drawn[box] |= {far for other in drawn[box] for far in drawn[other]}  # those below are complete
        assert boxes[box] <= drawn[box]


def test_a_new_import_changes_the_drawing(diagrams: ModuleType) -> None:
    """A module that imports another comes to stand above it."""
    imports: dict[str, set[str]] = diagrams.read_imports()
    changed = {**imports, "_thread": {"_version"}, "_new": {"_thread"}}
    assert diagrams.floors(diagrams.group(imports))["_thread"] == 0
    assert diagrams.floors(diagrams.group(changed))["_new"] == 2
    assert {"from": "_new", "to": "_thread"} in arrows(diagrams.draw_floors(changed))


def test_a_circle_is_refused(diagrams: ModuleType) -> None:
    """It has no floors, and the build says so."""
    with pytest.raises(ValueError, match="circle"):
        diagrams.floors({"_one": {"_other"}, "_other": {"_one"}})


@pytest.mark.parametrize("name", ["floors.svg", "states.svg"])
def test_the_kept_drawings_are_of_this_code(diagrams: ModuleType, name: str) -> None:
    """They are what a code host shows; a build of the documentation draws them anew."""
    kept = (diagrams.FOLDER / name).read_text(encoding="utf-8")
    assert kept == diagrams.draw()[name], f"run nox -s docs, and commit docs/drawings/{name}"


def test_both_are_written(diagrams: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build finds two files with a ground of their own, so that they can be read in the dark, too."""
    monkeypatch.setattr(diagrams, "FOLDER", tmp_path / "made")
    diagrams.write(None)
    written = sorted((tmp_path / "made").iterdir())
    assert [path.name for path in written] == ["floors.svg", "states.svg"]
    assert all('class="ground"' in path.read_text(encoding="utf-8") for path in written)
