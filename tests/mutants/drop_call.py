"""Leave out a call: a kind of change that cosmic-ray does not have."""

from __future__ import annotations

from collections.abc import Iterator

import parso
from cosmic_ray.operators.operator import Operator
from parso.tree import NodeOrLeaf


class DropCall(Operator):
    """Puts `pass` for a statement that is a call, perhaps awaited, and nothing else."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Give where it can."""
        if node.type == "simple_stmt" and node.children[0].type == "atom_expr" and node.get_code().strip()[-1] == ")":
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:  # noqa: ARG002 (there is one way only)
        """Do it."""
        node.children[0] = parso.parse(node.children[0].get_first_leaf().prefix + "pass")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Give none: they are for the tests of cosmic-ray itself."""
        return ()
