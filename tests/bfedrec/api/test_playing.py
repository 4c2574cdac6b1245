"""Runs from Python: the same as the command line's, continued, watched and stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import bfedrec as bf
from bfedrec.cli.main import main
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.folder import RunError
from bfedrec.runs.progress import EpochDone, Evaluated, RoundDone, RoundLearnt
from tests.helpers.tiny import TINY

OPTIONS: dict[str, Any] = {**yaml.safe_load(TINY), "rounds": 6, "evaluation": {"every": 2}}


class Seen(bf.Callback):
    """A callback that notes what it is called with, and stops a run at a height."""

    def __init__(self, stop: int = 0) -> None:
        self.rounds: list[int] = []
        self.evaluations: list[Evaluated] = []
        self.stop = stop

    def on_round(self, event: RoundDone | RoundLearnt | EpochDone) -> None:
        self.rounds.append(event.epoch if isinstance(event, EpochDone) else event.height)
        if self.rounds[-1] == self.stop:
            raise bf.StopRun

    def on_evaluation(self, event: Evaluated) -> None:
        self.evaluations.append(event)


def test_a_run_is_the_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(f"rounds: 6\n{TINY}evaluation: {{every: 2}}\n")
    assert main(["run", str(config), "seed=3", "--out", str(tmp_path / "shell")]) == 0
    capsys.readouterr()
    run = bf.run(config, seed=3, out=tmp_path / "python", progress=False)
    assert capsys.readouterr().out == ""
    ours, theirs = run.summary, bf.load(tmp_path / "shell").summary
    assert ours["head"] == theirs["head"]
    assert ours["hr@10"] == theirs["hr@10"]
    assert (run.path / "curves.png").exists()


def test_options_are_given_in_four_ways(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    found = [
        bf.read_config(file, "model.rank=2", seed=7),
        bf.read_config(file, seed=7, model={"rank": 2}),
        bf.read_config({**yaml.safe_load(TINY), "seed": 7}, "model.rank=2"),
        bf.read_config(bf.read_config(file), "seed=7", model={"rank": 2}),
    ]
    assert all(config == found[0] for config in found)
    assert (found[0].seed, found[0].model.rank) == (7, 2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": {"rnak": 2}}, "model.rnak: unknown key"),
        ({"rounds": 0}, "rounds: 0"),
        ({"rounds": object()}, "rounds: object is no value of an option"),
        ({"rounds": float("nan")}, "rounds"),
        ({"name": {1: 2}}, "expected the name of an option"),
        ({"seed": "1"}, "seed"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")) as caught:
        bf.read_config({}, **options)
    assert "\n" not in str(caught.value)


def test_a_shipped_experiment_is_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["quickstart", "quickstart.yaml", "experiments/quickstart.yaml"]
    assert {bf.read_config(name).name for name in names} == {"quickstart"}
    assert bf.read_config("leaders/pfedrec").training.method == "pfedrec"
    (tmp_path / "quickstart.yaml").write_text("name: mine\n")
    assert bf.read_config("quickstart.yaml").name == "mine"
    for name in ("no-such", "../quickstart", "/quickstart", ""):
        with pytest.raises(ConfigError):
            bf.read_config(name)


def test_a_finished_run_is_returned_and_another_config_refused(tmp_path: Path) -> None:
    first = bf.run(OPTIONS, out=tmp_path, progress=False)
    seen = Seen()
    again = bf.run(OPTIONS, out=tmp_path, progress=False, callbacks=[seen])
    assert again.summary == first.summary
    assert seen.rounds == []
    with pytest.raises(ConfigError, match="begun with another rounds"):
        bf.run(OPTIONS, rounds=7, out=tmp_path, progress=False)


def test_a_callback_sees_the_rounds_and_stops_a_run_that_then_goes_on(tmp_path: Path) -> None:
    whole = bf.run(OPTIONS, out=tmp_path / "whole", progress=False)
    seen = Seen(stop=3)
    run = bf.run(OPTIONS, out=tmp_path / "parts", progress=False, callbacks=[seen])
    assert not run.finished
    assert list(run.metrics.index) == [2]
    with pytest.raises(RunError, match="not finished: run"):
        _ = run.summary
    assert "not finished" in run._repr_html_()
    seen.stop = 0
    run = bf.run(OPTIONS, out=tmp_path / "parts", progress=False, callbacks=[seen])
    assert seen.rounds == [1, 2, 3, 4, 5, 6]
    assert [event.height for event in seen.evaluations] == [2, 4, 6, 6]
    assert seen.evaluations[-1].split == "test"
    assert run.summary["head"] == whole.summary["head"]


def test_learning_has_no_chain(tmp_path: Path) -> None:
    seen = Seen()
    learnt = bf.learn(OPTIONS, out=tmp_path, progress=False, callbacks=[seen])
    assert learnt.summary["ledger"] == "none"
    assert seen.rounds == [1, 2, 3, 4, 5, 6]
    with pytest.raises(RunError, match="no chain"):
        _ = learnt.chain
    with pytest.raises(RunError, match="learning without a ledger"):
        bf.run(OPTIONS, out=tmp_path, progress=False)


def test_epochs_are_seen_too(tmp_path: Path) -> None:
    options = {"method": "item_knn", "data": OPTIONS["data"]}
    run = bf.run(options, out=tmp_path, progress=False, callbacks=[Seen()])
    assert run.summary["hr@10"] == bf.load(tmp_path).summary["hr@10"]
    with pytest.raises(RunError, match="no Q"):
        _ = run.model


@pytest.mark.parametrize("play", ["run", "learn"])
def test_a_run_ends_where_nothing_gets_better(tmp_path: Path, play: str) -> None:
    options = {**OPTIONS, "rounds": 40, "evaluation": {"every": 1}}
    whole = getattr(bf, play)(options, out=tmp_path / "whole", progress=False)
    scores = list(whole.metrics["ndcg@10"])
    best = 0.0
    without, ends = 0, 40
    for height, score in enumerate(scores, 1):
        without = 0 if score > best else without + 1
        best = max(best, score)
        if without == 2 and height > 2:
            ends = height
            break
    assert ends < 40
    patient = {**options, "evaluation": {"every": 1, "patience": 2}}
    ended = getattr(bf, play)(patient, out=tmp_path / "ended", progress=False)
    assert ended.summary["rounds"] == ends == ended.metrics.index[-1]
    assert list(ended.metrics["ndcg@10"]) == scores[:ends]
    assert f"ends after {ends} rounds" in (ended.path / "log.txt").read_text()
    stopped = getattr(bf, play)(
        patient, out=tmp_path / "resumed", progress=False, callbacks=[Seen(stop=ends)]
    )
    assert not stopped.finished
    resumed = getattr(bf, play)(patient, out=tmp_path / "resumed", progress=False)
    assert resumed.summary["rounds"] == ends
    assert resumed.summary.get("head") == ended.summary.get("head")


def test_patience_needs_validation_items() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.patience: .*none is held out"):
        bf.read_config({}, evaluation={"patience": 3}, data={"validation": "train"})
    with pytest.raises(ConfigError, match=r"evaluation\.patience"):
        bf.read_config({"method": "popularity"}, evaluation={"patience": 3})


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    class Impatient(bf.Callback):
        def on_round(self, event: RoundDone | RoundLearnt | EpochDone) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the same call continues"):
        bf.run(OPTIONS, out=tmp_path, progress=False, callbacks=[Impatient()])
    assert "interrupted" in (tmp_path / "log.txt").read_text()


def test_the_interface_is_what_it_says() -> None:
    assert set(bf.__all__) <= set(dir(bf))
    assert all(getattr(bf, name).__doc__ for name in bf.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bf.nothing  # noqa: B018
    code = "from bfedrec import *; print(sorted(name for name in dir() if name[0] != '_'))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert eval(told) == sorted(bf.__all__)
