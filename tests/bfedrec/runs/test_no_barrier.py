"""Runs whose servers go on without a barrier: resumed, audited, and beside those with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.runs.timelines import TIMELINE
from tests.bfedrec.runs.test_resume import SCENARIOS, standings, stopped_at
from tests.bfedrec.runs.test_simulation import lasting, metrics, play

FREE = ("ledger.barrier=false", "ledger.checkpoint_every=5")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_stopped_between_checkpoints_goes_on_alike(tmp_path: Path, scenario: str) -> None:
    words = (*FREE, *SCENARIOS[scenario])
    whole = tmp_path / "whole"
    summary = play(whole, *words)
    assert audit_command(whole) == 0
    for height in (3, 5, 8, 11):
        cut = tmp_path / f"cut-{height}"
        stopped_at(whole, cut, height)
        assert lasting(play(cut, *words, resume=True)) == lasting(summary), height
        assert metrics(cut) == metrics(whole), height
        assert standings(cut) == standings(whole)
        assert (cut / TIMELINE).read_bytes() == (whole / TIMELINE).read_bytes()
