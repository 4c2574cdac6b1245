"""The types inside: untyped maps stay at the edges, and what travels together is a record."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.trees import tree_of

ROOT = Path(__file__).resolve().parent.parent

#: The modules that may say `dict[str, Any]`, and why. Elsewhere a map of unlike values is a frozen
#: dataclass or a TypedDict, or, on its way to or from a file, one of the aliases whose values have
#: to be checked: `Node` (consensus.encoding.node), `Tree` (bfedrec.section) and `Figures`
#: (bfedrec.runs.figures).
EDGES = {
    "bfedrec.parts": "pydantic's create_model takes fields as a map of unlike values",
    "bfedrec.report.style": "`Row`: a line of a figure's CSV, each figure having its own columns",
    "consensus.encoding.frozen": "the namespace of generated source",
}

#: Parameters that a function may have beside self, unless numba compiles it: a kernel takes arrays.
PARAMETERS = 8


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the two packages: its dotted name and its tree."""
    for package in ("bfedrec", "consensus"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name, tree_of(path)


def untyped(tree: ast.AST) -> int:
    """The number of places that say `dict[str, Any]`."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Subscript))
    return sum(ast.unparse(node) == "dict[str, Any]" for node in found)


def long_lists(tree: ast.AST) -> Iterator[str]:
    """The functions with more than `PARAMETERS` parameters that are no kernels."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            kernel = any("njit" in ast.unparse(each) for each in node.decorator_list)
            if len([name for name in names if name not in ("self", "cls")]) > PARAMETERS:
                yield from () if kernel else (node.name,)


def test_untyped_maps_stay_at_the_edges() -> None:
    assert {name for name, tree in sources() if untyped(tree)} == set(EDGES)


def test_no_function_has_a_long_argument_list() -> None:
    found = [f"{name}.{each}" for name, tree in sources() for each in long_lists(tree)]
    assert found == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def f(x: dict[str, Any]) -> list[dict[str, Any]]: ...", 2),
        ("found: tuple[dict[str, dict[str, Any]], ...] = ()", 1),
        ("x: dict[str, object] = {}; y: Mapping[str, Any] = {}  # dict[str, Any]", 0),
    ],
)
def test_untyped_maps_are_counted(source: str, count: int) -> None:
    assert untyped(ast.parse(source)) == count


def test_long_lists_are_found_but_in_kernels() -> None:
    names = ", ".join(f"p{place}" for place in range(PARAMETERS))
    source = (
        f"def f(self, {names}): ...\ndef g({names}, *, more): ...\n@njit\ndef h({names}, x): ..."
    )
    assert list(long_lists(ast.parse(source))) == ["g"]
