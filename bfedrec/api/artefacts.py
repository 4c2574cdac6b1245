"""`table` and `figure`: the registered artefacts, of recorded runs, as a frame and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.config.help import nearest
from bfedrec.config.yaml_core import ConfigError
from bfedrec.plugins import need_plugins
from bfedrec.report import registry
from bfedrec.report.artefact import RECORDED, Request
from bfedrec.report.drawing import draw
from bfedrec.report.registry import Kind
from bfedrec.report.table import as_csv
from bfedrec.runs.folder import RunError

if TYPE_CHECKING:  # slow to load
    import pandas as pd
    from matplotlib.figure import Figure


def table(
    name: str, *overrides: str, seeds: str | None = None, records: str | Path = RECORDED
) -> pd.DataFrame:
    """The table of a name (`bfedrec table` lists them), made of the runs that are recorded.

    ``overrides``, ``seeds``: as of `bfedrec table`. ``records``: the folder of recorded runs. Its
    columns are those of the table's CSV; ``frame.attrs`` has the title, and what is lacking or
    wrong, empty if nothing is. Raises ConfigError for an unknown name.
    """
    import pandas as pd

    need_plugins()
    made = _named("table", name, registry.tables()).make(Request(overrides, seeds, Path(records)))
    frame = pd.read_csv(StringIO(as_csv(made.table)))
    told = {"title": made.table.title, "lacking": made.lacking, "wrong": made.wrong}
    frame.attrs.update(told)
    return frame


def figure(
    name: str, *overrides: str, seeds: str | None = None, records: str | Path = RECORDED
) -> Figure:
    """The figure of a name (`bfedrec figure` lists them), drawn from the runs that are recorded.

    Arguments as of `table`. Raises ConfigError for an unknown name, and
    `bfedrec.runs.folder.RunError`, with the command that makes them, for runs that are lacking.
    """
    need_plugins()
    kind = _named("figure", name, registry.figures())
    drawn = draw(kind, Request(overrides, seeds, Path(records)))
    if drawn.figure is None:
        raise RunError(f"{name}: {drawn.lacking or 'nothing to draw'}")
    return drawn.figure


def _named(what: str, name: str, known: Mapping[str, Kind]) -> Kind:
    if name not in known:
        names = ", ".join(known)
        raise ConfigError(f"{what} {name!r}: not one of {names}{nearest(name, list(known))}")
    return known[name]
