"""The greatest delay of a run, and the warning where its protocol cannot bear it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bfedrec.runs.delay import GreatestDelay, too_slow
from bfedrec.runs.timelines import read_timelines
from consensus.simulation.results import Stalled
from tests.bfedrec.runs.test_simulation import play, stopped_at
from tests.helpers.toy import Toy

TIGHT = ("rounds=6", "crypto=modelled", "committee.settle_seconds=0.01")


def test_the_greatest_delay_of_all_heights_is_in_the_summary(tmp_path: Path) -> None:
    summary = play(tmp_path, "rounds=6", "crypto=modelled")
    told = {each.height: each.figures for each in read_timelines(tmp_path)}
    delays = {height: found.delay_us for height, found in told.items() if found is not None}
    greatest, height = summary["greatest_delay_seconds"], summary["greatest_delay_height"]
    assert len(delays) == 6
    assert delays[height] == max(delays.values()) == round(greatest * 1e6) > 0
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["greatest_delay_seconds"] <= greatest
    assert "delay_warning" not in summary
    assert "warnings" not in json.loads((tmp_path / "manifest.json").read_text())
    assert "WARNING" not in (tmp_path / "log.txt").read_text()


def test_a_delay_that_breaks_the_premise_is_told_everywhere(tmp_path: Path) -> None:
    summary = play(tmp_path, *TIGHT)
    warning = summary["delay_warning"]
    seconds, height = summary["greatest_delay_seconds"], summary["greatest_delay_height"]
    assert warning.startswith(
        f"a message between honest servers took {seconds:.3f} s (height {height}), not less than "
        "0.005 s: "
    )
    assert "committee.settle_seconds" in warning
    assert json.loads((tmp_path / "manifest.json").read_text())["warnings"] == [warning]
    assert f"WARNING: {warning}" in (tmp_path / "log.txt").read_text()


def test_a_resumed_run_has_the_delay_of_all_its_heights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = play(whole, *TIGHT)
    stopped_at(whole, cut, summary["greatest_delay_height"])
    found = play(cut, *TIGHT, resume=True)
    for name in ("greatest_delay_seconds", "greatest_delay_height", "delay_warning"):
        assert found[name] == summary[name]


def test_a_run_that_stalls_is_warned_of_the_height_that_it_could_not_decide(
    tmp_path: Path,
) -> None:
    stalls = ("servers.malicious=silent:3/7", "committee.size=7", *TIGHT)
    with pytest.raises(Stalled):
        play(tmp_path, *stalls)
    stop = json.loads((tmp_path / "stopped.json").read_text())
    assert stop["greatest_delay_seconds"] > 0.005
    assert "delay_warning" in stop


@pytest.mark.parametrize(("settle_us", "warns"), [(400_001, False), (400_000, True), (0, True)])
def test_twice_the_delay_is_to_be_below_the_settle_time(settle_us: int, warns: bool) -> None:
    """PROTOCOL.md: at exactly twice, a timer may come before a message of the same time."""
    genesis = Toy(4, 1, settle_us=settle_us).genesis
    assert bool(too_slow(GreatestDelay(0.2, 3), genesis)) == warns


@pytest.mark.parametrize("protocol", ["paper", "tendermint"])
def test_protocols_whose_argument_needs_no_bound_do_not_warn(protocol: str) -> None:
    assert too_slow(GreatestDelay(1000.0, 3), Toy(4, 1, protocol=protocol).genesis) == ""


def test_the_first_of_equal_delays_is_told() -> None:
    assert GreatestDelay().or_greater(0.0, 1).or_greater(0.0, 2) == GreatestDelay(0.0, 1)
