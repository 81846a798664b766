"""The mutants there are: every change, of one kind at one place, that cosmic-ray and `DropCall` can make."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from drop_call import DropCall

ROOT = Path(__file__).parents[2]
OPERATORS = {name: get_operator(name) for name in operator_names() if name != "core/NoOp"}
OPERATORS = {name: kind() for name, kind in OPERATORS.items() if not kind.arguments()} | {"DropCall": DropCall()}

HOLDERS = {"suite", "file_input", "if_stmt", "while_stmt", "for_stmt", "with_stmt", "try_stmt"}


@attrs.frozen
class Mutant:
    """One change of one module."""

    path: Path
    function: str
    operator: str
    occurrence: int
    lines: range
    """Where the statement is, or the head of one that has others in it; empty outside of functions."""
    tests: str

    def texts(self) -> tuple[str, str]:
        """Give the module, before and after."""
        before = (ROOT / self.path).read_text(encoding="utf-8")
        return before, mutate_code(before, OPERATORS[self.operator], self.occurrence)

    def compiles(self) -> bool:
        """Whether the change is Python: a `*` between parameters is no operator, though it looks like one."""
        with suppress(SyntaxError):
            return bool(compile(self.texts()[1], self.path, "exec"))
        return False

    def diff(self) -> list[str]:
        """Give the change for a reader."""
        before, after = (text.splitlines() for text in self.texts())
        return list(difflib.unified_diff(before, after, str(self.path), self.operator, lineterm="", n=2))

    def key(self) -> tuple[str, ...]:
        """Give what it is known by when lines, and modules, move: its code, without comments."""
        lines = [line.partition("  # ")[0] for line in self.diff()[3:]]
        before, after = ("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return self.path.name, self.function, before, after


def is_idle(node: parso.tree.NodeOrLeaf) -> bool:
    """Whether a change here changes nothing that runs: in an annotation, of `@final`, of a `*` between parameters."""
    if node.type == "decorator":
        return node.children[1].get_code() == "final"
    if node.type == "operator" and node.parent.type in {"parameters", "param"}:
        return True
    while node.parent is not None:
        node, inner = node.parent, node
        place = {"tfpdef": 2, "annassign": 1}.get(node.type)
        if inner is (node.children[place] if place else node.type == "funcdef" and node.annotation):
            return True
    return False


def owner(node: parso.tree.NodeOrLeaf) -> str:
    """Give the name of the function or class that a node is in; of a decorator, what it decorates."""
    if node.type == "decorator":
        while node.type != "decorated":
            node = node.parent
        while node.type not in {"funcdef", "classdef"}:
            node = node.children[-1]
    return ASTQuery(node).get_definition_name() or ""


def statement(node: parso.tree.NodeOrLeaf, start: tuple[int, int]) -> range:
    """Give the lines that run when what begins here does: none where that is when the module is imported."""
    node = node.get_root_node().get_leaf_for_position(start)
    while node.parent.type not in HOLDERS:
        node = node.parent
    lines = range(node.start_pos[0], node.end_pos[0] + (node.end_pos[1] > 0))
    while node.parent is not None and not (node.parent.type == "funcdef" and node.type == "suite"):
        node = node.parent
    return lines if node.parent is not None else range(0)


def places(path: Path, tests: str) -> Iterator[list[Mutant]]:
    """Give the variants of each kind of change at each place of a module."""
    nodes = list(ast_nodes(get_ast((ROOT / path).read_text(encoding="utf-8"))))
    found: dict[tuple[object, str], list[Mutant]] = {}
    for name, operator in OPERATORS.items():
        positions = ((node, position) for node in nodes for position in operator.mutation_positions(node))
        for number, (node, position) in enumerate(positions):
            if not is_idle(node):
                mutant = Mutant(path, owner(node), name, number, statement(node, position[0]), tests)
                found.setdefault((position, name.split("_")[0]), []).append(mutant)
    yield from found.values()
