"""Each logger, read back by its own library: equal to metrics.jsonl, value for value."""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import bfedrec as bf
from bfedrec.api.finished import Run
from bfedrec.cli.main import main
from bfedrec.loggers.registry import LOGGERS
from bfedrec.runs.folder import RunFolder
from tests.helpers.tiny import TINY

Read = dict[int, dict[str, float]]
"""What a tracker has, by height."""

ODD = {"hr@10": 0.1 + 0.2, "er@10": 1e-300, "loss": -1.0 / 3.0, "uplink_bytes": 2**60}
OPTIONS: dict[str, Any] = {**yaml.safe_load(TINY), "rounds": 6, "evaluation": {"every": 2}}


def numbers_of(path: Path) -> Read:
    """The numbers of a run's metrics.jsonl by height, read without any code of ours."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return {
        line.pop("height"): {key: value for key, value in line.items() if key != "split"}
        for line in lines
    }


def read_tensorboard(path: Path) -> Read:
    """The scalars in a run's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(path / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    found: Read = {}
    for tag in events.Tags()["tensors"]:
        assert events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
        for event in events.Tensors(tag):
            values = found.setdefault(event.step, {})
            assert tag not in values, "twice"
            values[tag] = make_ndarray(event.tensor_proto).item()
    return found


def mlflow_run(path: Path) -> tuple[Any, Any]:
    """The client of a run's store, and the one run in it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient((path.resolve() / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("bfedrec")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def read_mlflow(path: Path) -> Read:
    """The metrics of the one run in a run's store."""
    client, run = mlflow_run(path)
    found: Read = {}
    for key in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, key):
            values = found.setdefault(metric.step, {})
            assert key.replace(":", "@") not in values, "twice"
            values[key.replace(":", "@")] = metric.value
    return found


def read_trackio(path: Path) -> Read:
    """The rows of a run in Trackio's database."""
    with sqlite3.connect(Path(os.environ["TRACKIO_DIR"]) / "bfedrec.db") as database:
        rows = database.execute("SELECT step, metrics FROM metrics WHERE run_name=?", (path.name,))
        lines = [(step, json.loads(text)) for step, text in rows]
    assert len({step for step, _ in lines}) == len(lines), "twice"
    return dict(lines)


READERS: Mapping[str, Callable[[Path], Read]] = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "trackio": read_trackio,
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Trackio's database of these tests: the library reads the variable when it is imported."""
    os.environ["TRACKIO_DIR"] = str(tmp_path_factory.mktemp("trackio"))


@pytest.fixture(params=READERS)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each logger whose library is installed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    name = str(request.param)
    pytest.importorskip(name, reason=f"the extra of the logger {name} is not installed")
    return name


def test_every_logger_is_read_back() -> None:
    assert set(READERS) == set(LOGGERS)


class Rounds:
    """A run folder without the run: lines of metrics that come and go as in one."""

    def __init__(self, path: Path, *names: str) -> None:
        self.path = path
        self.config = bf.read_config(OPTIONS, loggers=list(names))
        self.height = 0

    def part(self, lines: int, to: int | None = None, ends: bool = False) -> list[str]:
        """Play a part: cut back to a height, append lines; return what loggers failed."""
        with RunFolder.open(self.config, self.path, resume=True) as folder:
            folder.start("digest")
            if to is not None:
                folder.cut_metrics(to)
                self.height = to
            for _ in range(lines):
                self.height += 1
                odd = {key: value * self.height for key, value in ODD.items()}
                odd["er@10"] += len(list(self.path.iterdir()))
                folder.append_metrics({"height": self.height, "split": "validation", **odd})
            if ends:
                folder.write_summary({"rounds": self.height})
        return folder.unlogged


def test_what_is_logged_equals_the_metrics(tmp_path: Path, name: str) -> None:
    rounds, path = Rounds(tmp_path / f"run-{name}", name), tmp_path / f"run-{name}"
    assert rounds.part(3) == []
    assert READERS[name](path) == numbers_of(path)
    assert len(numbers_of(path)) == 3
    assert rounds.part(2) == []
    assert rounds.part(0, ends=True) == []
    assert READERS[name](path) == numbers_of(path)
    assert len(numbers_of(path)) == 5


def test_a_run_that_is_cut_back_is_logged_anew(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"cut-{name}"
    rounds = Rounds(path, name)
    rounds.part(3)
    before = numbers_of(path)
    (path / "another").touch()  # the lines that come again have other values
    assert rounds.part(2, to=1) == []
    assert numbers_of(path)[2] != before[2]
    assert READERS[name](path) == numbers_of(path)


def test_a_logger_that_comes_later_gets_all(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"later-{name}"
    rounds = Rounds(path)
    rounds.part(3, ends=True)
    rounds.config = bf.read_config(OPTIONS, loggers=[name])
    assert rounds.part(0) == []
    assert READERS[name](path) == numbers_of(path)


@pytest.mark.parametrize("torn", ["tensorboard", "mlflow"])
def test_a_torn_record_is_written_anew(tmp_path: Path, torn: str) -> None:
    """As a kill in the midst of a write may leave it."""
    pytest.importorskip(torn, reason=f"the extra of the logger {torn} is not installed")
    path = tmp_path / "run"
    rounds = Rounds(path, torn)
    rounds.part(3)
    for file in path.joinpath(torn).rglob("*"):
        if file.name == "loss" or "tfevents" in file.name:
            os.truncate(file, file.stat().st_size - 9)
    assert rounds.part(1) == []
    assert READERS[torn](path) == numbers_of(path)


def test_a_run_in_mlflow_has_its_options_and_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra of the logger mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "run"
    rounds = Rounds(path, "mlflow")
    rounds.part(1)
    _, run = mlflow_run(path)
    assert run.info.run_name == "run"
    assert run.info.status == "KILLED"
    assert run.data.params["rounds"] == "6"
    assert run.data.params["seed"] == "0"
    assert run.data.params["data.dataset"] == '"synthetic"'
    rounds.part(1, ends=True)
    assert mlflow_run(path)[1].info.status == "FINISHED"
    shared = tmp_path / "shared"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared.as_uri())
    for place in ("one", "other"):
        Rounds(tmp_path / place, "mlflow").part(2)
        assert not (tmp_path / place / "mlflow").exists()
    client = importlib.import_module("mlflow.tracking").MlflowClient(shared.as_uri())
    experiment = client.get_experiment_by_name("bfedrec")
    names = [each.info.run_name for each in client.search_runs([experiment.experiment_id])]
    assert sorted(names) == ["one", "other"]


class Stop(bf.Callback):
    """Stops a run at a height."""

    def on_round(self, event: Any) -> None:
        if event.height == 3:
            raise bf.StopRun


def test_a_run_is_logged_from_python_and_from_the_command(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped, continued, learnt without a ledger, and from the command line; results are those
    of a run without loggers."""
    plain = bf.run(OPTIONS, out=tmp_path / "plain", progress=False)
    path = tmp_path / f"python-{name}"
    for callbacks in ([Stop()], []):
        run = bf.run(OPTIONS, out=path, progress=False, callbacks=callbacks, loggers=[name])
        assert READERS[name](path) == numbers_of(path)
    assert sorted(numbers_of(path)) == [2, 4, 6]
    assert run.summary["head"] == plain.summary["head"]
    learnt = tmp_path / f"learnt-{name}"
    bf.learn(OPTIONS, out=learnt, progress=False, loggers=[name])
    assert READERS[name](learnt) == numbers_of(learnt)
    config, shell = tmp_path / "tiny.yaml", tmp_path / f"shell-{name}"
    config.write_text(yaml.safe_dump(OPTIONS))
    assert main(["run", str(config), f"loggers=[{name}]", "--out", str(shell)]) == 0
    assert READERS[name](shell) == numbers_of(shell)
    assert Run(shell).summary["head"] == plain.summary["head"]
    capsys.readouterr()


def test_a_logger_that_cannot_write_stops_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="the extra of tensorboard is not installed")
    config, path = tmp_path / "tiny.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump({**OPTIONS, "loggers": ["tensorboard"]}))
    words = ["run", str(config), "--out", str(path)]
    with RunFolder.open(bf.read_config(config), path) as folder:
        (path / "tensorboard").write_text("a file where the folder should be")
    assert folder.unlogged == []
    assert main([*words, "--resume"]) == 0
    told = capsys.readouterr().err
    assert "logger tensorboard is left out: " in told
    assert "with --resume it is tried again" in told
    assert "logger tensorboard is left out" in (path / "log.txt").read_text()
    (path / "tensorboard").unlink()
    assert main([*words, "--resume"]) == 0
    assert capsys.readouterr().err == ""
    assert read_tensorboard(path) == numbers_of(path)
