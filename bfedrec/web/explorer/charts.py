"""The charts of runs, as `static/script.js` draws them: scores and costs over rounds, bytes and
simulated time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Final

from bfedrec.evaluation.intervals import Interval
from bfedrec.evaluation.metrics import METRICS
from bfedrec.explorer.comparison import Band
from bfedrec.explorer.curves import AXES, Curves
from bfedrec.explorer.heights import Heights
from bfedrec.web.live import Axis, Figure, Series

MOST_POINTS: Final = 2000
DIGITS: Final = 6
GOSSIP: Final = "gossip_bytes"
BYTE_SERIES: Final = {
    "uplink_bytes": "clients to servers",
    "downlink_bytes": "servers to clients",
    GOSSIP: "between servers",
}
PREFIXES: Final = {"test_": "test items", "ordered_": "ordered", "full_": "all items"}
"""Prefixes of metrics, in the order in which they stand, and their meanings."""


def title_of(name: str) -> str:
    """A figure's name for people: "full_ndcg@10" is "NDCG@10, all items"."""
    metric, at, k = name.partition("@")
    told = []
    for prefix, meaning in PREFIXES.items():
        if metric.startswith(prefix) and at:
            metric = metric.removeprefix(prefix)
            told.append(meaning)
    if not at:
        return name.replace("_", " ")
    kind = METRICS.get(metric)
    label = kind.label if kind else metric.upper()
    return ", ".join([f"{label}@{k}", *told])


def axes_of(curves: Sequence[Curves]) -> list[Axis]:
    """The axes on which all these runs have places."""
    found = [name for name in AXES if all(each.has_axis(name) for each in curves)]
    return [{"key": name, "name": AXES[name][0]} for name in found]


@lru_cache(maxsize=2**16)
def rounded(value: float) -> float | None:
    """A number with `DIGITS` significant digits; None for one that is not finite. Charts are drawn
    again and again while they grow, so that most numbers were asked for before."""
    return float(f"{value:.{DIGITS}g}") if isfinite(value) else None


def scores(curves: Curves) -> Figure:
    """Loss and scores of one run at the heights that were scored: those of validation items and,
    under `evaluation.select`, of test items."""
    places = curves.shown(MOST_POINTS)
    x = axes_of([curves])
    own = [name for name in curves.metrics if not name.startswith("test_")]
    names = [*own, *(["loss"] if "loss" in curves.columns else [])]
    series: list[Series] = []
    for prefix, told in (("", "validation items"), ("test_", "test items")):
        values = {
            name: _chosen(curves.columns[f"{prefix}{name}"], places)
            for name in names
            if f"{prefix}{name}" in curves.columns
        }
        if values:
            values |= {axis["key"]: _chosen(curves.axis(axis["key"]) or (), places) for axis in x}
            series.append({"name": told, "values": values, "markers": len(places) <= 40})
    return {
        "x": x,
        "y": [{"key": name, "name": title_of(name)} for name in names],
        "series": series,
    }


def costs(curves: Curves, heights: Heights) -> Figure:
    """Bytes by kind, attempts and simulated time of a round: of every height where the run has
    timelines, else means between two scorings."""
    x: list[Axis] = [{"key": "round", "name": "round"}]
    y: list[Axis] = [
        {"key": "bytes", "name": "bytes a round", "zero": True},
        {"key": "attempts", "name": "attempts a round", "zero": True},
        {"key": "seconds", "name": "simulated seconds a round", "zero": True},
    ]
    places = curves.shown(MOST_POINTS)
    rounds = _chosen(curves.columns.get("height", ()), places)
    series: list[Series] = []
    for name, told in BYTE_SERIES.items():
        found = curves.per_round(name)
        if found is not None and not (heights.rows and name == GOSSIP):
            series.append(
                {"name": told, "values": {"round": rounds, "bytes": _chosen(found, places)}}
            )
    if heights.rows:
        step = max(1, -(-len(heights.rows) // MOST_POINTS))
        rows = heights.rows[(len(heights.rows) - 1) % step :: step]
        at: list[float] = [row.height for row in rows]
        exact: dict[str, list[float | None]] = {
            "round": [*at],
            "attempts": [row.attempts for row in rows],
            "seconds": [rounded(row.seconds) for row in rows],
        }
        series.append({"name": "every height", "values": exact, "colour": 1})
        between: dict[str, list[float]] = {"round": at, "bytes": [row.bytes for row in rows]}
        series.append({"name": BYTE_SERIES[GOSSIP], "values": between, "colour": 3})
    else:
        means = {
            key: _chosen(found, places)
            for key, name in (("attempts", "attempts"), ("seconds", "simulated_seconds"))
            if (found := curves.per_round(name)) is not None
        }
        if means:
            values = {"round": rounds, **means}
            series.append({"name": "mean between scorings", "values": values, "colour": 1})
    shown = {key for each in series for key in each["values"]}
    return {"x": x, "y": [axis for axis in y if axis["key"] in shown], "series": series}


def compared(bands: Mapping[str, Band], x: Sequence[Axis], names: Sequence[str]) -> Figure:
    """The curves of groups of runs: means over seeds, with the interval as a band."""
    series: list[Series] = []
    for name, band in bands.items():
        if not band.heights:
            continue
        means = {key: [rounded(each.mean) for each in found] for key, found in band.values.items()}
        one: Series = {"name": name, "values": means}
        known = {key: found for key, found in band.values.items() if key in names}
        if any(each.low is not None for found in known.values() for each in found):
            one["low"] = {key: _bounds(found, "low") for key, found in known.items()}
            one["high"] = {key: _bounds(found, "high") for key, found in known.items()}
        series.append(one)
    return {
        "x": list(x),
        "y": [{"key": name, "name": title_of(name)} for name in names],
        "series": series,
    }


def _bounds(found: Sequence[Interval], which: str) -> list[float | None]:
    values = (getattr(each, which) for each in found)
    return [None if value is None else rounded(value) for value in values]


def _chosen(values: Sequence[float], places: Sequence[int]) -> list[float | None]:
    return [rounded(values[place]) for place in places]
