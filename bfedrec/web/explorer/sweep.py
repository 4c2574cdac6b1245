"""The page of a sweep: its settings and their runs, with the intervals of its table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from bfedrec.evaluation.intervals import Interval
from bfedrec.explorer.catalogue import Run
from bfedrec.explorer.sweeps import CompactRun, SweepSetting, SweepTable, read_compact, read_table
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.charts import title_of
from bfedrec.web.explorer.compare import MOST_RUNS, told
from bfedrec.web.explorer.runs import BADGES
from bfedrec.web.explorer.visits import Visit

PER_PAGE: Final = 100
"""Lines of a compact record on a page."""
SHORT: Final = ("simulated_seconds", "attempts", "uplink_bytes", "downlink_bytes", "gossip_bytes")
"""Figures of the table beside the scores; all others are folded."""


class Line(NamedTuple):
    """One setting."""

    setting: SweepSetting
    label: str
    """The overrides that not all settings have."""
    runs: tuple[tuple[int, str, str], ...]
    """Seed, name and address of each run; the address is empty for one that is not below the served
    folder."""
    compare: str
    """The address of its runs' curves; empty without any."""


def show(visit: Visit) -> Response:
    """The page of a sweep."""
    folder = visit.place()
    known = visit.explorer.catalogue.sweep(visit.path)
    problems = [known.told] if known.told else []
    table: SweepTable | None = None
    compact: tuple[CompactRun, ...] = ()
    try:
        compact = read_compact(folder)
    except FileNotFoundError:
        pass
    except RunError as error:
        problems.append(str(error))
    try:
        table = read_table(folder)
    except FileNotFoundError:
        if not compact:  # the record of many small runs has lines alone
            problems.append("It has no sweep.json: its settings are not known.")
    except RunError:
        pass  # `known` tells it
    lines = _lines(visit, table) if table else []
    page = visit.asked("page")
    number = max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 7 else 1
    last = max(1, -(-len(compact) // PER_PAGE))
    number = min(number, last)
    addresses = [address for line in lines for _, _, address in line.runs if address]
    values = {
        "run": "",  # its page has no tabs of a run
        "sweep": known,
        "problems": list(dict.fromkeys(problems)),
        "table": table,
        "lines": lines,
        "shared": " ".join(table.shared) if table else "",
        "names": _names(table) if table else [],
        "compact": compact[(number - 1) * PER_PAGE : number * PER_PAGE],
        "compact_count": len(compact),
        "page": number,
        "last": last,
        "compare": _address(addresses),
        "left_out": max(0, len(addresses) - MOST_RUNS),
        "told": told,
        "title_of": title_of,
        "interval": interval,
        "badges": {state.value: badge for state, badge in BADGES.items()},
    }
    return visit.page("sweep.html", values)


def interval(name: str, found: Interval | None) -> str:
    """A mean with the bounds of its interval, for people."""
    if found is None:
        return "–"
    mean = told(name, found.mean)
    if found.low is None or found.high is None or found.low == found.high:
        return mean
    return f"{mean} [{told(name, found.low)}, {told(name, found.high)}]"


def _names(table: SweepTable) -> list[str]:
    """The figures of the table: scores, then costs."""
    every = dict.fromkeys(name for each in table.settings for name in each.figures)
    return [name for name in every if "@" in name] + [name for name in SHORT if name in every]


def _lines(visit: Visit, table: SweepTable) -> list[Line]:
    places = _places(visit.path, visit.explorer.catalogue.look().runs, table)
    lines = []
    for setting in table.settings:
        stops = {seed: name for seed, (name, _) in setting.stops.items()}
        runs = tuple(
            (seed, name, places.get(name, ""))
            for seed, name in sorted({**setting.runs, **stops}.items())
        )
        compare = _address([each[2] for each in runs if each[2]])
        lines.append(Line(setting, table.label(setting), runs, compare))
    return lines


def _places(sweep: str, runs: tuple[Run, ...], table: SweepTable) -> Mapping[str, str]:
    """The address of each of a sweep's runs by its folder's name: below the sweep, or else the
    first of that name anywhere."""
    wanted, found = table.run_names, {}
    for run in runs:
        inside = Path(run.address).is_relative_to(sweep)
        if run.addressable and run.name in wanted and (inside or run.name not in found):
            found[run.name] = run.address
    return found


def _address(runs: list[str]) -> str:
    """The address of the comparison of runs; empty without any."""
    query = urlencode([("run", each) for each in runs[:MOST_RUNS]])
    return f"/compare?{query}" if runs else ""
