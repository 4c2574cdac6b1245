"""The table of other libraries' methods: its rows, and the page about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bfedrec.aggregation.registry import AGGREGATORS, aggregator_named
from bfedrec.config.centralised import READ
from bfedrec.config.load import load
from bfedrec.report.artefact import Request, Runs
from bfedrec.report.tables import peers
from tests.bfedrec.report.test_artefact_tables import recorded
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")


def test_a_row_has_ours_beside_the_peer(tmp_path: Path) -> None:
    """Of 100 users so many have their item first, ours more than the peer's in every pair."""
    pairs = len(peers.RULES) + len(peers.CENTRALISED)
    runs = []
    for place in range(2 * pairs):
        hits = 70 - 5 * place
        (tmp_path / str(place)).mkdir()
        made = {
            seed: recorded(tmp_path / str(place), seed, [0] * hits + [50] * (100 - hits))
            for seed in (0, 1)
        }
        runs.append(Runs((), made, load(None)))
    rows = [row for row in peers.table(runs).rows if row["metric"] == "HR@10"]
    assert len(rows) == pairs
    for place, row in enumerate(rows):
        assert row["our_score"] == pytest.approx(0.7 - 0.1 * place)
        assert row["their_score"] == pytest.approx(0.65 - 0.1 * place)
        assert row["lead"] == pytest.approx(0.05)
        assert row["seeds"] == 2
    assert [row["ours"] for row in rows[:2]] == ["median", "trimmed_mean"]
    assert [row["theirs"] for row in rows[:2]] == ["byzfl_median", "byzfl_trimmed_mean"]


def test_a_pair_without_runs_is_missing(tmp_path: Path) -> None:
    made = peers.make(Request(records=tmp_path, seeds="0"))
    assert made.lacking.startswith("14 of 14 runs")
    assert all(row["our_score"] == row["their_score"] == "missing" for row in made.table.rows)


def test_every_rule_of_byzfl_has_a_pair_and_reads_what_ours_does() -> None:
    assert set(peers.RULES.values()) == {name for name in AGGREGATORS if name.startswith("byzfl_")}
    for ours, theirs in peers.RULES.items():
        assert set(aggregator_named(ours).parameters) <= set(aggregator_named(theirs).parameters)
    (grid,) = peers.SWEEP.grid
    assert grid.partition("=")[2].split(",") == [
        name for pair in peers.RULES.items() for name in pair
    ]


def test_the_page_tells_of_every_peer_and_its_options() -> None:
    rows = [line.split("|")[1:4] for line in PAGE.splitlines() if line.startswith("| `")]
    told = {name.strip(" `"): set(re.findall(r"`([\w.]+)`", read)) for name, _, read in rows}
    del told["aggregation.rule"], told["method"]  # the tables' heads
    wanted = {name: set(aggregator_named(name).parameters) for name in peers.RULES.values()}
    common = {"model.dimension", "centralised.epochs"}
    wanted |= {
        name: set(read) - common for name, read in READ.items() if name.startswith("implicit_")
    }
    assert told == wanted


def test_the_pages_commands_are_configs_that_there_are() -> None:
    lines = [line.split() for line in PAGE.splitlines() if line.startswith("    bfedrec run ")]
    assert len(lines) == 3
    for _, _, config, *overrides in lines:
        load(ROOT / config, overrides)
