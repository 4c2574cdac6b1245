"""Choosing settings: which trials are made, what they score, how failures are told."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import evaluate
from bfedrec.federation.unledgered import learn
from bfedrec.sweeps.tuning import main, trials

SMALL = """
name: small
rounds: 40
data: {dataset: synthetic, synthetic: {users: 120, items: 80, interactions_per_user: 15}}
model: {dimension: 8, rank: 2}
clients: {per_round: 12}
training: {item_step: 1.0, user_step: 1.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_every_combination_or_different_draws_of_them() -> None:
    arguments = ["rounds=7", "model.rank=1,2,4", "training.l2=0,0.1"]
    grid = trials(arguments, None, 0)
    assert len(grid) == 6
    assert grid[1] == ["rounds=7", "model.rank=1", "training.l2=0.1"]
    drawn = trials(arguments, 4, 3)
    assert len({tuple(trial) for trial in drawn}) == 4
    assert all(trial in grid for trial in drawn)
    assert drawn == trials(arguments, 4, 3)
    assert len(trials(arguments, 99, 0)) == 6


def test_learning_beats_the_initial_factors_and_repeats_exactly(config: Path) -> None:
    settings = load(config)
    data = prepare(settings.data)
    learned, again = learn(settings, data, threads=1), learn(settings, data, threads=2)
    assert (learned.P == again.P).all()
    assert (learned.Q == again.Q).all()
    before = learn(load(config, ["rounds=1"]), data)
    figures = [evaluate(x.P, x.Q, data, "validation").means() for x in (before, learned)]
    assert figures[1]["full_ndcg@10"] > figures[0]["full_ndcg@10"] + 0.05


def test_the_command_lists_trials_best_first_and_keeps_test_items_out(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "trials.csv"
    arguments = [str(config), "training.item_step=0.001,1,1e30", "--csv", str(table)]
    assert main(arguments) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["training.item_step"] for row in rows] == ["0.001", "1", "1e30"]
    assert "round 1: client" in rows[2]["failed"]
    assert float(rows[1]["validation_hr@10"]) > float(rows[0]["validation_hr@10"])
    assert not any(name.startswith("test") for name in rows[0])
    best = capsys.readouterr().out.split("best first:")[1].splitlines()[1]
    assert best.startswith("training.item_step=1 ")


def test_test_items_are_scored_on_demand(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(config), "rounds=2", "--test", "--seeds", "0,1"]) == 0
    assert "test_full_ndcg@10=" in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["training.stepp=1", "training.item_step", "rounds=0"])
def test_bad_input_ends_in_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    assert main([str(config), argument]) == 2
    assert capsys.readouterr().err.count("\n") == 1
