"""A heat map of attempts and captured blocks over committee size and malicious share, measured and
by theory: the size that a committee needs, and the malicious servers that it bears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isinf
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from bfedrec.report import rq3
from bfedrec.report.artefact import Runs
from bfedrec.report.committee_theory import expected
from bfedrec.report.registry import register_figure
from bfedrec.report.style import HEAT, Row, Rows, styled
from bfedrec.runs.figures import count
from consensus.ledger.capture_odds import frequency_interval

CONFIDENCE = 0.99
MOST = 30.0
"""Attempts at which the colours end: after more a height is given up."""


def rows(settings: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each cell. The interval of the attempts per block is that of
    their inverse, the share of the attempts that gave a block (exact, 99 %)."""
    found = []
    for runs in settings:
        config, ends = runs.config, [run.summary for run in runs.by_seed.values()]
        servers, size = config.servers.count, config.committee.size
        blocks, attempts = (sum(count(end, key) for end in ends) for key in ("blocks", "attempts"))
        attempts += sum(count(end, "stopped_attempts") for end in ends if "stopped_attempts" in end)
        captured = sum(count(end, "captured_blocks") for end in ends)
        theory = expected(servers, runs.malicious, size, config.committee.max_step)
        low, high = frequency_interval(blocks, attempts, CONFIDENCE)
        captured_low, captured_high = (
            frequency_interval(captured, blocks, CONFIDENCE) if blocks else (None, None)
        )
        found.append(
            {
                "committee": size,
                "servers": servers,
                "malicious": runs.malicious,
                "heights": config.rounds * len(ends),
                "blocks": blocks,
                "stalled_runs": len(runs.stopped),
                "attempts": attempts,
                "attempts_per_block": attempts / blocks if blocks else None,
                "attempts_low": 1.0 / high,
                "attempts_high": 1.0 / low if low else None,
                "attempts_expected": None if isinf(theory.attempts) else theory.attempts,
                "captured_blocks": captured,
                "captured_share": captured / blocks if blocks else None,
                "captured_low": captured_low,
                "captured_high": captured_high,
                "captured_expected": None if isinf(theory.attempts) else theory.captured_blocks,
            }
        )
    return found


def draw(data: Rows) -> Figure:
    """Attempts above, captured blocks below; measured left, by theory right."""
    with styled():
        figure = Figure(figsize=(9.4, 7.6), layout="constrained")
        (tried, tried_by_theory), (taken, taken_by_theory) = figure.subplots(
            2, 2, sharex=True, sharey=True
        )
        few = LogNorm(1.0, MOST)
        _heat(tried, data, "attempts_per_block", few, _measured_attempts)
        _heat(tried_by_theory, data, "attempts_expected", few, _expected_attempts)
        share = Normalize(0.0, 0.5)
        _heat(taken, data, "captured_share", share, _measured_captured)
        _heat(taken_by_theory, data, "captured_expected", share, _expected_captured)
        tried.set_title("attempts per block, measured\n(x: given up after so many blocks)")
        tried_by_theory.set_title(f"attempts per block, by theory\n{held(data)}")
        taken.set_title("captured blocks (% of all), measured")
        taken_by_theory.set_title("captured blocks (% of all), by theory")
        for axes in (tried, taken):
            axes.set_ylabel(f"malicious, of {data[0]['servers']} servers")
        for axes in (taken, taken_by_theory):
            axes.set_xlabel("seats of the committee")
    return figure


def held(data: Rows) -> str:
    """The number of measured intervals that hold the expected value, of the settings without a
    stall, in words."""
    known = [row for row in data if not row["stalled_runs"] and row["attempts_expected"]]
    good = sum(
        row["attempts_low"] <= row["attempts_expected"] <= row["attempts_high"] for row in known
    )
    return f"within the measured 99 % interval: {good} of {len(known)}"


def _measured_attempts(row: Any) -> str:
    if row["stalled_runs"]:
        return f"x {row['blocks']}"
    return f"{row['attempts_per_block']:.1f}"


def _expected_attempts(row: Any) -> str:
    found = row["attempts_expected"]
    if found is None:
        return "never"
    return f"{found:.1f}" if found < 1000 else f"{found:.0e}".replace("e+0", "e")


def _measured_captured(row: Any) -> str:
    if row["captured_share"] is None:
        return "-"
    if row["stalled_runs"]:
        return f"{row['captured_blocks']} of\n{row['blocks']}"
    return f"{100 * row['captured_share']:.0f}"


def _expected_captured(row: Any) -> str:
    if row["captured_expected"] is None:
        return "-"
    percent = 100 * row["captured_expected"]
    return f"{percent:.0f}" if percent >= 9.5 or percent == 0 else f"{percent:.1g}"


def _heat(axes: Axes, data: Rows, key: str, norm: Normalize, text: Callable[[Any], str]) -> None:
    sizes = sorted({row["committee"] for row in data})
    bad = sorted({row["malicious"] for row in data})
    values = np.full((len(bad), len(sizes)), np.nan)
    for row in data:
        at = bad.index(row["malicious"]), sizes.index(row["committee"])
        hopeless = key == "attempts_per_block" and row["stalled_runs"]
        shade = 1.0  # of a cell without a value, which is pale
        if row[key] is not None and not hopeless:
            values[at] = row[key]
            shade = float(norm(min(row[key], MOST)))
        axes.text(
            at[1], at[0], text(row), ha="center", va="center", fontsize=8,
            color="white" if shade < 0.55 else "black",
        )  # fmt: skip
    axes.imshow(values, cmap=HEAT, norm=norm, aspect="auto", origin="lower")
    axes.set_facecolor("#d9d9d9")
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    shares = [f"{count} ({100 * count / data[0]['servers']:.0f} %)" for count in bad]
    axes.set_yticks(range(len(bad)), shares)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


register_figure(
    "committees",
    "attempts and captured blocks over committee size and malicious share: a heat map",
    lambda: (rq3.COMMITTEES,),
    rows,
    draw,
    place=4,
    group=rq3.GROUP,
)
