"""Sweeps, tables and figures from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

import bfedrec as bf
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.folder import RunError
from bfedrec.sweeps.sweep import plan
from tests.bfedrec.api.test_playing import OPTIONS
from tests.helpers.commands import fork_runs

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"


def test_a_sweep_is_a_frame_with_a_row_per_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_runs(monkeypatch)
    grid = {"clients.per_round": [2, 4]}
    frame = bf.sweep(OPTIONS, grid, seeds=[0, 1], jobs=2, out=tmp_path, rounds=2)
    told = capsys.readouterr().out
    assert told.count("\n") == 4
    assert list(frame["clients.per_round"]) == [2, 2, 4, 4]
    assert list(frame["seed"]) == [0, 1, 0, 1]
    assert set(frame["state"]) == {"finished"}
    alone = bf.run(OPTIONS, rounds=2, clients={"per_round": 4}, seed=1, out=tmp_path / "alone")
    assert frame["head"].iloc[3] == alone.summary["head"]
    assert bf.load(frame["path"].iloc[3]).config == alone.config
    capsys.readouterr()
    again = bf.sweep(OPTIONS, grid, seeds=[0, 1], out=tmp_path, rounds=2)
    assert capsys.readouterr().out == ""
    assert again.equals(frame)


@pytest.mark.parametrize(
    ("grid", "seeds", "told"),
    [
        ({"model.rnak": [1]}, [0], "model.rnak"),
        ({"seed": [1]}, [0], "use seeds"),
        ({}, [], "one or more"),
        ({"rounds": [-1]}, [0], "rounds: -1"),
    ],
)
def test_a_wrong_sweep_makes_no_run(
    grid: dict[str, Any], seeds: list[int], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        bf.sweep(OPTIONS, grid, seeds=seeds, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_is_made_here_as_in_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = bf.sweep(OPTIONS, seeds=[0, 1], engine="here", out=tmp_path / "here", rounds=2)
    assert capsys.readouterr().out.count("\n") == 2
    apart = bf.sweep(OPTIONS, seeds=[0, 1], jobs=2, out=tmp_path / "apart", rounds=2)
    assert list(here["head"]) == list(apart["head"])
    assert list(here.columns) == list(apart.columns)
    with pytest.raises(ConfigError, match="jobs: 2: engine 'here' makes one run at a time"):
        bf.sweep(OPTIONS, engine="here", jobs=2, out=tmp_path / "none")


def test_a_run_that_fails_or_stalls_here_is_told_when_the_others_are_made(tmp_path: Path) -> None:
    grid = {"training.item_step": [1e30, 0.1]}
    with pytest.raises(RunError, match=r"1 of 2 runs failed; the first: .*: failed: "):
        bf.sweep(OPTIONS, grid, seeds=[0], engine="here", out=tmp_path, progress=False)
    assert len(list(tmp_path.glob("run-*/summary.json"))) == 1
    silent = {"servers": {"malicious": "silent:3/4"}}
    frame = bf.sweep(OPTIONS, seeds=[0], engine="here", out=tmp_path, progress=False, **silent)
    assert list(frame["state"]) == ["stalled"]


def test_a_run_that_fails_is_told_when_the_others_are_made(tmp_path: Path) -> None:
    """These are processes of their own, as no other test's (`fork_runs`)."""
    grid = {"training.item_step": [1e30, 0.1]}
    with pytest.raises(RunError, match="1 of 2 runs failed"):
        bf.sweep(OPTIONS, grid, seeds=[0], out=tmp_path, progress=False)
    assert len(list(tmp_path.glob("run-*/summary.json"))) == 1


def test_a_run_that_is_asked_for_twice_is_one(tmp_path: Path) -> None:
    grid = {"clients.per_round": [2, 2]}
    options = {"engine": "here", "out": tmp_path, "progress": False, "rounds": 2}
    frame = bf.sweep(OPTIONS, grid, seeds=[0, 1, 0], **options)
    assert list(frame["seed"]) == [0, 1]
    once = bf.compare(frame, by="clients.per_round")
    assert bf.compare(pd.concat([frame, frame]), by="clients.per_round").equals(once)


def test_the_rounds_of_a_grid_are_those_that_were_asked_for(tmp_path: Path) -> None:
    """Runs that stop, or end by `evaluation.patience`, play others."""
    stalled = {"servers": {"malicious": "silent:3/4"}}
    early = {"training": {"item_step": 1e-30, "user_step": 1e-30}}
    early["evaluation"] = {"every": 1, "patience": 1}
    for name, options in (("stalled", stalled), ("early", early)):
        given = {"engine": "here", "out": tmp_path / name, "progress": False, **options}
        frame = bf.sweep(OPTIONS, {"rounds": [5, 6]}, seeds=[0], **given)
        assert list(frame["rounds"]) == [5, 6]
        assert (frame["blocks"] < 5).all()


@pytest.mark.parametrize("key", ["store.kind", "store.timeout"])
def test_what_no_result_depends_on_is_no_axis(key: str, tmp_path: Path) -> None:
    """The settings would share their runs' folders."""
    values = {"store.kind": ["memory", "sqlite"], "store.timeout": [5.0, 6.0]}[key]
    told = rf"{key}: not an axis of a sweep, as no result depends on it"
    with pytest.raises(ConfigError, match=f"grid: {told}"):
        bf.sweep(OPTIONS, {key: values}, seeds=[0], out=tmp_path)
    (tmp_path / "tiny.yaml").write_text("{}\n")
    axis = f"{key}={','.join(map(str, values))}"
    with pytest.raises(ConfigError, match=f"command line: {told}"):
        plan(tmp_path / "tiny.yaml", [axis], [0, 1], tmp_path)
    assert plan(tmp_path / "tiny.yaml", ["rounds=2,2", axis.partition(",")[0]], [0], tmp_path)


def test_artefacts_of_recorded_runs() -> None:
    frame = bf.table("leaders", records=REFERENCE)
    assert frame.attrs["title"] == "The published leaders under one protocol"
    assert {"method", "protocol"} <= set(frame.columns)
    assert isinstance(bf.figure("cost", records=REFERENCE), Figure)
    with pytest.raises(ConfigError, match=r"table 'tabel1'.*table1"):
        bf.table("tabel1")
    with pytest.raises(ConfigError, match="figure 'table1'"):
        bf.figure("table1")


def test_a_figure_without_runs_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="bfedrec sweep"):
        bf.figure("cost", records=tmp_path)
