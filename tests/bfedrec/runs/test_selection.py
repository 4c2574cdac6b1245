"""The round whose test figures a run reports, and what tells which one it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from bfedrec.config.load import config_hash, load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.ranks import read
from bfedrec.runs.selection import chosen
from tests.bfedrec.runs.test_simulation import lasting, metrics, play, stopped_at

OFTEN = ("evaluation.every=1", "training.item_step=4.0", "training.user_step=4.0")


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("last")
    return path, play(path, *OFTEN)


def test_by_default_the_test_items_are_scored_once(last: tuple[Path, dict[str, Any]]) -> None:
    path, summary = last
    assert not any(name.startswith("test_") for line in metrics(path) for name in line)
    assert "selected_by" not in summary
    assert config_hash(load(None, ["evaluation.select=last"])) == config_hash(load(None))


@pytest.mark.parametrize(("select", "by"), [("validation", "ndcg@10"), ("test", "test_ndcg@10")])
def test_the_summary_is_that_of_the_best_round(
    tmp_path: Path, last: tuple[Path, dict[str, Any]], select: str, by: str
) -> None:
    summary = play(tmp_path, *OFTEN, f"evaluation.select={select}", "evaluation.targets=[3]")
    lines = metrics(tmp_path)
    best = max(lines, key=lambda line: float(line[by]))
    assert best["height"] == summary["selected_height"] < 12, "the last round is the best anyway"
    for name in ("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"):
        assert summary[name] == best[f"test_{name}"]
    assert summary["er@10"] == best["er@10"]
    assert ("not honest" in summary["selected_by"]) == (select == "test")
    assert lines[-1]["test_ndcg@10"] == last[1]["ndcg@10"], "the learning is another"
    ranks = read(tmp_path)
    assert ranks is not None
    assert (ranks.rank < 10).mean() == pytest.approx(summary["hr@10"])
    shorter = tmp_path / "shorter"
    play(shorter, *OFTEN, f"rounds={best['height']}")
    assert (
        load_file(tmp_path / "model.safetensors")["Q"]
        == load_file(shorter / "model.safetensors")["Q"]
    ).all(), "the model is not that of the round"


@pytest.mark.parametrize("kept", [1, 4, 11, 12])
def test_a_killed_run_chooses_the_same_round(tmp_path: Path, kept: int) -> None:
    words = (*OFTEN, "evaluation.select=test")
    summary = play(tmp_path / "whole", *words)
    stopped_at(tmp_path / "whole", tmp_path / "cut", kept)
    assert lasting(play(tmp_path / "cut", *words, resume=True)) == lasting(summary)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    for name in ("ranks.npz", "model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_first_of_equals_is_chosen() -> None:
    lines = [
        {"height": at, "ndcg@10": value, "test_ndcg@10": -value}
        for at, value in ((1, 0.1), (2, 0.3), (3, 0.3))
    ]
    assert chosen(lines, "validation", 10)["height"] == 2
    assert chosen(lines, "test", 10)["height"] == 1


def test_what_cannot_be_selected_is_refused(tmp_path: Path) -> None:
    for words in (
        ["evaluation.select=validation", "data.validation=train"],
        ["evaluation.select=best"],
        ["method=gmf", "evaluation.select=test"],
        ["training.method=ials", "training.negatives_exclude=all"],
    ):
        with pytest.raises(ConfigError, match=r"select|negatives_exclude"):
            load(None, words)
    file = tmp_path / "two.csv"
    rows = [f"{user},{item}" for user in range(12) for item in (user, (user + 1) % 12)]
    file.write_text("\n".join(["user,item", *rows, ""]))
    options = ["data.dataset=csv", f"data.csv.path={json.dumps(str(file))}"]
    options += ["data.csv.min_interactions=2", "clients.per_round=5"]
    with pytest.raises(ConfigError, match="no user of csv has a validation item"):
        play(tmp_path / "run", *options, "evaluation.select=validation")
