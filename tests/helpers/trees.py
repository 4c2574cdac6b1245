"""The syntax trees of source files, of which many tests look through all."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path


@cache
def tree_of(path: Path) -> ast.Module:
    """The tree of a file, read once in a process: no test may change either."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    gc.freeze()  # else each collection of garbage looks through all trees, longer than they take
    return tree
