"""The layers: experiments -> bfedrec -> consensus, and what may be loaded when."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Every import statement of a package, wherever it stands: file and top-level module."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield where, alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{where}: a relative import hides its layer"
                yield where, (node.module or "").partition(".")[0]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("consensus", {"bfedrec", "experiments", "tests", "torch", "pandas", "numba", "pydantic"}),
        ("bfedrec", {"experiments", "tests"}),
    ],
)
def test_imports_run_one_way(package: str, forbidden: set[str]) -> None:
    wrong = [f"{where} imports {name}" for where, name in imports(package) if name in forbidden]
    assert wrong == []


def test_experiments_hold_no_code() -> None:
    assert list((ROOT / "experiments").rglob("*.py")) == []


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import bfedrec.cli", {"torch", "numba", "numpy", "pandas", "pydantic", "matplotlib"}),
        ("import bfedrec.config, bfedrec.runs", {"torch", "numba", "pandas", "matplotlib"}),
        ("import bfedrec.simulation", {"torch", "pandas", "matplotlib"}),
        ("import bfedrec.cohort", {"torch", "pandas"}),
        ("import consensus.world", {"torch", "pandas", "bfedrec", "numba"}),
    ],
)
def test_loading_a_module_loads_no_more_than_it_needs(statement: str, unwanted: set[str]) -> None:
    assert loaded_by(statement) & unwanted == set()
