"""The floors: imports go down only, the pure modules are pure, and nothing private of others is used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_socket_task

FLOORS = [
    {"_version", "_text", "_mask", "_hooks", "_progress", "_thread"},
    {"_refusal", "_mailbox"},
    {"_events"},
    {"_errors", "_frames"},
    {"_encoding", "_dial", "_functions", "_url", "_state", "_admission", "_wire", "_listeners", "_traffic"},
    {"_pings", "_options", "_outgoing", "_reading", "_tls"},
    {"_transport", "_signs", "_upgrade"},
    {"_handshake"},
    {"_opening"},
    {"_driver", "_block"},
    {"_task"},
    {"_manager"},
    {"_connect"},
    {"_resilient._backoff", "_resilient._proof", "_resilient._reports", "_resilient._retry"},
    {"_resilient._outbox", "_resilient._states"},
    {"_resilient._undelivered", "_resilient._delivery", "_resilient._plan"},
    {"_resilient._mail"},
    {"_resilient._connection"},
    {"_resilient._keeper"},
    {"_resilient._socket", "_resilient"},
    {"miniprogram._arguments", "miniprogram._values"},
    {"miniprogram._outcome"},
    {"miniprogram._turns"},
    {"miniprogram._calls"},
    {"miniprogram._sending"},
    {"miniprogram._task"},
    {"miniprogram._program"},
    {"miniprogram"},
    {"testing._misuse", "testing._memory", "testing._certificates"},
    {"testing._line", "testing._leaks", "testing._assertions"},
    {"testing._connection"},
    {"testing._script", "testing._handlers"},
    {"testing._server"},
    {"testing._fixtures", "testing"},
    {"testing._plugin", "_cli._demo", "_cli._words", "_cli._signals", "_cli._input", "_cli._screen"},
    {"_cli._output", "_cli._prompt"},
    {"_cli._stats", "_cli._serve", "_cli._probe", "_cli._streams"},
    {"_cli._sending"},
    {"_cli._connect"},
    {"_cli._arguments"},
    {"_cli._parser", "_cli"},
    {"__init__", "__main__"},
]
PURE = {
    "_version",
    "_text",
    "_events",
    "_upgrade",
    "_mask",
    "_url",
    "_options",
    "_state",
    "_admission",
    "_frames",
    "_encoding",
}
PURE |= {"_resilient._backoff", "_resilient._outbox", "_resilient._reports", "_resilient._retry"}
PURE |= {"_hooks", "_functions", "_resilient._proof", "miniprogram._arguments", "miniprogram._values"}
FOLDER = Path(trio_socket_task.__file__).parent
PATHS = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FOLDER.rglob("*.py")
}
MODULES = sorted(PATHS)
FLOOR = {module: number for number, modules in enumerate(FLOORS) for module in modules}


def tree(module: str) -> ast.Module:
    """Parse a module."""
    return ast.parse(PATHS[module].read_text(encoding="utf-8"))


def own_imports(module: str) -> Iterator[str]:
    """Give the modules of the package that a module imports."""
    folder = "" if PATHS[module].parent == FOLDER else PATHS[module].parent.name + "."
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield folder + (node.module or "__init__")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trio_socket_task"):
            yield (node.module or "").removeprefix("trio_socket_task").removeprefix(".") or "__init__"


def foreign_imports(module: str) -> Iterator[str]:
    """Give what a module imports from elsewhere, dotted."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_floor() -> None:
    """A new module is put on one."""
    assert set(MODULES) == set(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    """Never up, never sideways."""
    assert [other for other in own_imports(module) if FLOOR[other] >= FLOOR[module]] == []


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_know_nothing_of_trio(module: str) -> None:
    """No `async def`, no `import trio`."""
    assert not any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree(module)))
    assert [name for name in foreign_imports(module) if name.split(".")[0] in {"trio", "trio_websocket"}] == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_private_of_other_packages(module: str) -> None:
    """Neither imported nor reached through an attribute."""
    for name in foreign_imports(module):
        own = name.startswith("trio_socket_task.")
        assert own or not re.search(r"(^|\.)_(?!_)", name.replace("__future__", "")), name
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            foreign = node.value.id in {"trio", "trio_websocket", "h11", "attrs", "ssl", "os"}
            assert not (foreign and node.attr.startswith("_")), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("module", MODULES)
def test_habits(module: str) -> None:
    """A docstring first, no TYPE_CHECKING block, no catch-all without raise, no async generator."""
    parsed = tree(module)
    assert ast.get_docstring(parsed)
    source = PATHS[module].read_text(encoding="utf-8")
    assert "TYPE_CHECKING" not in source
    assert len(source.splitlines()) <= 350
    for node in ast.walk(parsed):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "BaseException":
            assert any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        if isinstance(node, ast.AsyncFunctionDef):
            yields = any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node))
            assert not yields or module == "testing._fixtures"  # pytest-trio runs each in a task of its own
