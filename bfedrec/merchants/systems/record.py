"""The record of the comparison of both systems: what `bfedrec table systems` shows.

It is written by `bfedrec merchants systems` and read without loading what trains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Final

from bfedrec.data.interactions import DataError
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.settings import StepSettings

MOST_BYTES: Final = 8 * 2**20
SYSTEMS: Final = {"ledger": "committee ledger", "contract": "contract"}
NONE: Final = "none"
GARBAGE: Final = "garbage"
LIES: Final = {
    NONE: "nobody lies",
    "average": "wrong average",
    "malformed": "a model with NaN",
    GARBAGE: "garbage within range",
    "replay": "replay of round 1",
    "silence": "silence",
    "twice": "two models at once",
}
"""The lies of the last merchant, by their printed names."""


def lies_in(lie: str, number: int) -> bool:
    """True if a liar that needs no turn lies in round ``number``: a replay begins in the second."""
    return lie != NONE and (lie != "replay" or number > 1)


@dataclass(frozen=True)
class Caught:
    """One observation of a lie."""

    by: str
    what: str


@dataclass(frozen=True)
class Played:
    """One round that ended."""

    number: int
    model: str
    """CID of the aggregate."""
    right: bool
    """True if that is the aggregate of the models that the system holds for the round."""
    included: tuple[str, ...]
    """The merchants whose models are in it."""
    simulated_seconds: float
    """Ledger: on the simulated clock. Contract: the blocks that had to wait for each other, times
    the seconds between two blocks."""
    real_seconds: float
    """On this machine, training left out."""
    bytes: Mapping[str, int]
    """Bytes by kind."""
    gas: int
    attempts: int
    """Ledger: committees that were tried; contract: 1."""
    lied: bool
    """True if the liar had an occasion to lie: a false average needs a turn as the aggregator, a
    replay something to play again."""
    caught: tuple[Caught, ...]


@dataclass(frozen=True)
class Case:
    """Some rounds of one system with one lie."""

    system: str
    merchants: int
    lie: str
    rule: str
    rounds: tuple[Played, ...]
    stopped: str
    """The reason why a round did not end; empty if all did."""
    caught: tuple[Caught, ...]
    """Observations in the round that did not end."""
    distance: float
    """Root mean square of the differences of the last model to that without a lie."""

    @property
    def name(self) -> tuple[str, int, str, str]:
        """The values that distinguish it from the other cases."""
        return self.system, self.merchants, self.lie, self.rule


@dataclass(frozen=True)
class Comparison:
    """All cases of both systems on one market."""

    seed: int
    rounds: int
    """Rounds that each case was to have."""
    events: int
    """Events of each shop."""
    cases: tuple[Case, ...]
    market: MarketSettings = field(default_factory=MarketSettings)
    settings: StepSettings = field(default_factory=StepSettings)


def to_json(found: Comparison) -> str:
    """The record's text."""
    return json.dumps(asdict(found), indent=1, allow_nan=False) + "\n"


def from_json(text: str, where: str) -> Comparison:
    """The record in a text. Raises DataError, with ``where`` it stands, for any other text."""
    try:
        tree = json.loads(text)
        cases = tuple(_case(one) for one in tree["cases"])
        if len({case.name for case in cases}) < len(cases):
            raise ValueError("a case stands in it twice")
        return Comparison(
            _whole(tree["seed"]),
            _whole(tree["rounds"]),
            _whole(tree["events"]),
            cases,
            MarketSettings(**tree["market"]),
            StepSettings(**tree["settings"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: no record of `bfedrec merchants systems` ({error})") from None


def _case(tree: Mapping[str, Any]) -> Case:
    if tree["system"] not in SYSTEMS or tree["lie"] not in LIES:
        raise ValueError(f"{tree['system']!r:.40} with {tree['lie']!r:.40} is no case")
    return Case(
        tree["system"],
        _whole(tree["merchants"]),
        tree["lie"],
        str(tree["rule"]),
        tuple(_played(one) for one in tree["rounds"]),
        str(tree["stopped"]),
        _caught(tree["caught"]),
        _number(tree["distance"]),
    )


def _played(tree: Mapping[str, Any]) -> Played:
    for name in ("right", "lied"):
        if type(tree[name]) is not bool:
            raise ValueError(f"`{name}` is not true or false")
    return Played(
        _whole(tree["number"]),
        str(tree["model"]),
        tree["right"],
        tuple(map(str, tree["included"])),
        _number(tree["simulated_seconds"]),
        _number(tree["real_seconds"]),
        {str(kind): _whole(size) for kind, size in tree["bytes"].items()},
        _whole(tree["gas"]),
        _whole(tree["attempts"]),
        tree["lied"],
        _caught(tree["caught"]),
    )


def _caught(tree: Sequence[Mapping[str, Any]]) -> tuple[Caught, ...]:
    return tuple(Caught(str(one["by"]), str(one["what"])) for one in tree)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is not a whole number")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r:.40} is not a number")
    if not isfinite(value) or value < 0:
        raise ValueError(f"{value} is not a finite number from 0 on")
    return float(value)
