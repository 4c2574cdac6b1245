"""Settings of a sweep beside each other, with intervals over users and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bfedrec as bf
from bfedrec.config.yaml_core import ConfigError
from bfedrec.evaluation.statistics import crossed_difference, crossed_mean, holm
from bfedrec.runs.folder import RunError
from tests.bfedrec.api.test_playing import OPTIONS
from tests.helpers.commands import fork_runs

METRIC = "full_ndcg@10"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Three settings of two seeds each."""
    grid = {"clients.per_round": [2, 4, 8]}
    out = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patched:
        fork_runs(patched)
        return bf.sweep(OPTIONS, grid, seeds=[0, 1], out=out, progress=False, rounds=3)


def scores(runs: pd.DataFrame, setting: int) -> np.ndarray:
    """float64[S, U] of one setting, from the users' frames."""
    chosen = runs[runs["clients.per_round"] == setting]
    return np.stack([bf.load(path).users[METRIC].to_numpy() for path in chosen["path"]])


def test_a_row_has_the_means_and_the_lead_over_the_first(runs: pd.DataFrame) -> None:
    table = bf.compare(runs, by="clients.per_round", metric=METRIC)
    assert list(table.index) == [2, 4, 8]
    assert list(table["seeds"]) == [2, 2, 2]
    for setting in (2, 4, 8):
        mean = runs[runs["clients.per_round"] == setting][METRIC].mean()
        assert table.loc[setting, "mean"] == pytest.approx(mean, abs=1e-12)
        span = crossed_mean(scores(runs, setting)).interval()
        assert list(table.loc[setting, ["low", "high"]]) == [span.low, span.high]
    assert table.loc[2, ["lead", "lead_low", "lead_high", "p"]].isna().all()
    leads = [crossed_difference(scores(runs, each), scores(runs, 2)) for each in (4, 8)]
    assert list(table["lead"][1:]) == [lead.mean for lead in leads]
    assert list(table["p"][1:]) == holm([lead.p for lead in leads])
    assert list(table["lead_low"][1:]) == [lead.interval().low for lead in leads]


def test_another_setting_is_the_base_and_intervals_have_their_width(runs: pd.DataFrame) -> None:
    table = bf.compare(runs, by="clients.per_round", metric=METRIC, against=8)
    assert table["lead"].isna().tolist() == [False, False, True]
    usual = bf.compare(runs, by="clients.per_round", metric=METRIC)
    assert table.loc[2, "lead"] == -usual.loc[8, "lead"]
    narrow = bf.compare(runs, by="clients.per_round", metric=METRIC, confidence=0.5)
    assert ((narrow["high"] - narrow["low"]) < (usual["high"] - usual["low"])).all()


def test_several_columns_tell_settings_apart(runs: pd.DataFrame) -> None:
    table = bf.compare(runs, by=["clients.per_round", "seed"], metric=METRIC, against=(4, 1))
    assert list(table["seeds"]) == [1] * 6
    assert table["lead"].isna().tolist() == [False, False, False, True, False, False]


def test_a_setting_may_be_none(runs: pd.DataFrame) -> None:
    named = runs.assign(group=runs["clients.per_round"].map({2: None, 4: "a", 8: "b"}))
    table = bf.compare(named, by="group", metric=METRIC)
    assert [None if each != each else each for each in table.index] == [None, "a", "b"]
    usual = bf.compare(runs, by="clients.per_round", metric=METRIC)
    assert table.reset_index(drop=True).equals(usual.reset_index(drop=True))
    by = ["group", "seed"]
    several = bf.compare(named, by=by, metric=METRIC, against=(None, 1))
    assert several["lead"].isna().tolist() == [False, True, False, False, False, False]


def test_a_setting_may_be_a_list(runs: pd.DataFrame) -> None:
    values = {2: [], 4: [{"attack": "push", "share": 0.1}], 8: [1]}
    named = runs.assign(group=runs["clients.per_round"].map(values))
    table = bf.compare(named, by=["group", "group"], metric=METRIC, against=[1])
    assert list(table.index) == ["[]", '[{"attack": "push", "share": 0.1}]', "[1]"]
    usual = bf.compare(runs, by="clients.per_round", metric=METRIC, against=8)
    assert table.reset_index(drop=True).equals(usual.reset_index(drop=True))
    several = bf.compare(named, by=["group", "seed"], metric=METRIC, against=([], 1))
    assert several["lead"].isna().tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"by": "model.rank"}, "no column model.rank"),
        ({"by": []}, "no column named"),
        ({"by": "seed", "metric": "ndcg@5"}, r"'ndcg@5': not one of rank, hr@10"),
        ({"by": "seed", "against": 7}, "against: 7: not one of 0, 1"),
    ],
)
def test_what_is_not_there_is_told(runs: pd.DataFrame, options: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bf.compare(runs, **options)


def test_an_empty_frame_and_an_unfinished_run_are_told(runs: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no rows"):
        bf.compare(runs.iloc[:0], by="seed")
    (tmp_path / "config.yaml").write_text("rounds: 3\n")
    with pytest.raises(RunError, match="not finished"):
        bf.compare(runs.assign(path=str(tmp_path)), by="seed")


def test_other_users_are_told(runs: pd.DataFrame, tmp_path: Path) -> None:
    few = {"synthetic": {"users": 30, "items": 220, "interactions_per_user": 8}}
    other = bf.run(OPTIONS, data=few, rounds=2, out=tmp_path / "few", progress=False)
    mixed = pd.concat([runs, pd.DataFrame([{"seed": 2, "path": str(other.path)}])])
    with pytest.raises(ConfigError, match="does not test the same users"):
        bf.compare(mixed, by="seed")


def test_users_are_told_by_their_ids_where_the_data_differ(tmp_path: Path) -> None:
    """Of three files with as many users, two have the same."""
    rng = np.random.default_rng(0)
    items = [rng.choice(130, 9, replace=False) for _ in range(20)]

    def made(name: str, letter: str, left_out: int) -> dict[str, object]:
        rows = [(f"{letter}{u:02}", i) for u, own in enumerate(items) for i in own[left_out:]]
        frame = pd.DataFrame(rows, columns=["user", "item"]).assign(time=range(len(rows)))
        data = bf.dataset(frame, time="time", cache=tmp_path, min_interactions=3)
        options = {"rounds": 2, "clients": {"per_round": 4}, "evaluation": {"every": 2}}
        run = bf.learn({}, data=data, out=tmp_path / name, progress=False, **options)
        return {"name": name, "path": str(run.path)}

    whole, less, others = made("whole", "a", 0), made("less", "a", 1), made("others", "b", 0)
    assert list(bf.compare(pd.DataFrame([whole, less]), by="name")["users"]) == [20, 20]
    with pytest.raises(ConfigError, match="others: does not test the same users as the first run"):
        bf.compare(pd.DataFrame([whole, others]), by="name")
