"""A part that lies outside the package: its file, written and imported as a user's would be."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def imported(folder: Path, name: str, source: str) -> None:
    """Write ``source`` to a file of that name and import it."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
