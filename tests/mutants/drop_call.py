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
        call = node.children[0] if node.type == "simple_stmt" else node
        if call is not node and call.type == "atom_expr" and call.get_last_leaf().value == ")":
            yield call.start_pos, call.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:  # noqa: ARG002 (there is one way only)
        """Do it."""
        node.children[0] = parso.parse(node.children[0].get_first_leaf().prefix + "pass")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Give none: they are for the tests of cosmic-ray itself."""
        return ()
