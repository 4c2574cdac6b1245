"""Pages of several runs: their comparison, and a sweep's settings and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.explorer.comparison import Band, Group, Member, band, changes, grouped, member, rows
from bfedrec.explorer.curves import Curves
from bfedrec.explorer.locks import Locks
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer import charts
from bfedrec.web.explorer.runs import BADGES, amount, option
from bfedrec.web.explorer.visits import Visit
from bfedrec.web.live import Figure

MOST_RUNS: Final = 40
"""Most runs that are compared at once."""
MOST_POINTS: Final = 300
"""Most points of a curve among others."""
FIRST: Final = ("hr", "ndcg", "full_hr", "full_ndcg", "ordered_hr", "ordered_ndcg")
"""Metrics in the order in which they are offered."""
TOTALS: Final = ("loss", "attempts", "evidence", "refused_messages")
"""Other figures that are offered, after the metrics."""
UNITS: Final = {"simulated_seconds": "s", "wall_seconds": "s"}


class Chosen:
    """The runs that an address names, by setting. A run that cannot be shown is a line in
    `problems`."""

    def __init__(self, visit: Visit) -> None:
        self.problems: list[str] = []
        self.addresses = list(dict.fromkeys(visit.all_asked("run", MOST_RUNS + 1)))
        if len(self.addresses) > MOST_RUNS:
            self.addresses.pop()
            self.problems.append(f"More than {MOST_RUNS} runs: the first ones are shown.")
        members, self.curves = [], {}
        locks = visit.explorer.catalogue.locks()
        for address in self.addresses:
            try:
                found = self._member(visit, address, locks)
                self.curves[address] = visit.explorer.curves.of(found.folder)
            except (RunError, HTTPException) as error:
                why = error.detail if isinstance(error, HTTPException) else str(error)
                self.problems.append(f"{address}: {why}")
                continue
            members.append(found)
            if found.told:
                self.problems.append(f"{address}: {found.told}")
        self.groups = grouped(members)

    def _member(self, visit: Visit, address: str, locks: Locks) -> Member:
        folder = visit.place(address)
        return member(visit.explorer.catalogue.run(address, locks), folder)

    @property
    def query(self) -> str:
        """The query that names these runs."""
        return urlencode([("run", address) for address in self.addresses])

    def figure(self) -> Figure:
        """The chart of all groups."""
        found = [self._curves(group) for group in self.groups]
        flat = [each for group in found for each in group if each.length]
        axes = charts.axes_of(flat) if flat else []
        names = _names(flat)
        wanted = [*names, *(axis["key"] for axis in axes)]
        bands: dict[str, Band] = {}
        for group, each in zip(self.groups, found, strict=True):
            label = f"{group.name} ({len(each)} seeds)" if len(each) > 1 else group.name
            while label in bands:
                label += "'"
            bands[label] = band(each, wanted, MOST_POINTS)
        return charts.compared(bands, axes, names)

    def _curves(self, group: Group) -> list[Curves]:
        return [self.curves[each.run.address] for each in group.members]


def _names(curves: Sequence[Curves]) -> list[str]:
    """The figures that can be drawn: metrics first, then the loss and the totals."""
    every = dict.fromkeys(name for each in curves for name in each.columns)
    metrics = [name for name in every if "@" in name]
    metrics.sort(key=lambda name: (_place(name), name))
    return [*metrics, *(name for name in TOTALS if name in every)]


def _place(name: str) -> int:
    metric = name.partition("@")[0]
    return FIRST.index(metric) if metric in FIRST else len(FIRST)


def show(visit: Visit) -> Response:
    """The runs that `?run=A&run=B` names, side by side."""
    chosen = Chosen(visit)
    figure = chosen.figure()
    values = {
        "chosen": chosen,
        "groups": chosen.groups,
        "rows": rows(chosen.groups),
        "changes": changes(chosen.groups),
        "figure": figure if figure["series"] else None,
        "badges": {state.value: badge for state, badge in BADGES.items()},
        "told": told,
        "title_of": charts.title_of,
        "option": option,
    }
    return visit.page("compare.html", values)


def curves(visit: Visit) -> Response:
    """The chart of the runs that `?run=A&run=B` names, as JSON."""
    return visit.json(Chosen(visit).figure())


def told(name: str, value: float | None, sign: bool = False) -> str:
    """A figure for people, by its name; with ``sign`` a difference."""
    if value is None:
        return "–"
    if "@" in name or "share" in name:
        return f"{value:{'+' if sign else ''}.4f}".replace("-", "−")
    unit = "B" if "bytes" in name else UNITS.get(name, "")
    shown = amount(abs(value), unit)
    plus = "+" if sign else ""
    return f"{'−' if value < 0 else plus}{shown}"
