"""The drawing of a registered figure from the runs that are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bfedrec.report.artefact import Request, find
from bfedrec.report.registry import FigureKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure, and what there is to say of it."""

    figure: Figure | None
    """None where there is nothing to draw it of."""
    rows: Sequence[Mapping[str, Any]]
    """The data that are drawn."""
    lacking: str
    """A text about missing runs, as `Found.lacking`; empty if none is missing."""


def draw(kind: FigureKind, request: Request) -> Drawn:
    """Draw a figure; if runs are missing, only where it can be drawn from a part. Raises
    `ConfigError`, `DataError`, `RunError`."""
    rows: Sequence[Mapping[str, Any]] = ()
    if kind.source is not None:
        rows, lacking = kind.source(request)
    else:
        experiments = [one.changed(request.overrides, request.seeds) for one in kind.experiments()]
        found = find(experiments, request.records)
        lacking = found.lacking
        if not lacking or kind.of_some:
            rows = kind.rows(*found.settings)
    return Drawn(kind.draw(rows) if rows else None, rows, lacking)
