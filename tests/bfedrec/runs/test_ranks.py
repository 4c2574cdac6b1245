"""The ranks that a run leaves, by user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.evaluation.metrics import Evaluation, Gain, HitRate
from bfedrec.runs.folder import RunError, read_json
from bfedrec.runs.ranks import FILE, Ranks, read
from bfedrec.sweeps import recorded as records
from bfedrec.sweeps import sweep as sweeps
from tests.bfedrec.sweeps.test_recorded import TINY


@pytest.mark.parametrize("full", [None, 32_767, 32_768])
def test_what_is_written_is_read(full: int | None, tmp_path: Path) -> None:
    far = None if full is None else np.array([full, 0])
    ranks = Ranks.of(Evaluation(np.array([1, 3]), np.array([99, 0]), far, 10), 4)
    (tmp_path / FILE).write_bytes(ranks.encode())
    found = read(tmp_path)
    assert found is not None
    assert found.rank.tolist() == [-1, 99, -1, 0]  # users 1 and 3 of four have a test item
    assert found.scored.tolist() == [False, True, False, True]
    assert (found.full_rank is None) == (full is None)
    assert found.full_rank is None or found.full_rank.tolist() == [-1, full, -1, 0]
    assert ranks.encode() == found.encode()


def test_no_ranks_and_bad_ranks(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 torn")
    assert read(tmp_path / FILE) is None  # a compact record is a file, and has no ranks
    with pytest.raises(RunError, match=r"ranks\.npz: no ranks: "):
        read(tmp_path)


def test_a_run_leaves_the_ranks_that_its_summary_is_made_of(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    planned = sweeps.plan(config, [], [0], tmp_path / "runs")
    path = planned.settings[0].runs[0]
    assert main(["run", str(config), "--out", str(path)]) == 0
    summary, ranks = read_json(path / "summary.json"), read(path)
    assert ranks is not None
    assert ranks.full_rank is not None
    assert ranks.scored.sum() == summary["users_scored"]
    for prefix, rank in (("", ranks.rank), ("full_", ranks.full_rank)):
        scored = rank[ranks.scored]
        assert HitRate().of(scored, 10).mean() == summary[f"{prefix}hr@10"]
        assert Gain().of(scored, 10).mean() == summary[f"{prefix}ndcg@10"]

    sweeps.write(planned, sweeps.collect(planned))
    records.record(planned, tmp_path / "whole")
    records.record(planned, tmp_path / "compact", compact=True)
    (whole,) = records.read(tmp_path / "whole")
    assert whole.ranks is not None
    assert whole.ranks.encode() == ranks.encode()
    (line,) = records.read(tmp_path / "compact")
    assert line.ranks is None
