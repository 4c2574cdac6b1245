"""The table of docs/reproducing.md: each table and figure with its command, runs and time.

    python -m tests.helpers.artefacts --write

writes it anew. The runs follow from the registries; the time is estimated from the recorded runs of
the same experiments, and changes as more are recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bfedrec.report import registry
from bfedrec.report.artefact import RECORDED, Experiment
from bfedrec.report.registry import Kind, TableKind
from bfedrec.runs.figures import number
from bfedrec.sweeps.recorded import read
from bfedrec.sweeps.sweep import parse_seeds, plan
from tests.bench.document import put

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reproducing.md"
SECTION = "artefacts"
Key = tuple[str, int]
"""A run's config hash and seed."""
HEADINGS = ("artefact", "command", "from scratch", "runs", "hours")


@dataclass(frozen=True)
class Row:
    """A table or figure on the page."""

    name: str
    shows: str
    command: str
    """The command that makes it of recorded runs."""
    scratch: str
    """The command that also makes the runs it lacks."""
    runs: int
    """Number of different runs that it is made of."""
    hours: float | None
    """Estimated real time of these runs, one after the other; None where none is recorded."""

    def line(self) -> str:
        """The row in Markdown."""
        hours = _told(self.runs, self.hours)
        cells = (f"`{self.name}`: {self.shows}", f"`{self.command}`", f"`{self.scratch}`")
        return f"| {' | '.join(cells)} | {self.runs} | {hours} |"


def _told(runs: int, hours: float | None) -> str:
    return "" if not runs else "?" if hours is None else f"{hours:.2g}"


def rows() -> Iterator[Row]:
    """A row for each registered table, then each figure, by name: the order of lists depends on
    what was imported first."""
    known = _known()
    for name, kind in (*sorted(registry.tables().items()), *sorted(registry.figures().items())):
        what = "table" if isinstance(kind, TableKind) else "figure"
        runs, hours = _cost(_seconds(kind, known))
        yield Row(name, kind.shows, f"bfedrec {what} {name}", f"bfedrec make {name}", runs, hours)


def total() -> tuple[int, float | None]:
    """The number of different runs of all tables and figures together, and their hours."""
    known, seconds = _known(), {}
    for kind in (*registry.tables().values(), *registry.figures().values()):
        seconds |= _seconds(kind, known)
    return _cost(seconds)


def _known() -> dict[Key, float]:
    """The real seconds of the recorded runs."""
    return {
        (run.config_hash, run.config.seed): number(run.summary, "wall_seconds")
        for run in read(RECORDED)
        if "wall_seconds" in run.summary
    }


def _seconds(kind: Kind, known: Mapping[Key, float]) -> dict[Key, float | None]:
    """The seconds of each run of an artefact: one that is not recorded takes as long as the mean of
    the others of its experiment."""
    seconds: dict[Key, float | None] = {}
    for experiment in kind.experiments():
        keys = _keys(experiment)
        told = [known[key] for key in keys if key in known]
        usual = sum(told) / len(told) if told else None
        seconds |= {key: known.get(key, usual) for key in keys}
    return seconds


def _cost(seconds: Mapping[Key, float | None]) -> tuple[int, float | None]:
    """The number of these runs and their estimated hours: one without takes the mean of the
    others."""
    there = [value for value in seconds.values() if value is not None]
    if not there:
        return len(seconds), None
    mean = sum(there) / len(there)
    return len(seconds), sum(mean if v is None else v for v in seconds.values()) / 3600


def _keys(experiment: Experiment) -> list[Key]:
    """The config hash and seed of each run of an experiment."""
    sweep = plan(experiment.config, experiment.grid, parse_seeds(experiment.seeds), None)
    return [(setting.config_hash, seed) for setting in sweep.settings for seed in setting.runs]


def text(found: Iterable[Row]) -> str:
    """The table of these rows in Markdown, with all of them together in its last line."""
    head = f"| {' | '.join(HEADINGS)} |\n| --- | --- | --- | ---: | ---: |"
    runs, hours = total()
    last = f"| all together | | `bfedrec make` | {runs} | {_told(runs, hours)} |"
    return "\n".join([head, *(row.line() for row in found), last])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        put(SECTION, text(rows()), PAGE)
    else:
        print(text(rows()))
