"""Seats and stake over heights of servers whose clients send noise or collude, where stake follows
the use of updates: a line for what the clients do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from matplotlib.figure import Figure

from bfedrec.report.artefact import Experiment, Runs
from bfedrec.report.figures.seats import drawn, shares
from bfedrec.report.registry import register_figure
from bfedrec.report.style import Row, Rows

CONFIG = Path("experiments/incentives/use.yaml")
THIRD = 1 / 3
"""The ten servers' share at first, which is drawn as a line."""


def experiments() -> tuple[Experiment, ...]:
    """The one sweep: every file of experiments/incentives/clients."""
    return (Experiment(CONFIG, ("@experiments/incentives/clients",), "0"),)


def clients_of(runs: Runs) -> str:
    """The attacks of a setting's clients, and the share of what is paid that goes by use."""
    attacks = " and ".join(group.attack for group in runs.config.clients.malicious)
    return f"{attacks or 'honest'}, use {runs.config.ledger.incentives.use:g}"


def rows(*parts: Sequence[Runs]) -> list[Row]:
    """The figure's data, of the settings by what the clients do
    (`bfedrec.report.figures.seats.shares`)."""
    return shares(chain.from_iterable(parts), "clients", clients_of)


def draw(data: Rows) -> Figure:
    """The shares of the ten servers."""
    return drawn(data, "clients", "ten of thirty servers, by what their clients send", THIRD)


register_figure(
    "use",
    "seats and stake of servers whose clients send noise or collude, where use is paid",
    experiments,
    rows,
    draw,
    place=13,
)
