"""The committee ledger beside the contract, with merchants of whom one may lie; recorded by
`bfedrec merchants systems`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bfedrec.merchants.systems.record import (
    GARBAGE,
    LIES,
    MOST_BYTES,
    NONE,
    SYSTEMS,
    Case,
    Caught,
    Comparison,
    Played,
    from_json,
)
from bfedrec.report.artefact import RECORDED, Made, Request
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.folder import read_text

OWN = Path("results/merchants/systems.json")
"""The record of this repository; of another folder of records it is merchants/systems.json."""
KIB = 2**10
QUORUM = 2 / 3
"""Share of the committee above which a ledger's votes have to be."""
MODELS = ("models put into the store", "models fetched from the store", "gossip: update")
"""The kinds of bytes that are models."""
NO_OCCASION = "no occasion to lie; the others go on"
COLUMNS = (
    Column("merchants", "merchants", 0),
    Column("lie", "the last merchant's lie"),
    Column("rule", "rule"),
    Column("system", "system"),
    Column("rounds", "rounds that ended"),
    Column("simulated", "simulated s a round", 1),
    Column("lost", "more than without lie, s", 1),
    Column("real", "real s a round", 2),
    Column("models", "models, KiB a round", 1),
    Column("rest", "all else, KiB a round", 1),
    Column("gas", "gas a round", 0),
    Column("same", "same CIDs in both systems"),
    Column("distance", "distance to the model without lie", 4),
    Column("caught", "caught by"),
    Column("verdict", "verdict"),
)


def make(request: Request) -> Made:
    """The table of the record; seeds and options of experiments, which it has none of, are told.
    Raises DataError and `RunError` for a damaged record."""
    own = request.records == RECORDED
    path = OWN if own else request.records / "merchants" / "systems.json"
    command = "  bfedrec merchants systems" + ("" if own else f" --out {path}")
    title = "The committee ledger and the contract, side by side"
    try:
        found = from_json(read_text(path, MOST_BYTES), str(path))
    except FileNotFoundError:
        rows: list[dict[str, Cell]] = [{"lie": LIES[NONE], "verdict": MISSING}]
        table = Table("systems", title, COLUMNS, rows)
        return Made(table, f"{path} is not there; it is made by:\n{command}")
    ignored = [*request.overrides, *([f"--seeds {request.seeds}"] if request.seeds else [])]
    lacking = f"options of experiments do not apply: {' '.join(ignored)}" if ignored else ""
    cases = sorted(found.cases, key=lambda case: (case.merchants, _place(case)))
    table = Table("systems", title, COLUMNS, [_row(one, found) for one in cases], _notes(found))
    return Made(table, lacking, "; ".join(wrong(found)))


def _place(case: Case) -> tuple[bool, str, int, int]:
    plain = case.rule == "plain"
    return (
        not plain,
        "" if plain else case.rule,
        list(LIES).index(case.lie),
        case.system != "ledger",
    )


def _row(case: Case, found: Comparison) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "merchants": case.merchants,
        "lie": LIES[case.lie],
        "rule": case.rule,
        "system": SYSTEMS[case.system],
        "rounds": f"{len(case.rounds)} of {found.rounds}",
        "same": same(case, other_system(case, found)),
        "caught": caught_by(case),
        "verdict": verdict(case),
    }
    count = len(case.rounds)
    if not count:
        return row
    simulated = sum(one.simulated_seconds for one in case.rounds) / count
    sizes = _bytes(case.rounds)
    models = sum(sizes[kind] for kind in MODELS)
    row |= {
        "simulated": simulated,
        "real": sum(one.real_seconds for one in case.rounds) / count,
        "models": models / count / KIB,
        "rest": (sizes.total() - models) / count / KIB,
        "distance": case.distance,
    }
    if case.system == "contract":
        row["gas"] = round(sum(one.gas for one in case.rounds) / count)
    honest = named(found, case.system, case.merchants, NONE, case.rule)
    if case.lie != NONE and honest is not None and len(honest.rounds) >= count:
        usual = sum(one.simulated_seconds for one in honest.rounds[:count]) / count
        row["lost"] = simulated - usual
    return row


def _bytes(rounds: Sequence[Played]) -> Counter[str]:
    """Bytes of some rounds by kind."""
    sizes: Counter[str] = Counter()
    for one in rounds:
        sizes.update(one.bytes)
    return sizes


# -- verdicts -------------------------------------------------------------------------------------


def named(found: Comparison, system: str, merchants: int, lie: str, rule: str) -> Case | None:
    """The case of this name, or None."""
    name = system, merchants, lie, rule
    return next((case for case in found.cases if case.name == name), None)


def other_system(case: Case, found: Comparison) -> Case | None:
    """The same case under the other system, or None."""
    system = next(one for one in SYSTEMS if one != case.system)
    return named(found, system, case.merchants, case.lie, case.rule)


def same(case: Case, other: Case | None) -> str:
    """``yes`` or ``no``: the CIDs of all rounds that both have are the same; "" where there is no
    such round, or where they did not aggregate models of the same merchants."""
    if other is None:
        return ""
    compared = list(zip(case.rounds, other.rounds, strict=False))
    if not compared or any(one.included != two.included for one, two in compared):
        return ""
    return "yes" if all(one.model == two.model for one, two in compared) else "no"


def lied(case: Case) -> tuple[Played, ...]:
    """The rounds that ended in which there was a lie."""
    return tuple(one for one in case.rounds if one.lied)


def verdict(case: Case) -> str:
    """The end of a case in a few words, from its record."""
    if not all(one.right for one in case.rounds):
        return "a wrong aggregate was accepted"
    number = len(case.rounds) + 1
    if case.stopped.startswith("diverged"):
        return f"not caught; nobody can train in round {number}"
    if case.stopped.startswith("forked"):
        return f"forks in round {number}"
    if case.stopped:
        return f"stops in round {number}, no fork"
    if case.lie == NONE:
        return "all rounds end" if not any(one.caught for one in case.rounds) else "false alarm"
    rounds = lied(case)
    if not rounds:
        return NO_OCCASION
    if all(one.caught for one in rounds):
        return "caught each time; the others go on"
    return "not caught"


def caught_by(case: Case) -> str:
    """Observations: by whom, of what, and in how many of the rounds that ended or did not."""
    count: Counter[Caught] = Counter()
    for one in case.rounds:
        count.update(one.caught)
    count.update(case.caught)
    of = len(lied(case)) + bool(case.stopped)
    return "; ".join(f"{one.by}: {one.what} ({times} of {of})" for one, times in count.items())


def wrong(found: Comparison) -> list[str]:
    """Deviations from what should be, a line each."""
    told = []
    for case in found.cases:
        where = f"{case.merchants} merchants, {SYSTEMS[case.system]}, {LIES[case.lie]}, {case.rule}"
        said = verdict(case)
        if said in ("a wrong aggregate was accepted", "false alarm") or said.startswith("forks"):
            told.append(f"{where}: {said}")
        elif said == "not caught" and case.lie != GARBAGE:
            told.append(f"{where}: a lie is in no record")
        elif said.startswith("stops") and (case.system == "contract" or _within(case)):
            told.append(f"{where}: {case.stopped}")
        if case.system == "ledger" and same(case, other_system(case, found)) == "no":
            told.append(f"{where}: the contract's models have other CIDs")
        if case.lie == NONE and not same(case, other_system(case, found)):
            told.append(f"{where}: the systems were not compared")
    return told


def _within(case: Case) -> bool:
    """True if one malicious server of so many is within the ledger's premise."""
    return case.merchants - 1 > QUORUM * case.merchants


def _notes(found: Comparison) -> list[str]:
    outside = sorted({case.merchants for case in found.cases if not _within(case)})
    counts = sorted({case.merchants for case in found.cases})
    needed = ", ".join(f"{count // 2 + 1} of {count}" for count in counts)
    notes = [
        f"Generated shops with {found.events:,} events each, {found.settings.epochs} epochs a "
        f"round, seed {found.seed}. Both systems get the same models; training is in no time.",
        "Ledger: every merchant is a server, in a committee of all, and a client of its own "
        "server; more than two thirds of the seats decide. Its seconds are simulated, with the "
        "project's link and unit costs; its bytes are those between servers, every hop counted.",
        f"Contract: a majority attests ({needed}). Its bytes are all models put and fetched, by "
        "merchants and by services in the same process, and all HTTP with the node; those between "
        "a merchant and the services, and between the chain's own nodes, are not counted. Its "
        "simulated seconds are Ethereum's 12 for each of the blocks that wait for one another: "
        "publications, then attestations. Real seconds are of a chain in one process.",
        "Gas is no sum of money: its price is the market's. The ledger has none.",
        "The contract trusts the chain and whoever operates it, for order and for being there; "
        "and only people end the wait for a merchant that is silent. The ledger's merchants are "
        "the chain.",
    ]
    if outside:
        notes.append(
            f"With {' or '.join(map(str, outside))} servers one malicious one is outside of the "
            "ledger's premise: more than two thirds of them are all, and any one can stop it."
        )
    for system in SYSTEMS:
        case = named(found, system, counts[0], NONE, "plain")
        if case is not None and case.rounds:
            sizes = _bytes(case.rounds)
            parts = [f"{kind} {size / len(case.rounds) / KIB:,.1f}" for kind, size in sizes.items()]
            notes.append(
                f"KiB a round by kind, {SYSTEMS[system]}, {counts[0]} honest merchants: "
                f"{', '.join(parts)}."
            )
    return notes


register_table(
    "systems", "the committee ledger beside the contract, with a merchant that lies", make, place=6
)
