"""Mutants of source files, and a sample of them that a seed fixes."""

from __future__ import annotations

import ast
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutation.operators import OWN

#: Operators of `cosmic-ray` that are not used: two need arguments; what lacks a decorator of a
#: dataclass or a registry does not even begin.
UNUSED = ("VariableReplacer", "VariableInserter", "RemoveDecorator", "NoOp")
#: Operators that replace each other: what adds bytes or shifts a sum ends in a TypeError, and `is`
#: in place of `==` tells small integers alone.
ALIKE = (
    ("Add", "Sub", "Mul", "FloorDiv", "Mod", "Div"),
    ("BitAnd", "BitOr", "BitXor", "LShift", "RShift"),
    ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"),
    ("Is", "IsNot"),
)


@dataclass(frozen=True)
class Mutant:
    """One file with one change."""

    path: str
    """Path from the root of the tree."""
    line: int
    """The first line that differs, from 1."""
    operator: str
    before: str
    """The lines that differ, as they are, without indentation."""
    after: str
    text: str
    """The whole file with the change."""

    @property
    def name(self) -> str:
        """Ten hexadecimal digits that stay the same when other lines of the file change."""
        parts = "\n".join((self.path, self.operator, self.before, self.after))
        return hashlib.sha256(parts.encode()).hexdigest()[:10]


@cache
def operators() -> dict[str, Any]:
    """All mutation operators, one object each, by name."""
    known = {name.rpartition("/")[2]: get_operator(name) for name in sorted(operator_names())}
    used = {name: kind for name, kind in known.items() if _is_used(name)} | OWN
    return {name: kind() for name, kind in used.items()}


def _is_used(name: str) -> bool:
    kind, *pair = name.split("_")
    both = kind in ("ReplaceBinaryOperator", "ReplaceComparisonOperator")
    return name not in UNUSED and (not both or any(set(pair) <= set(alike) for alike in ALIKE))


def mutants(path: str, source: str, seed: str) -> Iterator[Mutant]:
    """The mutants of a file in a random order: a line first, then one of its mutants, so that lines
    that allow many do not crowd out the others, then an operator, then one of its sites. Those that
    differ in annotations and decorators (sizes of caches, frozen records) alone are left out."""
    known = operators()
    sites: dict[int, list[tuple[str, int]]] = defaultdict(list)
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in known.items():
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (line, _) in enumerate(positions):
            sites[line].append((name, occurrence))
    draws = random.Random(f"{seed} {path}")
    seen: set[str] = set()
    meaning = _meaning(source)
    while sites:
        lines = sorted(sites)
        draws.shuffle(lines)
        for line in lines:
            kind = draws.choice(sorted({name.split("_")[0] for name, _ in sites[line]}))
            site = draws.choice([site for site in sites[line] if site[0].split("_")[0] == kind])
            sites[line].remove(site)
            name, occurrence = site
            if not sites[line]:
                del sites[line]
            text = mutate_code(source, known[name], occurrence)
            mutant = _mutant(path, name, source, text)
            if _meaning(text) not in (meaning, None) and mutant.name not in seen:
                seen.add(mutant.name)
                yield mutant


def _mutant(path: str, operator: str, source: str, text: str) -> Mutant:
    old, new = source.splitlines(), text.splitlines()
    first = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    before, after = (
        " ".join(" ".join(lines[first : len(lines) - last]).split()) for lines in (old, new)
    )
    return Mutant(path, first + 1, operator, before, after, text)


def _meaning(text: str) -> str | None:
    """A file's code without annotations and decorators; None if it does not parse."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns, node.decorator_list = None, []
        elif isinstance(node, ast.ClassDef):
            node.decorator_list = []
    return ast.dump(tree)


def sample(root: Path, files: Sequence[str], count: int, seed: str) -> list[Mutant]:
    """``count`` mutants of the files, by their share of the lines that have any."""
    sources = {path: (root / path).read_text(encoding="utf-8") for path in files}
    weights = {path: _mutable(source) for path, source in sources.items()}
    files = [path for path in files if weights[path]]
    whole = sum(weights.values())
    quota = {path: max(1, count * weights[path] // whole) for path in files}
    for path in sorted(files, key=lambda path: -(count * weights[path] % whole)):
        quota[path] += sum(quota.values()) < count
    drawn = {path: mutants(path, sources[path], seed) for path in files}
    return [
        mutant for path in files for mutant, _ in zip(drawn[path], range(quota[path]), strict=False)
    ]


def _mutable(source: str) -> int:
    """The number of lines that have a mutant."""
    nodes = list(ast_nodes(get_ast(source)))
    return len(
        {
            start[0]
            for operator in operators().values()
            for node in nodes
            for start, _ in operator.mutation_positions(node)
        }
    )
