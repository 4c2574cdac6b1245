"""The first page: all runs and sweeps of the folder, with filter and order, and the choice of runs
to compare."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from bfedrec.explorer.catalogue import Run, State
from bfedrec.plaintext import plain, size
from bfedrec.web.explorer.visits import Visit
from bfedrec.web.pages import count, decimals, moment

PER_PAGE: Final = 200
BADGES: Final = {
    State.RUNNING: "",
    State.DONE: "good",
    State.STOPPED: "bad",
    State.BROKEN: "bad",
    State.INTERRUPTED: "soft",
    State.IMPORTED: "soft",
}
"""Class of the badge of each state; the empty one is the accent."""

Value = str | float | None


class Column(NamedTuple):
    """One column of the list."""

    key: str
    title: str
    value: Callable[[Run], Value]
    """The value by which runs are sorted; None comes last."""
    show: Callable[[Run], str]
    number: bool = True
    optional: bool = False
    """True for a column that is left out where no run has a value."""


def _metric(name: str, title: str, optional: bool = False) -> Column:
    def value(run: Run) -> float | None:
        return run.metric(name)

    def show(run: Run) -> str:
        found = run.metric(name)
        return "–" if found is None else decimals(found)

    return Column(name, title, value, show, optional=optional)


def _amount(key: str, title: str, get: Callable[[Run], float | None], unit: str) -> Column:
    def show(run: Run) -> str:
        found = get(run)
        return "–" if found is None else amount(found, unit)

    return Column(key, title, get, show, optional=True)


def amount(value: float, unit: str = "") -> str:
    """A number for people: bytes (``unit`` "B"), seconds ("s"), or a count."""
    if unit == "B":
        return size(int(value))
    if unit == "s":
        return f"{value:,.1f} s"
    if value == int(value):
        return count(int(value))
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"


def option(value: object) -> str:
    """The value of an option, as a config or an override has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _words(key: str, title: str, get: Callable[[Run], str]) -> Column:
    return Column(key, title, get, lambda run: plain(get(run), 40) or "–", number=False)


def _rounds(run: Run) -> str:
    whole = run.options.rounds
    return count(run.done) if run.state is State.DONE else f"{count(run.done)} of {count(whole)}"


COLUMNS: Final = (
    _words("state", "State", lambda run: run.state.value),
    _words("data", "Data set", lambda run: run.options.dataset),
    _words("method", "Method", lambda run: run.options.method),
    _words("protocol", "Protocol", lambda run: run.options.protocol if run.ledger else ""),
    Column("seed", "Seed", lambda run: run.options.seed, lambda run: _seed(run.options.seed)),
    Column("rounds", "Rounds", lambda run: run.done, _rounds),
    _metric("hr", "HR"),
    _metric("ndcg", "NDCG"),
    Column("k", "K", lambda run: run.options.k, lambda run: str(run.options.k)),
    _metric("full_hr", "HR, all items", optional=True),
    _metric("full_ndcg", "NDCG, all items", optional=True),
    _metric("ordered_hr", "HR, ordered", optional=True),
    _metric("ordered_ndcg", "NDCG, ordered", optional=True),
    _amount("attempts", "Attempts", lambda run: run.number("attempts"), ""),
    _amount("bytes", "Bytes of clients", lambda run: run.client_bytes, "B"),
    _amount("gossip", "Between servers", lambda run: run.number("gossip_bytes"), "B"),
    _amount("seconds", "Simulated time", lambda run: run.number("simulated_seconds"), "s"),
    _words("hash", "Config", lambda run: run.config_hash[:8]),
    Column("changed", "Changed (UTC)", lambda run: run.changed, lambda run: moment(run.changed)),
)
NAME: Final = Column("name", "Run", lambda run: run.address, lambda run: run.name, number=False)


def _seed(seed: int | None) -> str:
    return "–" if seed is None else str(seed)


class Filter(NamedTuple):
    """The part of the list that a visitor asks for."""

    text: str = ""
    state: str = ""
    data: str = ""
    sort: str = "name"
    order: str = "up"
    page: int = 1

    @classmethod
    def of(cls, visit: Visit) -> Filter:
        """The filter in an address; what makes no sense there is left out."""
        known = {column.key for column in (NAME, *COLUMNS)}
        sort, page = visit.asked("sort"), visit.asked("page")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
        return cls(
            visit.asked("text"),
            visit.asked("state"),
            visit.asked("data"),
            sort if sort in known else "name",
            "down" if visit.asked("order") == "down" else "up",
            max(1, number),
        )

    def address(self, **changes: object) -> str:
        """The address of the list with some parts of the filter changed."""
        asked = {**self._asdict(), **changes}
        usual = Filter()._asdict()
        told = {name: str(value) for name, value in asked.items() if value != usual[name]}
        return f"/?{urlencode(told)}" if told else "/"

    def holds(self, run: Run) -> bool:
        """True for a run that is asked for; its text may be in any of a run's words."""
        options = run.options
        words = (run.address, options.name, options.method, options.protocol, run.config_hash)
        return (
            (not self.state or run.state.value == self.state)
            and (not self.data or options.dataset == self.data)
            and all(
                any(part in word.lower() for word in words) for part in self.text.lower().split()
            )
        )

    def sorted(self, runs: Sequence[Run]) -> list[Run]:
        """The runs in the order that is asked for; those without a value come last."""
        column = next(each for each in (NAME, *COLUMNS) if each.key == self.sort)
        valued = [(column.value(run), run) for run in runs]
        known = [(value, run) for value, run in valued if value is not None and value != ""]
        known.sort(key=lambda each: (each[0], each[1].address), reverse=self.order == "down")
        return [run for _, run in known] + [run for value, run in valued if value in (None, "")]


def show(visit: Visit) -> Response:
    """The runs and sweeps of the folder."""
    if visit.explorer.trace is not None:
        return RedirectResponse("/trace", 303)
    listing, asked = visit.explorer.catalogue.look(), Filter.of(visit)
    found = asked.sorted([run for run in listing.runs if asked.holds(run)])
    last = max(1, -(-len(found) // PER_PAGE))
    page = min(asked.page, last)
    columns = [
        column
        for column in COLUMNS
        if not column.optional or any(column.value(run) is not None for run in listing.runs)
    ]
    text = asked.text.lower()
    records = visit.explorer.records
    states = Counter(run.state for run in listing.runs)
    values = {
        "listing": listing,
        "states": {state.value: states[state] for state in State if states[state]},
        "datasets": sorted({run.options.dataset for run in listing.runs} - {""}),
        "all_states": [state.value for state in State],
        "badges": {state.value: badge for state, badge in BADGES.items()},
        "runs": found[(page - 1) * PER_PAGE : page * PER_PAGE],
        "found": len(found),
        "page": page,
        "last": last,
        "asked": asked,
        "columns": columns,
        "name_column": NAME,
        "sweeps": [each for each in listing.sweeps if text in each.address.lower()],
        "records": {kind: records.listed(kind) for kind in ("tables", "figures")},
    }
    return visit.page("runs.html", values)
