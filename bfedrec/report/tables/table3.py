"""Table III: how many minutes a participant's transfers take in all rounds, by payload as the paper
counts, by the encoded messages, and as recorded runs came to them.

A participant of every round fetches one model and sends one update, at the speeds of the config's
`clients` section: minutes = rounds (down / download + up / upload) / 60.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.catalogue import load_catalogue
from bfedrec.report import published
from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.message_sizes import Envelope
from bfedrec.report.published import Printed
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.figures import number

SIZES = (1, 2, 4, 8, 16)
CONFIG = Path("experiments/ml-1m.yaml")
FLOAT_BYTES = 4
MIB = 2**20

Values = Callable[[int, int, int], float]
"""The count of 32-bit numbers in one message, a function of size s, N items and dimension d."""


def _values(s: int, N: int, d: int) -> float:
    return s * N


def _indexed(s: int, N: int, d: int) -> float:
    return 2 * s * N


def _indexed_in_few_bits(s: int, N: int, d: int) -> float:
    return s * N * (1 + (N * d - 1).bit_length() / 32)


def _masked(s: int, N: int, d: int) -> float:
    return s * N + N * d / 32


def _factors(s: int, N: int, d: int) -> float:
    return s * (N + d + 1)


def _factors_twice(s: int, N: int, d: int) -> float:
    return 2 * s * (N + d + 1)


def _dense(s: int, N: int, d: int) -> float:
    return N * d


@dataclass(frozen=True)
class Method:
    """A row of the published table."""

    label: str
    key: str
    """Its name in published.toml."""
    kind: str
    """Its codec (`bfedrec.compression.codec`)."""
    values: Values
    """The numbers in its payload, both ways."""
    holds: str
    experiment: Experiment
    """Recorded runs at the sizes in their order."""


_SIZES = ",".join(map(str, SIZES))
COMPRESSORS = Path("experiments/compressors.yaml")


def _compressed(kind: str) -> Experiment:
    return Experiment(COMPRESSORS, (f"compression.kind={kind}", f"compression.size={_SIZES}"), "0")


METHODS = (
    Method(
        "sparsification",
        "sparsification",
        "random",
        _values,
        "s N values; a shared seed says which",
        _compressed("random"),
    ),
    Method(
        "top-K",
        "topk",
        "top_k",
        _indexed,
        "s N values and their 32-bit indices",
        _compressed("top_k"),
    ),
    Method("SVD", "svd", "svd", _factors, "U, S and V, s (N + d + 1) values", _compressed("svd")),
    Method(
        "BFedRec",
        "bfedrec",
        "low_rank",
        _values,
        "A, s N values",
        Experiment(CONFIG, (f"model.rank={_SIZES}",), "0"),
    ),
)
CLOCK = Experiment(Path("experiments/ml-1m-per-item.yaml"), (f"model.rank={_SIZES}",), "0")
"""Runs of the last method at the sizes, trained as the others' are: its clock compares with theirs
where that of its own runs, which train on more samples, would not."""
GUESSES: Mapping[str, Mapping[str, tuple[Values, Values]]] = {
    "sparsification": {
        "values alone": (_values, _values),
        "values with 32-bit indices, both ways": (_indexed, _indexed),
        "values up, values with 32-bit indices down": (_indexed, _values),
        "values with indices of as few bits as N d takes": (
            _indexed_in_few_bits,
            _indexed_in_few_bits,
        ),
        "values with a mask of N d bits": (_masked, _masked),
    },
    "svd": {
        "U, S and V, both ways": (_factors, _factors),
        "U, S and V up, twice as many values down": (_factors_twice, _factors),
        "U, S and V up, the dense mean down": (_dense, _factors),
    },
}
"""Other counts that could explain the rows that do not follow: values down, values up."""
COLUMNS = (
    Column("method", "method"),
    Column("size", "size", 0),
    Column("paper", "paper", 2),
    Column("ours", "by payload", 2),
    Column("difference", "difference", 2, signed=True),
    Column("verdict", "verdict"),
    Column("message", "by message", 2),
    Column("recorded", "recorded: one model a round", 2),
    Column("catch_up", "recorded: catching up", 2),
    Column("clock", "recorded: the clock", 2),
)
NOTES = (
    "Minutes of all rounds for a participant of every round. Verdict: `equal` to the last printed "
    "digit by payload, or which way ours differs.",
    "By message: with what comes with a payload, as the program encodes it: the signed record of "
    "an update and the mask of touched items that the rule of aggregation needs; the block's "
    "header with the model.",
    "Recorded: the bytes of all messages of the runs, per participant; with one model a round, as "
    "the paper counts, and with what a client that was away needs; the first round's participants "
    "fetch Q(0). The clock is the simulated time of the whole run: transfers, training, votes and "
    "blocks, at equal training.",
)


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of the runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    rows = cells(*found.settings)
    counted = _Counted.of(found.settings[len(METHODS) - 1][0].config)
    notes = [*NOTES, clock_note(*found.settings)]
    notes += (f"{method.label}: the payload is {method.holds}." for method in METHODS)
    notes += [counted.unexplained(key) for key in GUESSES]
    title = "Table III: communication minutes"
    return Made(Table("table3", title, COLUMNS, rows, notes), found.lacking)


def experiments() -> tuple[Experiment, ...]:
    """The experiments of the methods, in their order, and `CLOCK`."""
    return (*(method.experiment for method in METHODS), CLOCK)


def clock_note(*settings: Sequence[Runs]) -> str:
    """Of which runs the clock of the last method is, and why, in words."""
    own, others, clock = (settings[at][0].config for at in (len(METHODS) - 1, 0, -1))
    return (
        f"{METHODS[-1].label}: its bytes are those of runs of {own.name}.yaml, which train on "
        f"{_samples(own)} samples an interaction; its clock is that of runs of {clock.name}.yaml, "
        f"which send the same payload and train on {_samples(clock)}, as those of the other rows "
        f"do ({_samples(others)})."
    )


def _samples(config: Config) -> int:
    """The samples of a round for each interaction of a client that takes part."""
    one, training = np.ones(1, np.int64), config.training
    return round(float(training.chosen.samples(training, one, 0, config.model.dimension)[0]))


def cells(*settings: Sequence[Runs]) -> list[dict[str, Cell]]:
    """The table's rows, from the runs of `experiments` at the sizes, as many as are recorded.
    Raises `ConfigError` for data whose items nobody has counted."""
    rows: list[dict[str, Cell]] = []
    *of_methods, of_clock = settings
    counted = _Counted.of(of_methods[-1][0].config)
    for method, of_it in zip(METHODS, of_methods, strict=True):
        for place, (size, paper) in enumerate(published.minutes(method.key).items()):
            row: dict[str, Cell] = {"method": method.label, "size": size}
            row |= counted.by_payload(method, size, paper)
            row |= _measured(of_it[place] if place < len(of_it) else None, counted.config)
            if method is METHODS[-1]:
                timed = of_clock[place] if place < len(of_clock) else None
                row["clock"] = _measured(timed, counted.config)["clock"]
            row["message"] = counted.by_message(method, size)
            rows.append(row)
    return rows


@dataclass(frozen=True)
class _Counted:
    """Arithmetic on payloads, under one config."""

    config: Config
    items: int
    samples: int
    """A typical N_u: what the signed record says."""

    @classmethod
    def of(cls, config: Config) -> _Counted:
        """For a config's data set as the paper counts it."""
        catalogue = load_catalogue()
        if config.data.dataset not in catalogue:
            raise ConfigError(
                f"table3: data.dataset: {config.data.dataset!r}: expected a data set whose items "
                f"are known: {', '.join(catalogue)}"
            )
        entry = catalogue[config.data.dataset].published
        return cls(config, entry.items, entry.interactions // entry.users)

    def minutes(self, down: float, up: float) -> float:
        """Of all rounds, for so many bytes a round."""
        clients = self.config.clients
        seconds = down / (clients.download_mib_per_s * MIB) + up / (clients.upload_mib_per_s * MIB)
        return self.config.rounds * seconds / 60.0

    def of_values(self, down: Values, up: Values, size: int) -> float:
        """Minutes of payloads of so many numbers."""
        N, d = self.items, self.config.model.dimension
        return self.minutes(FLOAT_BYTES * down(size, N, d), FLOAT_BYTES * up(size, N, d))

    def by_payload(self, method: Method, size: int, paper: Printed) -> dict[str, Cell]:
        ours = self.of_values(method.values, method.values, size)
        equal = paper.matches(ours)
        return {
            "paper": paper,
            "ours": ours,
            "difference": ours - float(paper.value),
            "verdict": "equal" if equal else "above" if ours > float(paper.value) else "below",
        }

    def by_message(self, method: Method, size: int) -> float:
        """Minutes of a method's messages as they are encoded."""
        envelope = Envelope(self.config, self.items, self.samples)
        return self.minutes(envelope.down(size, method.kind), envelope.up(size, method.kind))

    def unexplained(self, key: str) -> str:
        """An explanation, in words, of a row that does not follow from its payload."""
        row = published.minutes(key)
        label = next(method.label for method in METHODS if method.key == key)
        errors = {
            name: [
                abs(self.of_values(down, up, size) / float(printed.value) - 1.0)
                for size, printed in row.items()
            ]
            for name, (down, up) in GUESSES[key].items()
        }
        nearest = min(errors, key=lambda name: max(errors[name]))
        off = ", ".join(f"{100 * error:.0f}" for error in errors[nearest])
        each = [float(printed.value) / size for size, printed in row.items()]
        least = (max(each) - min(each)) / (max(each) + min(each))
        return (
            f"{label}: the published row is not explained. Of {len(errors)} ways to count, "
            f"{nearest!r} comes nearest and is off by {off} % at the sizes in turn. "
            f"Per unit of size the row has {', '.join(f'{one:.2f}' for one in each)} minutes, so "
            f"that no cost proportional to the size comes nearer than {100 * least:.0f} %; and a "
            "constant on top would make it fall, where it rises."
        )


def _measured(runs: Runs | None, config: Config) -> dict[str, Cell]:
    """Minutes from the bytes of the runs that finished, the mean over their seeds."""
    ends = [] if runs is None else [run.summary for run in runs.finished]
    if not ends:
        return dict.fromkeys(("recorded", "catch_up", "clock"), MISSING)
    counted = _Counted(config, 0, 0)
    per = len(ends) * config.clients.present * config.rounds

    def minutes(account: str) -> float:
        down = sum(number(end, f"downlink_bytes_{account}") for end in ends) / per
        return counted.minutes(down, sum(number(end, "uplink_bytes") for end in ends) / per)

    return {
        "recorded": minutes("broadcast"),
        "catch_up": minutes("catch_up"),
        "clock": sum(number(end, "simulated_seconds") for end in ends) / len(ends) / 60.0,
    }


register_table(
    "table3",
    "communication minutes of the compressors, by payload and message",
    make,
    experiments,
    place=3,
)
