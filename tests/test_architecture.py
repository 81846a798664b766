"""The floors: imports go down only, the pure modules are pure, and nothing private of others is used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_socket_task

pytestmark = pytest.mark.once

HOUSE: list[set[str]] = [
    {"_log", "_mistakes", "_tasks", "_version", "_text", "_thread"},
    {"_events"},
    {"_errors"},
    {"_functions", "_url", "_checks"},
    {"_compression", "_dial", "_policy", "_proxy_url"},
    {"_options"},
    {"_protocol"},
    {"_stream"},
    {"_session"},
    {"_byte_stream", "_service_nursery"},
    {"_socket_task"},
    {"_members"},
    {"_manager"},
    {"_connect"},
    {"_resilient"},
    {"miniprogram"},
    {"javascript"},
    {"testing"},
    {"_cli"},
    {"__init__", "__main__"},
]
"""The floors, the lowest first: modules, and folders."""
ROOMS: dict[str, list[set[str]]] = {
    "_protocol": [
        {"_compressor", "_constants", "_events", "_extension", "_mask", "_state"},
        {"_assembler", "_encoder", "_frame_parser", "_upgrade"},
        {"_deflate"},
        {"_decoder"},
        {"_connection"},
    ],
    "_stream": [
        {"_causes", "_progress", "_refusal", "_wire"},
        {"_environment", "_socks", "_tls"},
        {"_frame_log", "_http"},
        {"_proxy"},
        {"_dial"},
        {"_connect"},
    ],
    "_session": [
        {"_busy_poll", "_clock", "_deadline", "_peer_keepalive", "_statistics", "_wakeup"},
        {"_input", "_mailbox", "_poller"},
        {"_listener", "_topic"},
        {"_subscriptions", "_pings", "_reader"},
        {"_ending", "_watch"},
        {"_writer"},
        {"_incoming", "_keepalive", "_opening"},
        {"_session"},
    ],
    "_resilient": [
        {"_backlog", "_label", "_on_demand", "_reports", "_validators"},
        {"_backoff", "_proof", "_retry", "_states"},
        {"_outbox"},
        {"_queue", "_settings"},
        {"_proof_timer", "_undelivered"},
        {"_delivery"},
        {"_sender"},
        {"_connection"},
        {"_attempts"},
        {"_supervisor"},
        {"_socket"},
        {"_open"},
    ],
    "miniprogram": [
        {"_err_msg"},
        {"_arguments", "_values"},
        {"_native", "_outcome"},
        {"_callbacks", "_profile"},
        {"_callback_queue", "_invocation", "_listeners"},
        {"_program_callbacks", "_sending"},
        {"_socket"},
        {"_calls", "_sockets"},
        {"_task"},
        {"_program"},
        {""},
    ],
    "javascript": [
        {"_console", "_errors", "_platform", "_sources", "_time_limit", "_timers", "_url_map", "_values"},
        {"_engine", "_modules", "_reports", "_sockets"},
        {"_program"},
        {"_open"},
        {""},
    ],
    "testing": [
        {"_misuse", "_memory", "_certificates"},
        {"_faulty_stream", "_leaks", "_checks"},
        {"_assertions", "_server_session"},
        {"_connection"},
        {"_steps", "_handlers"},
        {"_script", "_server_core"},
        {"_server"},
        {"_fixtures"},
        {""},
        {"_plugin"},
    ],
    "_cli": [
        {"_contexts", "_demo", "_error_text", "_signals", "_input", "_screen"},
        {"_output", "_prompt"},
        {"_stats", "_run", "_serve", "_probe", "_streams", "_trace"},
        {"_sending"},
        {"_connect"},
        {"_arguments"},
        {"_parser"},
    ],
}
"""The floors inside of each folder; "" is what the folder gives out, where it gives anything."""
PURE = {"_mistakes", "_version", "_text", "_events", "_url", "_options", "_functions", "_policy", "_checks"}
PURE |= {"_compression", "_protocol"}
"""What knows nothing of Trio: modules, and a folder with all that is in it."""
PURE |= {
    f"_resilient._{name}" for name in ("backoff", "label", "outbox", "proof", "queue", "reports", "retry", "validators")
}
PURE |= {"_proxy_url", "miniprogram._arguments", "miniprogram._values"}
PURE |= {f"javascript.{name}" for name in ("_errors", "_modules", "_sources", "_time_limit", "_url_map", "_values")}
RAISES_ELSEWHERE = {"_session._reader"}
"""What catches in one task everything that it raises in another."""
FOLDER = Path(trio_socket_task.__file__).parent
PATHS = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FOLDER.rglob("*.py")
}
MODULES = sorted(PATHS)


def floors() -> Iterator[tuple[str, tuple[int, int]]]:
    """Give every module with its floor: that of its folder in the house, and its own in the folder."""
    for number, names in enumerate(HOUSE):
        for name in names:
            yield name, (number, -1)
            for level, modules in enumerate(ROOMS.get(name, [])):
                yield from ((f"{name}.{module}", (number, level)) for module in modules if module)
                if "" in modules:
                    yield name, (number, level)


FLOOR = dict(floors())


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
            assert any(isinstance(inner, ast.Raise) for inner in ast.walk(node)) or module in RAISES_ELSEWHERE
        if isinstance(node, ast.AsyncFunctionDef):
            yields = any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node))
            assert not yields or module == "testing._fixtures"  # pytest-trio runs each in a task of its own
