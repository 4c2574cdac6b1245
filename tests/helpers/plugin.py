"""The parts that docs/extending.md shows: the whole files of a user's own package."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A file in the guide: its name in a line of its own, then its text between fences."""


def shown() -> dict[str, str]:
    """The files that the guide shows, by name."""
    return dict(BLOCK.findall(GUIDE.read_text(encoding="utf-8")))


def imported(folder: Path, name: str) -> None:
    """Write the guide's file ``shop_parts/NAME.py`` to a folder and import it."""
    path = folder / f"{name}.py"
    path.write_text(shown()[f"shop_parts/{name}.py"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
