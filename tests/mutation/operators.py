"""Mutation operators beside those of `cosmic-ray`: parts of the code that are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import parso
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import IfStmt

Position = tuple[tuple[int, int], tuple[int, int]]


class SkipBranch(Operator):
    """Replaces the condition of an `if` by False: a rule is left out."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """The conditions of `if` and `elif`."""
        if isinstance(node, IfStmt):
            for condition in node.get_test_nodes():
                yield condition.start_pos, condition.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Replace condition number ``index``."""
        at = node.children.index(list(node.get_test_nodes())[index])
        node.children[at] = parso.parse(" False")
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """One example."""
        return (Example("if x:\n    y()\n", "if False:\n    y()\n"),)


class DropOperand(Operator):
    """Leaves one operand of `and` or `or` out: one condition of several no longer counts."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """The operands."""
        if node.type in ("and_test", "or_test"):
            for operand in node.children[::2]:
                yield operand.start_pos, operand.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Leave operand number ``index`` out, with the operator beside it."""
        first = 2 * index if index == 0 else 2 * index - 1
        del node.children[first : first + 2]
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """One example."""
        return (Example("x and y", " y"), Example("x and y", "x", occurrence=1))


class DropCall(Operator):
    """Replaces a statement that is a call alone by `pass`: an effect is left out."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """The statements."""
        if _is_call(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Replace the statement."""
        prefix = node.get_first_leaf().prefix
        node.children[0] = parso.parse(f"{prefix}pass")
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """One example."""
        return (Example("x()\n", "pass\n"),)


def _is_call(node: Any) -> bool:
    if node.type != "simple_stmt":
        return False
    call = node.children[0]
    return call.type in ("atom_expr", "power") and call.children[-1].get_code().startswith("(")


OWN = {kind.__name__: kind for kind in (SkipBranch, DropOperand, DropCall)}
"""The operators of this file by name."""
