"""The notes on tuning below a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.report.budgets import budget_notes
from bfedrec.report.tables import ablations, table2
from bfedrec.sweeps.study import Plan, Study
from tests.bfedrec.sweeps.test_study import plan, trial
from tests.bfedrec.sweeps.test_tuning import SMALL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of two studies of one config."""
    monkeypatch.chdir(tmp_path)
    config = Path("small.yaml")
    config.write_text(SMALL)
    one: Plan = plan(config, "training.l2=0.001..0.1:log", "model.rank=2,4", "rounds=9", seed=5)
    for study_plan, scores in ((one, [0.1, None, 0.3]), (plan(config, "rounds=1..2"), [0.2])):
        with Study.open(study_plan, tmp_path / "tuning") as study:
            for number, score in enumerate(scores):
                study.append(trial(number, score))
    return tmp_path / "tuning"


def test_every_study_of_a_tables_configs_is_told(folder: Path) -> None:
    notes = budget_notes([Path("small.yaml"), Path("other.yaml"), Path("small.yaml")], folder)
    assert len(notes) == 3
    assert (
        "Tuning of small.yaml: 3 trials (1 failed) by TPE with seed 5, scored by "
        "validation_ndcg@10 over one seed; training.l2 0.001..0.1:log, model.rank 2,4, "
        "all with rounds=9; 8 s."
    ) in notes
    assert notes[-1].startswith("Tuning is on record for 1 of 2 configs; of others ")
    assert len(budget_notes([Path("small.yaml")], folder)) == 2
    assert "for 0 of 1 configs" in budget_notes([Path("other.yaml")], folder / "nowhere")[0]
    assert budget_notes([], folder) == []


def test_tables_print_them(tmp_path: Path) -> None:
    told = ["Tuning of x.yaml: 3 trials."]
    assert told[0] in table2.table([], [], told).notes
    from tests.bfedrec.report.test_ablations import runs

    assert ablations.table(runs(tmp_path, "", [0]), [], told).notes[-1] == told[0]
