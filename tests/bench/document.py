"""The sections of docs/scaling.md that the commands write which measure them."""

from __future__ import annotations

from pathlib import Path

from tests.bench.command import ROOT

SCALING = ROOT / "docs" / "scaling.md"


def put(section: str, text: str, path: Path = SCALING) -> None:
    """Replace what stands between the marks of a section. Raises ValueError for a document without
    them."""
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path}: no section {section!r} between {begin.strip()} and {end}")
    path.write_text(f"{before}{begin}{text.strip()}\n{end}{after}", encoding="utf-8")
