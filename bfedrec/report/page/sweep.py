"""The page of a sweep: means over seeds with intervals, a setting a row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bfedrec.config.load import NOT_HASHED, config_hash, dump
from bfedrec.config.schema import Config
from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.metrics import METRICS
from bfedrec.report.page.drawing import MOST_SERIES, dots, interval_curve, spread
from bfedrec.report.page.parts import Block, Code, Drawing, Grid, Page, Section, Words, figure
from bfedrec.report.page.run import Checked, origin, told
from bfedrec.runs.figures import number
from bfedrec.runs.folder import RunError, read_json
from bfedrec.section import flatten
from bfedrec.sweeps.recorded import Recorded, read
from bfedrec.sweeps.sweep import check_data, stop_text
from consensus.encoding.node import Node

MOST_RUNS = 2_000
COSTS = ("simulated_seconds", "attempts", "uplink_bytes", "downlink_bytes", "gossip_bytes")


Audits = Sequence[tuple[str, Checked]]
"""The outcome of every run's audit, beside its `title_of`."""


@dataclass(frozen=True)
class SettingFacts:
    """The runs of one setting, by seed."""

    overrides: Sequence[str]
    """The options that tell it from the others, as on a command line."""
    runs: Sequence[Recorded]

    @property
    def label(self) -> str:
        """The overrides in a line."""
        return " ".join(self.overrides) or "all runs"

    @property
    def done(self) -> list[Recorded]:
        """The runs that finished."""
        return [run for run in self.runs if not run.stopped]

    def interval(self, name: str) -> Interval | None:
        """The interval of a figure over the finished runs; None unless all of them have it."""
        values = [run.summary.get(name) for run in self.done]
        if not values or not all(isinstance(value, int | float) for value in values):
            return None
        return t_interval([number(run.summary, name) for run in self.done])


@dataclass(frozen=True)
class SweepFacts:
    """The content of a sweep's folder."""

    settings: Sequence[SettingFacts]
    manifest: Node
    """The manifest of the first run; empty where there is none."""
    unfinished: int
    """Number of run folders below it whose runs have not ended."""

    @property
    def runs(self) -> list[Recorded]:
        """All runs that have ended."""
        return [run for setting in self.settings for run in setting.runs]


def read_sweep(folder: Path) -> SweepFacts:
    """The runs below a folder, a setting for each config hash; those that its sweep.json names may
    also lie where `bfedrec sweep` puts them. Raises `RunError`, one line, for a folder without any.
    """
    places = [folder]
    try:
        found = {run.source: run for run in read(folder)} if folder.is_dir() else {}
        named = {} if found else _named(folder)
        for place in named:
            places.append(place)
            found |= {run.source: run for run in read(place)}
    except RecursionError:
        raise RunError(f"{folder}: folders that are too deep") from None
    runs = [*found.values()]
    if folder.is_dir() and (folder / "runs.jsonl").exists():
        runs = list(read(folder))
    if not runs:
        raise RunError(f"{folder}: neither a run nor a sweep: it holds no run that has ended")
    if len(runs) > MOST_RUNS:
        raise RunError(f"{folder}: holds {len(runs):,} runs, and a report is of {MOST_RUNS:,}")
    settings = _settings(runs)
    first = settings[0].runs[0].source
    path = (first if first.is_dir() else first.parent) / "manifest.json"
    manifest = read_json(path) if path.exists() else {}
    ended = {run.source for run in runs}
    begun = {path.parent for place in places for path in place.rglob("config.yaml")}
    unfinished = [path for path in begun - ended if not (path / "runs.jsonl").exists()]
    return SweepFacts(settings, manifest, len(unfinished))


def _named(folder: Path) -> list[Path]:
    """The run folders that a sweep.json names, which lie beside the folder of its experiment."""
    path = folder / "sweep.json"
    if not path.exists():
        return []
    found = []
    settings = read_json(path).get("settings")
    for setting in settings if isinstance(settings, list) else []:
        runs = setting.get("runs") if isinstance(setting, Mapping) else None
        for name in runs.values() if isinstance(runs, Mapping) else []:
            place = folder.resolve().parent.parent / str(name)
            if isinstance(name, str) and name == Path(name).name and place.is_dir():
                found.append(place)
    return found


def _settings(runs: Sequence[Recorded]) -> list[SettingFacts]:
    by_hash: dict[str, list[Recorded]] = {}
    for run in sorted(runs, key=lambda run: (run.config.seed, run.config.name)):
        by_hash.setdefault(run.config_hash, []).append(run)
    for each in by_hash.values():
        check_data(run.source for run in each)
    flat = {key: flatten(each[0].config) for key, each in by_hash.items()}
    differing = [
        key
        for key, value in next(iter(flat.values())).items()
        if key not in NOT_HASHED and any(other[key] != value for other in flat.values())
    ]
    settings = [
        (
            [_order(flat[name][key]) for key in differing],
            SettingFacts([_override(key, flat[name][key]) for key in differing], tuple(each)),
        )
        for name, each in by_hash.items()
    ]
    return [setting for _, setting in sorted(settings, key=lambda pair: pair[0])]


def _override(key: str, value: object) -> str:
    """An option as on the command line of a sweep, where a comma parts values."""
    plain = isinstance(value, str) and "," not in value
    return f"{key}={value if plain else json.dumps(value)}"


def _order(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value), ""
    return 1, 0.0, _shown(value)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# -- the page -------------------------------------------------------------------------------------


def sweep_page(facts: SweepFacts, audits: Audits) -> Page:
    """The page of a sweep."""
    config = facts.runs[0].config
    names = list(dict.fromkeys(n for run in facts.runs for n in run.summary if "@" in n))
    stopped = sum(run.stopped for run in facts.runs)
    failed = [(name, each.failure) for name, each in audits if each.failure]
    notices = [Words(f"The audit of {name} FAILED: {why}", "bad") for name, why in failed]
    if facts.unfinished:
        text = f"{facts.unfinished} further runs of this folder are not finished, and left out."
        notices.append(Words(text, "note"))
    sections = [
        Section("figures", "Figures", _drawn(facts, names)),
        Section("results", "Results", _results(facts, names)),
        Section("runs", "Runs", _runs(facts)),
        Section("audit", "Audit", _audits(audits)),
        Section("config", "Config", _config(facts, config)),
        Section("origin", "Data, versions and machine of the first run", origin(facts.manifest)),
        Section("again", "How to reproduce it", _again(facts)),
    ]
    seeds = sorted({run.config.seed for run in facts.runs})
    return Page(
        f"Sweep of {config.name}",
        "sweep",
        "bad" if failed else "note",
        f"{len(facts.settings)} settings, seeds {', '.join(map(str, seeds[:20]))}, on "
        f"{config.data.dataset}; means over seeds with 95 % t-intervals.",
        [
            ("settings", str(len(facts.settings))),
            ("runs that finished", str(len(facts.runs) - stopped)),
            ("runs that stopped", str(stopped)),
        ],
        notices,
        sections,
    )


def title_of(run: Recorded) -> str:
    """The name of the folder that a run has by default."""
    return f"{run.config.name}-{run.config_hash[:8]}-s{run.config.seed}"


def _drawn(facts: SweepFacts, names: Sequence[str]) -> list[Block]:
    found: list[Block] = []
    key = next((name for name in names if name.startswith(tuple(METRICS))), None)
    if key is None:
        return [Words("No run was scored.")]
    rows = [(s.label, each) for s in facts.settings if (each := s.interval(key)) is not None]
    if rows:
        label = f"{key.upper()}, test items"
        found.append(
            Drawing("dots", f"{label}: mean over seeds, 95 % interval", dots(rows, label, "dots"))
        )
    curves = [
        (setting.label, points)
        for setting in facts.settings
        if setting.done
        and (points := interval_curve([run.metrics for run in setting.done], key, t_interval))
    ]
    if curves:
        part = f" (the first {MOST_SERIES} settings)" if len(curves) > MOST_SERIES else ""
        caption = f"{key.upper()} on the validation items{part}: mean over seeds, 95 % interval"
        found.append(Drawing("spread", caption, spread(curves, key.upper(), "spread")))
    return found


def _results(facts: SweepFacts, names: Sequence[str]) -> list[Block]:
    costs = [name for name in COSTS if any(name in run.summary for run in facts.runs)]
    return [
        _grid("Metrics on the test items", facts, names, 4),
        *([_grid("Costs", facts, costs, 1)] if costs else []),
    ]


def _grid(caption: str, facts: SweepFacts, names: Sequence[str], digits: int) -> Grid:
    rows = []
    for setting in facts.settings:
        cells = [_cell(setting.interval(name), digits) for name in names]
        rows.append([setting.label, str(len(setting.done)), *cells])
    return Grid(caption, ["setting", "seeds", *names], rows)


def _cell(found: Interval | None, digits: int) -> str:
    if found is None:
        return ""
    text = f"{found.mean:,.{digits}f}"
    return text if found.half_width is None else f"{text} ± {found.half_width:,.{digits}f}"


def _runs(facts: SweepFacts) -> list[Block]:
    rows = []
    for setting in facts.settings:
        for run in setting.runs:
            state = stop_text(run.stop) if run.stopped else "finished"
            score = next((figure(v) for n, v in run.summary.items() if "@" in n), "")
            head = str(run.summary.get("head", ""))
            rows.append([title_of(run), setting.label, state, head, score])
    headings = ("run", "setting", "state", "head", "first metric")
    return [Grid("Every run", headings, rows, 4, folded=True)]


def _audits(audits: Audits) -> list[Block]:
    unmade = {each.unmade for _, each in audits}
    if len(unmade) == 1 and "" not in unmade:
        return [Words(f"Not audited: {unmade.pop()}.", "note")]
    rows = [(name, told(each).text) for name, each in audits]
    return [Grid("Audits", ("run", "outcome"), rows, 2)]


def _config(facts: SweepFacts, config: Config) -> list[Block]:
    usual, every = flatten(Config()), [flatten(run.config) for run in facts.runs]
    rows = [
        (key, _shown(value), _shown(usual.get(key)))
        for key, value in every[0].items()
        if key not in NOT_HASHED
        and usual.get(key) != value
        and all(other[key] == value for other in every)
    ]
    grid = Grid(
        "Options of all runs that differ from their defaults",
        ("option", "value", "default"),
        rows,
        3,
    )
    hashes = [(setting.label, config_hash(setting.runs[0].config)) for setting in facts.settings]
    return [
        *([grid] if rows else []),
        Grid("Config hashes (without the seed)", ("setting", "hash"), hashes, 2),
        Code("The whole config of the first run", dump(config), folded=True, file="config.yaml"),
    ]


def _again(facts: SweepFacts) -> list[Block]:
    seeds = ",".join(map(str, sorted({run.config.seed for run in facts.runs})))
    lines = []
    for setting in facts.settings:
        words = ["bfedrec", "sweep", "config.yaml", *setting.overrides, "--seeds", seeds]
        lines.append(shlex.join(words))
    return [
        Words("Save the whole config above as config.yaml; each command makes a setting's runs."),
        Code("In a shell", "\n".join(lines) + "\n"),
    ]
