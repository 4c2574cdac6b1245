"""The sources use nothing that Pythons newer than the one of these tests refuse."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.trees import tree_of

ROOT = Path(__file__).resolve().parent.parent


def numbered(tree: ast.AST) -> Iterator[str]:
    """The texts with a numbered place of SQL, ``?1``: from 3.14 on, `sqlite3` takes values in a
    sequence for ``?`` alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\b(?:VALUES|WHERE|SET|AND)\b[^?]*\?\d", node.value)


def test_statements_of_sql_number_no_values() -> None:
    paths = [path for part in ("bfedrec", "consensus") for path in (ROOT / part).rglob("*.py")]
    assert paths
    assert {path.name for path in paths if any(numbered(tree_of(path)))} == set()


def test_a_numbered_value_is_found() -> None:
    statement = 'run("INSERT INTO content VALUES (?1, 1, 0, ?2) " "ON CONFLICT DO NOTHING", cid)'
    assert list(numbered(ast.parse(statement)))
    assert list(numbered(ast.parse('run("SELECT 1 WHERE later.height < ?2", height)')))
    assert not list(numbered(ast.parse('run("SELECT 1 WHERE height < ? AND client = ?")')))
