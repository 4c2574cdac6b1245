"""The figures that others have published, from published.toml beside this module.

A printed number stands for all that are rounded to it, so it is kept with its digits.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Literal

from bfedrec.evaluation.intervals import Interval

PUBLISHED = Path(__file__).with_name("published.toml")

NAMES = {
    "colr": "CoLR",
    "fedmf": "FedMF",
    "svd": "SVD",
    "topk": "top-K",
    "toppop": "popularity",
    "itemknn": "item-kNN",
    "puresvd": "PureSVD",
    "gmf": "GMF",
}
"""The printed names of others' methods, by their keys there."""


@dataclass(frozen=True)
class Printed:
    """A number as it was printed: 0.60 is not 0.6."""

    value: Decimal

    @property
    def unit(self) -> Decimal:
        """One of its last digit: 0.01 for 0.60."""
        return Decimal(1).scaleb(int(self.value.as_tuple().exponent))

    @property
    def low(self) -> float:
        """The least number that is rounded to it."""
        return float(self.value - self.unit / 2)

    @property
    def high(self) -> float:
        """The number from which on it would have been rounded to the next."""
        return float(self.value + self.unit / 2)

    def matches(self, value: float) -> bool:
        """True if a number, rounded to as many digits (half away from zero), is this one."""
        return Decimal(value).quantize(self.unit, ROUND_HALF_UP) == self.value

    def __str__(self) -> str:
        return str(self.value)


def scores(collection: str, data: str, method: str) -> dict[str, Printed]:
    """A method's published `hr` and `ndcg` at 10 on a data set, from one of the collections of
    published.toml (`bfedrec.report.tables.table2`, `centralised.table`); empty
    if there are none."""
    table = _content()
    for step in (*collection.split("."), data):
        table = table.get(step, {})
    return {name: Printed(value) for name, value in table.get(method, {}).items()}


def minutes(method: str) -> dict[int, Printed]:
    """Table III's row of a method: communication minutes by transmitted size. Raises KeyError for a
    row that it does not have."""
    table = _content()["bfedrec"]["table3"]
    return {size: Printed(value) for size, value in zip(table["sizes"], table[method], strict=True)}


def by_size(data: str) -> dict[str, dict[int, dict[str, Printed]]]:
    """The figures of [colr] for a data set: for each method, by transmitted size, `hr` and `ndcg`
    at 10; empty if there is none."""
    table = dict(_content()["colr"]["figure"].get(data, {}))
    sizes = table.pop("sizes", [])
    return {
        method: {
            size: {name: Printed(values[place]) for name, values in curves.items()}
            for place, size in enumerate(sizes)
        }
        for method, curves in table.items()
    }


def centralised(data: str) -> dict[str, dict[str, Printed]]:
    """Every method that sees all of a data set at once, with its `hr` and `ndcg` at 10."""
    return {
        method: scores("centralised.table", data, method)
        for method in _content()["centralised"]["table"].get(data, {})
    }


@functools.cache
def _content() -> Any:
    return tomllib.loads(PUBLISHED.read_text(encoding="utf-8"), parse_float=Decimal)


Verdict = Literal["above", "level", "below", "open"]


def verdict(found: Interval, printed: Printed) -> Verdict:
    """The side of a printed figure on which the true mean lies. The figure stands for all values
    that are rounded to it: `above` or `below` if the interval has nothing in common with those,
    else `level`; `open` if there is one value only and therefore no interval."""
    if found.low is None or found.high is None:
        return "open"
    if found.low >= printed.high:
        return "above"
    return "below" if found.high < printed.low else "level"
