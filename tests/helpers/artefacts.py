"""The table of docs/reproducing.md: each table and figure with its command, runs and time.

    python -m tests.helpers.artefacts --write

writes it anew. The runs follow from the registries; the time is estimated from the recorded runs of
the same experiments, and changes as more are recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bfedrec.report import registry
from bfedrec.report.artefact import RECORDED, Experiment, find
from bfedrec.report.registry import Kind, TableKind
from bfedrec.runs.figures import number
from tests.bench.document import put

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reproducing.md"
SECTION = "artefacts"
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
        hours = "" if not self.runs else "?" if self.hours is None else f"{self.hours:.2g}"
        cells = (f"`{self.name}`: {self.shows}", f"`{self.command}`", f"`{self.scratch}`")
        return f"| {' | '.join(cells)} | {self.runs} | {hours} |"


def rows() -> Iterator[Row]:
    """A row for each registered table and figure, in the order of lists."""
    for name, kind in {**registry.tables(), **registry.figures()}.items():
        what = "table" if isinstance(kind, TableKind) else "figure"
        runs, hours = _cost(kind)
        yield Row(name, kind.shows, f"bfedrec {what} {name}", f"bfedrec make {name}", runs, hours)


def _cost(kind: Kind) -> tuple[int, float | None]:
    """The number of different runs of an artefact, and their estimated hours."""
    seconds: dict[tuple[str, int], float] = {}
    usual: list[float] = []
    for experiment in kind.experiments():
        own = _seconds(experiment)
        known = [value for value in own.values() if value is not None]
        usual += known
        mean = sum(known) / len(known) if known else 0.0
        for key, value in own.items():
            seconds[key] = seconds.get(key) or (mean if value is None else value)
    if not usual:
        return len(seconds), None
    mean = sum(usual) / len(usual)
    return len(seconds), sum(value or mean for value in seconds.values()) / 3600


def _seconds(experiment: Experiment) -> dict[tuple[str, int], float | None]:
    """The recorded real seconds of each run of an experiment, by setting and seed; None where it is
    not recorded."""
    from bfedrec.sweeps.sweep import parse_seeds

    seeds = parse_seeds(experiment.seeds)
    found: dict[tuple[str, int], float | None] = {}
    for setting in find([experiment], RECORDED).settings[0]:
        assert setting.planned is not None
        key = setting.planned.model_copy(update={"seed": 0}).model_dump_json()
        for seed in seeds:
            run = setting.by_seed.get(seed)
            told = run is not None and "wall_seconds" in run.summary
            found[key, seed] = number(run.summary, "wall_seconds") if run and told else None
    return found


def text() -> str:
    """The table in Markdown."""
    head = f"| {' | '.join(HEADINGS)} |\n| --- | --- | --- | ---: | ---: |"
    return "\n".join([head, *(row.line() for row in rows())])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        put(SECTION, text(), PAGE)
    else:
        print(text())
