"""The comparison: every lie, under both systems, with few and with more merchants."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bfedrec.merchants.averaging import PLAIN
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.systems.contract import Contract
from bfedrec.merchants.systems.counting import CountingServer, embedded_chain
from bfedrec.merchants.systems.ledger import Ledger
from bfedrec.merchants.systems.record import GARBAGE, LIES, NONE, SYSTEMS, Case, Comparison
from bfedrec.merchants.systems.shops import Result, Shops

COUNTS: Final = (3, 4, 7)
ROUNDS: Final = 3
EVENTS: Final = 3_000
SETTINGS: Final = StepSettings(epochs=20)
ROBUST: Final = ("median", "geometric_median")
"""The rules under which garbage is tried once more."""
CASES: Final = (
    *((lie, PLAIN) for lie in LIES),
    *((lie, rule) for rule in ROBUST for lie in (NONE, GARBAGE)),
)


def compare(
    counts: Sequence[int] = COUNTS,
    rounds: int = ROUNDS,
    events: int = EVENTS,
    settings: StepSettings = SETTINGS,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    market: MarketSettings | None = None,
    chosen: Sequence[tuple[str, str]] = CASES,
) -> Comparison:
    """Play the ``chosen`` cases: lie and rule, of each rule first that without a lie.

    ``tell`` gets a line for each. The market has as many shops as there are merchants.
    """
    market = market or MarketSettings()
    cases: list[Case] = []
    with embedded_chain(seed, max(counts) + 1) as server:
        for count in counts:
            shops = Shops(replace(market, shops=count), events, settings, seed)
            for system in SYSTEMS:
                honest: dict[str, Result] = {}
                for lie, rule in chosen:
                    result = _play(system, shops, lie, rule, server, rounds)
                    if lie == NONE:
                        honest[rule] = result
                    case = _case(system, shops, lie, rule, result, honest[rule])
                    cases.append(case)
                    told = case.stopped or f"{len(case.rounds)} rounds"
                    tell(f"{count} merchants, {SYSTEMS[system]}, {LIES[lie]}, {rule}: {told}")
    return Comparison(seed, rounds, events, tuple(cases), market, settings)


def _play(
    system: str, shops: Shops, lie: str, rule: str, server: CountingServer, rounds: int
) -> Result:
    if system == "ledger":
        return Ledger(shops, lie, rule).play(rounds)
    with tempfile.TemporaryDirectory(prefix="bfedrec-systems-") as folder:
        return Contract(shops, lie, rule, server, Path(folder)).play(rounds)


def _case(system: str, shops: Shops, lie: str, rule: str, result: Result, honest: Result) -> Case:
    """The record of a case; its last model is compared with that of the same round without lie."""
    last = len(result.rounds)
    usual = honest.models[min(last, len(honest.models) - 1)]
    distance = shops.distance(result.models[last], usual)
    count, stopped = len(shops.names), result.stopped
    return Case(system, count, lie, rule, result.rounds, stopped, result.caught, distance)
