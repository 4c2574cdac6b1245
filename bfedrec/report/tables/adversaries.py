"""The adversaries that sleep, take turns, corrupt servers once they have seen something, or choose
when messages arrive: what each costs the ledger, from recorded runs.

Every file of experiments/adversaries is one adversary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from bfedrec.config.adversary import NONE
from bfedrec.config.schema import Config
from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.figures import Figures, number
from consensus.adversary.when import HEIGHTS

SWEEP = Experiment(
    Path("experiments/adversaries.yaml"), ("@experiments/adversaries",), "0-2", compact=True
)
COLUMNS = (
    Column("adversary", "adversary"),
    Column("seeds", "seeds", 0),
    Column("stopped", "stopped", 0),
    Column("attempts", "attempts per block", 2),
    Column("seconds", "seconds per block", 2),
    Column("beyond", "% of committees beyond the premise", 1),
    Column("captured", "% of blocks captured", 1),
    Column("corruptions", "corruptions per block", 2),
    Column("held", "mean delay added, ms", 1),
    Column("greatest", "greatest delay, ms", 0),
)
NOTES = (
    "Simulated seconds. Committees of 20 of 30 servers, of which 14 decide and 7 block; beyond the "
    "premise are those with a third or more of malicious weight. Malicious and corrupted servers "
    "propose noise, and approve what is wrong and reject what is right, unless another behaviour "
    "is named.",
    "Delay added: by which a message that was held came later than by the network alone. Greatest "
    "delay: from when an honest server said something until another received it, held or not, "
    "where an adversary chooses.",
)


def experiments() -> tuple[Experiment, ...]:
    """The one sweep."""
    return (SWEEP,)


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = SWEEP.changed(request.overrides, request.seeds)
    found = find([changed], request.records)
    return Made(table(found.settings[0]), found.lacking)


def table(settings: Sequence[Runs]) -> Table:
    """The table, a row for each adversary, in the order of the seconds that a block takes."""
    rows = [_row(runs) for runs in settings]
    rows.sort(key=lambda row: (not isinstance(row["seconds"], float), row["seconds"]))
    title = "Adversaries by schedule, by corruption, and by delays"
    return Table("adversaries", title, COLUMNS, rows, NOTES)


def _row(runs: Runs) -> dict[str, Cell]:
    row: dict[str, Cell] = {"adversary": described(runs.config), "seconds": MISSING}
    ends = [run.summary for run in runs.by_seed.values()]
    if not ends:
        return row
    row |= {"seeds": len(ends), "stopped": len(runs.stopped)}
    shares = (
        ("attempts", "attempts", "blocks", 1.0),
        ("seconds", "simulated_seconds", "blocks", 1.0),
        ("beyond", "blocked_committees", "committees", 100.0),
        ("captured", "captured_blocks", "blocks", 100.0),
        ("corruptions", "corruptions", "blocks", 1.0),
        ("held", "held_seconds", "held_messages", 1e3),
    )
    for key, above, below, factor in shares:
        found = [factor * share for end in ends if (share := _share(end, above, below)) is not None]
        if found:
            row[key] = fmean(found)
    greatest = [number(end, "greatest_delay") for end in ends if "greatest_delay" in end]
    if any(greatest):
        row["greatest"] = 1e3 * max(greatest)
    return row


def _share(figures: Figures, above: str, below: str) -> float | None:
    """The quotient of two figures; None where there is none."""
    if above not in figures or not number(figures, below) or not number(figures, "blocks"):
        return None
    return number(figures, above) / number(figures, below)


def described(config: Config) -> str:
    """The adversary of a config in a few words."""
    return "; ".join(_parts(config)) or "none"


def _parts(config: Config) -> Iterator[str]:
    for node in config.servers.malicious:
        told = f"{node.get('share', node.get('servers'))} of the servers"
        unit = str(node.get("by", HEIGHTS))
        if "from" in node:
            told += f", from {unit.rstrip('s')} {node['from']} on"
        if "each" in node:
            names = node["behaviour"]
            assert isinstance(names, list | tuple)
            told += f", {', '.join(names)} in turn, {node['each']} {unit} each"
        yield told
    corruption, delays = config.adversary.corruption, config.adversary.delays
    if corruption.strategy != NONE:
        told = f"corrupts {corruption.strategy}, {corruption.at_once} at once"
        if corruption.in_all:
            told += f", {corruption.in_all} in all"
        if corruption.delay:
            one = corruption.delay == 1
            unit = corruption.by.rstrip("s") if one else corruption.by
            told += f", a {unit} later" if one else f", {corruption.delay:g} {unit} later"
        yield told
    if delays.strategy != NONE:
        yield f"delays {delays.strategy} up to {1e3 * delays.bound_seconds:g} ms"


register_table(
    "adversaries",
    "what adversaries cost that sleep, corrupt committees once they are known, or delay messages",
    make,
    experiments,
    place=10,
)
