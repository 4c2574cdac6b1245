"""The documentation in the code: docstrings, and the glossary of the ledger's terms."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.trees import tree_of

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT)
    for package in ("bfedrec", "consensus")
    for path in ROOT.glob(f"{package}/**/*.py")
)

RIDDLE = re.compile(
    r"\s*(What|Whether|How|Who|Whom|Whose|Why|Where|Those|Which|With|Without|That|As)\b"
)
"""Openings of a docstring that says something about a thing before it says what the thing is."""

NOT_YET: frozenset[str] = frozenset()
"""Rooms whose docstrings still open like that."""

BARE_YET: frozenset[str] = frozenset()
"""Rooms with public definitions that still lack a docstring."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def room_of(path: Path) -> str:
    """The room of a source file: its folder, or the file itself at the top of a package."""
    return path.parent.as_posix() if len(path.parts) > 2 else path.as_posix()


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of every docstring, those below fields included."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text


def riddles(path: Path) -> list[str]:
    """The docstrings of a source file with a forbidden opening, as ``path:line: first line``."""
    return [
        f"{path}:{line}: {text.strip().splitlines()[0]}"
        for line, text in docstrings(tree_of(ROOT / path))
        if RIDDLE.match(text)
    ]


def test_a_docstring_opens_with_what_the_thing_is_or_does() -> None:
    found = [line for path in SOURCES if room_of(path) not in NOT_YET for line in riddles(path)]
    assert not found, "\n".join(found)


def test_a_room_that_is_done_is_not_on_the_list() -> None:
    left = {room_of(path) for path in SOURCES if riddles(path)}
    assert left >= NOT_YET, f"take off the list: {sorted(NOT_YET - left)}"


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """The public classes and functions of a module's or a class's body, overloads left out."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            decorators = {ast.unparse(each) for each in node.decorator_list}
            if "overload" not in decorators:
                yield node


def bare(trees: dict[Path, ast.Module]) -> list[str]:
    """The public definitions without a docstring; a method inherits that of a base class."""
    classes = {
        node.name: node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    def inherited(owner: ast.ClassDef, name: str) -> bool:
        for base in owner.bases:
            found = classes.get(ast.unparse(base).split("[")[0].split(".")[-1])
            if found is None:
                continue
            methods = {node.name: node for node in found.body if isinstance(node, Definition)}
            if name in methods and ast.get_docstring(methods[name]):
                return True
            if found is not owner and inherited(found, name):
                return True
        return False

    missing = []
    for path, tree in trees.items():
        if not ast.get_docstring(tree):
            missing.append(f"{path}")
        for node in public(tree.body):
            if not ast.get_docstring(node):
                missing.append(f"{path}:{node.lineno}: {node.name}")
            if isinstance(node, ast.ClassDef):
                missing += [
                    f"{path}:{method.lineno}: {node.name}.{method.name}"
                    for method in public(node.body)
                    if not ast.get_docstring(method) and not inherited(node, method.name)
                ]
    return missing


def test_every_public_definition_has_a_docstring() -> None:
    trees = {path: tree_of(ROOT / path) for path in SOURCES}
    found = {line: room_of(Path(line.split(":")[0])) for line in bare(trees)}
    missing = [line for line, room in found.items() if room not in BARE_YET]
    assert not missing, "\n".join(missing)
    left = set(found.values())
    assert left >= BARE_YET, f"take off the list: {sorted(BARE_YET - left)}"


def test_a_definition_without_a_docstring_is_found() -> None:
    a = 'class A:\n    """A."""\n    def f(self): ...\n'
    b = 'class B(A):\n    """B."""\n    def f(self): ...\n'
    source = f'"""A module."""\n{a}{b}'
    assert bare({Path("m.py"): ast.parse(source)}) == ["m.py:4: A.f", "m.py:7: B.f"]


# --- The glossary -----------------------------------------------------------------------------

PENDING: frozenset[str] = frozenset()
"""Names in the glossary that the code does not have yet."""


def glossary() -> list[list[str]]:
    """The rows of the glossary in consensus/README.md: term, definition, code, paper, wire."""
    text = (ROOT / "consensus" / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Glossary\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


NAMES = sorted({name for row in glossary() for name in re.findall(r"`([\w.]+:[\w.]+)`", row[2])})


def exists(name: str) -> bool:
    """True if ``module:Name`` or ``module:Name.field`` is there; a room is one of consensus."""
    module, _, path = name.partition(":")
    if not module.startswith("bfedrec."):
        module = f"consensus.{module}"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    owner, _, field = path.partition(".")
    if not field:
        return hasattr(found, owner)
    cls = getattr(found, owner, None)
    return inspect.isclass(cls) and (
        hasattr(cls, field)
        or field in inspect.get_annotations(cls)
        or f"self.{field} = " in inspect.getsource(cls)
    )


def test_the_glossary_defines_each_term_once() -> None:
    rows = glossary()
    terms = [row[0] for row in rows]
    assert len(rows) > 40
    assert all(len(row) == 5 and row[0] and row[1] for row in rows)
    assert len(set(terms)) == len(terms)
    assert terms == sorted(terms, key=str.lower)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PENDING])
def test_the_code_has_the_name_that_the_glossary_gives(name: str) -> None:
    assert exists(name)


def test_a_name_that_the_code_has_is_not_pending() -> None:
    assert not {name for name in PENDING if exists(name)}
    assert set(NAMES) >= PENDING
