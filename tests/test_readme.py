"""What the README prints runs."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import trio

import trio_socket_task
from trio_socket_task.testing import Script, SocketServer

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
INDEX = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_the_programs_run(socket_server: SocketServer, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Against a server that answers, or greets where nothing is sent, and closes."""
    script = Script().expect("hello") if "send(" in program else Script()
    socket_server.handler = script.send("hi there").close()
    source = re.sub(r"wss://example\.org/\w+", socket_server.url, program).replace("trio.run(main)", "")
    names: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 (it is our own)
    main = names["main"]
    assert callable(main)
    with trio.fail_after(30):
        await main()
    assert "hi there" in capsys.readouterr().out


def test_it_is_short() -> None:
    """At most 100 lines, a whole program within the first ten or so."""
    assert len(README.splitlines()) <= 100
    assert README.splitlines()[2] == "```python"


def test_its_links_lead_somewhere() -> None:
    """Inside the project."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_the_errors_it_names_exist() -> None:
    """Every name in code that looks like a class of the package is one."""
    for name in re.findall(r"`([A-Z]\w+Error|[A-Z]\w+Event)`", README):
        assert hasattr(trio_socket_task, name), name


def load(path: str) -> ModuleType:
    """Import a file of the project that is in no package."""
    spec = spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the hook of the build, without what only a build needs."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.__dict__["MetadataHookInterface"] = object
    monkeypatch.setitem(sys.modules, "hatchling.metadata.plugin.interface", interface)
    return load("hatch_build.py")


def test_what_it_says_of_speed_was_measured() -> None:
    """The sentence is the one that the results give; `nox -s charts` writes it."""
    ratios = json.loads((ROOT / "docs" / "benchmarks" / "results.json").read_text(encoding="utf-8"))["ratios"]
    said = load("tests/bench/speed/claim.py").sentence(ratios)
    assert said in README
    assert said in (ROOT / "docs" / "benchmarks" / "claim.md").read_text(encoding="utf-8")


def test_a_figure_of_speed_is_that_of_the_worse_placement() -> None:
    """And is rounded down, so that nothing better is said than what was measured."""
    claim = load("tests/bench/speed/claim.py")
    equal = dict.fromkeys([*claim.TRIO, *claim.ASYNCIO], 3.0)
    places = {"sharing": equal | {"httpx-ws": 2.39}, "apart": equal | {"picows on uvloop": 0.68}}
    said = claim.sentence({f"{scenario}, {place}": places[place] for scenario in claim.QUESTIONS for place in places})
    said = said.replace("\n", " ")
    assert said.startswith(
        "It echoes 2.3, receives 2.3 and sends 2.3 times as fast as the next WebSocket client on Trio"
    )
    assert "and 0.6, 0.6 and 0.6 times as fast as the fastest on asyncio" in said
    assert said.endswith("the worse of two: client and server share a processor, or have one each).")


def test_a_package_index_has_nothing_that_leads_nowhere(hook: ModuleType) -> None:
    """As long as the project has no address, neither pictures nor links into it are shown there."""
    shown = hook.for_index(README, None)
    assert re.findall(r"\]\((?!https?:|#)|src|!\[", shown) == []
    assert "Every hazard has a test" in shown


def test_a_package_index_links_to_the_address(hook: ModuleType) -> None:
    """Pages and pictures, once there is one."""
    shown = hook.for_index(README, "https://host.example/project/")
    assert "(https://host.example/project/blob/HEAD/docs/benchmarks.md)" in shown
    assert '"https://host.example/project/raw/HEAD/docs/benchmarks/first-look.svg"' in shown
    assert '"https://host.example/project/raw/HEAD/docs/benchmarks/first-look-dark.svg"' in shown
    assert "(https://host.example/project/raw/HEAD/docs/casts/keep.svg)" in shown
    assert re.findall(r"[(\"]docs/", shown) == []


def test_its_pictures_are_there() -> None:
    """Those of the front page of the documentation, too."""
    for picture in re.findall(r'(?:src|srcset)="([^"]+)"', README):
        assert (ROOT / picture).exists(), picture
    for picture in re.findall(r"```{image} (\S+)|!\[[^]]*\]\((\S+)\)", INDEX):
        assert (ROOT / "docs" / "".join(picture)).exists(), picture
