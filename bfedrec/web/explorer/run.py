"""The page of a run, live or finished. Its parts that change are fragments, which `live` sends
again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from math import isfinite, nan
from pathlib import Path
from typing import Final, TypeVar

from starlette.responses import Response

from bfedrec.config.load import departures
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import MOST_BYTES
from bfedrec.explorer.catalogue import Run, State
from bfedrec.explorer.comparison import config_of
from bfedrec.explorer.curves import Curves
from bfedrec.explorer.heights import Heights
from bfedrec.explorer.reading import read_file, read_object
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer import ahead, charts
from bfedrec.web.explorer.runs import BADGES, amount, option
from bfedrec.web.explorer.visits import Visit, address
from bfedrec.web.live import Figure
from bfedrec.web.pages import decimals, render

ROWS: Final = 25
"""Rows of the tables of scored rounds and of heights; the latest ones."""
FRAGMENTS: Final = ("state", "scores", "costs", "rounds", "heights", "manifest")
"""The parts of the page that change while a run goes on; the elements have these ids, after
``part-``, and the templates these names, after ``run_``."""
FOLLOWED: Final = (State.RUNNING, State.INTERRUPTED, State.STOPPED)
"""States after which a run may go on: a visitor of its page is told."""

Part = TypeVar("Part")
Pairs = list[tuple[str, str]]


class Facts:
    """All that the page of a run tells of it at one moment. What cannot be read is empty, and
    `problems` has a line about it."""

    def __init__(self, visit: Visit, run: Run | None = None) -> None:
        """Read the run that the address names; ``run``: what the catalogue has just told of it.
        Raises `RunError` if it is none."""
        explorer = visit.explorer
        self.folder = visit.place()
        self.address = visit.path
        self.run = run or explorer.catalogue.run(self.address)
        self.problems: list[str] = []
        self.curves = self._read(Curves(), lambda: explorer.curves.of(self.folder))
        self.heights = self._read(Heights(), lambda: explorer.heights.of(self.folder))
        nothing: Mapping[str, object] = {}
        self.manifest = self._read(nothing, lambda: _manifest(self.folder))

    def _read(self, empty: Part, read: Callable[[], Part]) -> Part:
        try:
            return read()
        except RunError as error:
            self.problems.append(str(error))
            return empty

    # -- parts ------------------------------------------------------------------------------------

    def fragments(self) -> dict[str, str]:
        """The HTML of each of `FRAGMENTS`."""
        values = self.values()
        return {name: render(f"explorer/run_{name}.html", values) for name in FRAGMENTS}

    def figures(self) -> dict[str, Figure]:
        """The charts, by their ids."""
        return {
            "chart-scores": charts.scores(self.curves),
            "chart-costs": charts.costs(self.curves, self.heights),
        }

    def values(self) -> dict[str, object]:
        """The values of the fragments' templates."""
        lines = self.lines()
        return {
            "facts": self,
            "url": address,
            "entry": self.run,
            "address": self.address,
            "badge": BADGES[self.run.state],
            "scored": self.scores(),
            "bytes": self.bytes(),
            "consensus": self.consensus(),
            "lines": lines,
            "line_names": list(dict.fromkeys(name for line in lines for name in line)),
            "rows": self.heights.rows[: -ROWS - 1 : -1],
        }

    def scores(self) -> Pairs:
        """The scores that the list of runs would show, all of them."""
        found = self.run.figures
        told = [
            (charts.title_of(name), f"{value:.4f}")
            for name, value in found.items()
            if "@" in name and isinstance(value, float | int)
        ]
        loss = self.run.number("loss")
        return told if loss is None else [*told, ("training loss", f"{loss:.5g}")]

    def bytes(self) -> Pairs:
        """Bytes by kind."""
        figures = self.run.figures
        kinds = {
            "clients to servers": self.run.number("uplink_bytes", "uplink_payload_bytes"),
            "servers to clients": self.run.number("downlink_bytes", "broadcast_payload_bytes"),
            "servers to clients, if all fetched each aggregate": self.run.number(
                "downlink_bytes_broadcast"
            ),
            "servers to clients, if those that come back catch up": self.run.number(
                "downlink_bytes_catch_up"
            ),
            "between servers": self.run.number("gossip_bytes"),
        }
        by_kind = [
            (name.removeprefix("gossip_bytes_"), value)
            for name, value in figures.items()
            if name.startswith("gossip_bytes_") and isinstance(value, int | float)
        ] or list(self.heights.bytes_by_kind)
        told = [(name, amount(value, "B")) for name, value in kinds.items() if value is not None]
        return told + [(f"between servers: {name}", amount(value, "B")) for name, value in by_kind]

    def consensus(self) -> Pairs:
        """The counts of the ledger: attempts, committees, evidence and the like."""
        units = {"simulated_seconds": "s", "wall_seconds": "s"}
        return [
            (name.replace("_", " "), amount(value, units.get(name, "")))
            for name, value in self.run.figures.items()
            if isinstance(value, int | float)
            and "@" not in name
            and "bytes" not in name
            and name not in ("height", "loss")
        ]

    def lines(self) -> list[dict[str, str]]:
        """The latest scored rounds, the last first."""
        columns, found = self.curves.columns, []
        for place in range(self.curves.length - 1, max(-1, self.curves.length - 1 - ROWS), -1):
            row = {name: column[place] for name, column in columns.items()}
            found.append(
                {"round": f"{int(row['height']):,}"}
                | {charts.title_of(name): decimals(row[name]) for name in self.curves.metrics}
                | ({"loss": f"{row['loss']:.5g}"} if isfinite(row.get("loss", nan)) else {})
                | {
                    told: amount(row[name], unit)
                    for name, told, unit in SHOWN
                    if name in row and row[name] == row[name]
                }
            )
        return found


SHOWN: Final = (
    ("attempts", "attempts", ""),
    ("simulated_seconds", "simulated time", "s"),
    ("uplink_bytes", "from clients", "B"),
    ("downlink_bytes", "to clients", "B"),
    ("gossip_bytes", "between servers", "B"),
    ("refused_messages", "refused messages", ""),
    ("evidence", "evidence", ""),
)
"""Totals of the table of scored rounds: name, title, unit."""


def show(visit: Visit) -> Response:
    """The page of a run."""
    facts = Facts(visit)
    if facts.run.state is State.BROKEN:
        raise RunError(facts.run.told)
    ahead.follow(visit.explorer, facts.folder)
    config, told, text = None, "", []
    try:
        config = config_of(facts.folder)
    except RunError as error:
        told = "" if facts.run.state is State.IMPORTED else str(error)
    try:
        content = read_file(facts.folder / "config.yaml", MOST_BYTES)
        text = content.decode(errors="replace").splitlines()
    except (RunError, FileNotFoundError):
        pass
    values = {
        **facts.values(),
        "name": facts.run.name,
        "problems": facts.problems,
        "changed": _changed(config),
        "config_problem": told,
        "config_text": text,
        "commands": _commands(facts),
        "axes": charts.axes_of([facts.curves]) if facts.curves.length else [],
        "figures": facts.figures(),
        "live": address("live", visit.path) if facts.run.state in FOLLOWED else "",
    }
    return visit.page("run.html", values)


def curves(visit: Visit) -> Response:
    """The charts of a run as JSON; `?chart=costs` is the second, otherwise the first."""
    facts = Facts(visit)
    chart = "chart-costs" if visit.asked("chart") == "costs" else "chart-scores"
    return visit.json(facts.figures()[chart])


def _changed(config: Config | None) -> list[tuple[str, str, str]]:
    """The options that differ from their defaults, as they are shown: key, value, default."""
    found = [] if config is None else departures(config)
    return [(key, option(value), option(default)) for key, value, default in found]


def _manifest(folder: Path) -> Mapping[str, object]:
    try:
        return read_object(folder, "manifest.json")
    except FileNotFoundError:
        return {}


def _commands(facts: Facts) -> list[str]:
    """The commands that repeat the run and check it."""
    if facts.run.state is State.IMPORTED:
        return [f"bfedrec audit {shlex.quote(str(facts.folder))}"]
    place = shlex.quote(str(facts.folder))
    config = shlex.quote(str(facts.folder / "config.yaml"))
    command = "run" if facts.run.ledger or not facts.run.options.protocol else "learn"
    git = facts.manifest.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    found = [f"git checkout {commit}"] if isinstance(commit, str) and commit.isalnum() else []
    found.append(f"bfedrec {command} {config} --out again")
    if facts.run.state in (State.INTERRUPTED, State.STOPPED):
        found.append(f"bfedrec {command} {config} --out {place} --resume")
    return [*found, f"bfedrec audit {place}"] if facts.run.ledger else found
