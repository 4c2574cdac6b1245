"""Learning without a ledger: its folder, interrupted and resumed, spoilt, and kept apart from
runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import bfedrec as bf
from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.federation.learner import Learner, Played
from bfedrec.runs.folder import RunError, RunFolder, has_ledger, read_json, read_tensors
from bfedrec.runs.learning import CHECKPOINT, Learning, run
from bfedrec.runs.progress import Progress
from bfedrec.runs.ranks import read as read_ranks
from bfedrec.runs.state import StateError
from bfedrec.sweeps.recorded import read as read_recorded
from bfedrec.sweeps.recorded import record
from bfedrec.sweeps.sweep import check_data, plan
from tests.bfedrec.runs.test_simulation import SMALL, lasting, metrics

DENSE = ("compression.kind=dense", "evaluation.every=4")
ADAPTIVE = (
    "training.method=ials",
    "compression.kind=ternary",
    "compression.size=4",
    "model.rank=8",
)
ADAPTIVE += ("model.basis=identity", "optimizer.kind=row_adaptive", "evaluation.every=4")
FEEDBACK = ("compression.kind=top_k", "compression.size=1", "compression.error_feedback=true")
BEST = ("evaluation.select=test", "evaluation.every=4", "training.item_step=1.0")
GROUP = ("clients.malicious=[{attack: gaussian, share: 0.3, from: 2}]", "evaluation.targets=[3]")


def learnt(path: Path, *overrides: str, resume: bool = False) -> dict[str, Any]:
    """Learn the small experiment with ``overrides`` in ``path``; its summary."""
    config = load(None, [*SMALL, *overrides])
    quiet = Console(file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    with (
        RunFolder.open(config, path, resume, ledger=False) as folder,
        Progress(config.rounds, folder.log, quiet, unit="round") as progress,
    ):
        summary = dict(run(config, folder, resume, progress))
        folder.write_summary(summary)
    return summary


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """The process ends within the round whose number is put under "at"."""
    at: dict[str, int] = {}
    play = Learner.play

    def deadly(self: Learner, height: int, beacon: bytes) -> Played:
        if height == at.get("at"):
            raise Killed
        return play(self, height, beacon)

    monkeypatch.setattr(Learner, "play", deadly)
    yield at
    at.clear()


def test_the_folder_has_what_a_run_leaves_but_a_ledger(tmp_path: Path) -> None:
    summary = learnt(tmp_path / "run", *DENSE)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml", "manifest.json", "metrics.jsonl", "summary.json", "state.sqlite",
        "model.safetensors", "ranks.npz", "log.txt", "lock",
    }  # fmt: skip
    assert summary["ledger"] == "none"
    assert not {"head", "blocks", "attempts", "simulated_seconds", "uplink_bytes"} & set(summary)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["ledger"] == "none"
    lines = metrics(tmp_path / "run")
    assert [line["height"] for line in lines] == [4, 8, 12]
    assert all(0 <= line["hr@10"] <= 1 for line in lines)
    ranks = read_ranks(tmp_path / "run")
    assert ranks is not None
    assert ranks.full_rank is not None
    assert (ranks.rank < 10).mean() == summary["hr@10"]
    assert (ranks.full_rank < 10).mean() == summary["full_hr@10"]
    dense = 4 * 60 * 8  # items times dimensions, float32: Q, and an update of it
    assert summary["broadcast_payload_bytes"] == 12 * 10 * dense
    assert 12 * 10 * dense <= summary["uplink_payload_bytes"] <= 12 * 10 * (dense + 60)


@pytest.mark.parametrize("overrides", [DENSE, ADAPTIVE, FEEDBACK, GROUP, BEST], ids=" ".join)
@pytest.mark.parametrize("killed_at", [2, 7, 12])
def test_killed_and_resumed_it_ends_the_same(
    overrides: tuple[str, ...], killed_at: int, tmp_path: Path, killing: dict[str, int]
) -> None:
    whole = learnt(tmp_path / "whole", *overrides)
    killing["at"] = killed_at
    with pytest.raises(Killed):
        learnt(tmp_path / "cut", *overrides)
    del killing["at"]
    assert (tmp_path / "cut" / CHECKPOINT).exists() is (killed_at > 4 or overrides == FEEDBACK)
    assert lasting(learnt(tmp_path / "cut", *overrides, resume=True)) == lasting(whole)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    for name in ("model.safetensors", "ranks.npz"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / CHECKPOINT).exists()


def test_killed_between_checkpoint_and_metrics_the_line_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt(tmp_path / "whole", *DENSE)

    def deadly(self: Learning, height: int) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Learning, "_validate", deadly)
        with pytest.raises(Killed):
            learnt(tmp_path / "cut", *DENSE)
    assert metrics_or_none(tmp_path / "cut") == []
    learnt(tmp_path / "cut", *DENSE, resume=True)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def metrics_or_none(path: Path) -> list[dict[str, Any]]:
    return metrics(path) if (path / "metrics.jsonl").exists() else []


@pytest.fixture
def cut(tmp_path: Path, killing: dict[str, int]) -> Path:
    """A folder with a checkpoint of round 8, killed in round 11."""
    killing["at"] = 11
    with pytest.raises(Killed):
        learnt(tmp_path / "cut", *DENSE)
    killing.clear()
    return tmp_path / "cut"


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"Q": np.zeros((60, 9), np.float32)}, "not a checkpoint of this config"),
        ({"Q": np.zeros((60, 8), np.float64)}, "not a checkpoint of this config"),
        ({"more": np.zeros(3)}, "not a checkpoint of this config"),
        ({"counts": np.zeros(1, np.int64)}, "not a checkpoint of this config"),
        ({"counts": np.array([11, 5])}, "is of round 11, but state.sqlite has 10"),
        ({"counts": np.array([0, 5])}, "is of round 0"),
        ({"counts": np.array([-3, 5])}, "is of round -3"),
    ],
    ids=range(7),
)
def test_a_checkpoint_of_something_else_is_one_line(
    spoilt: dict[str, np.ndarray], said: str, cut: Path
) -> None:
    path = cut / CHECKPOINT
    path.write_bytes(save_tensors(load_tensors(path.read_bytes()) | spoilt))
    with pytest.raises((RunError, StateError), match=said) as caught:
        learnt(cut, *DENSE, resume=True)
    assert "\n" not in str(caught.value)


NO_TENSORS = [b"", b"x" * 100, np.random.default_rng(0).bytes(50), b"\xff" * 9, bytes(2**22)]


@pytest.mark.parametrize("content", NO_TENSORS, ids=range(5))
def test_a_file_that_holds_no_tensors_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(RunError, match="no tensors") as caught:
        read_tensors(tmp_path / "model.safetensors", 2**20)
    assert "\n" not in str(caught.value)


def test_tensors_are_not_read_from_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(RunError):
            read_tensors(tmp_path / name, 2**20)
    with pytest.raises(RunError, match="no such file"):
        read_tensors(tmp_path / "none", 2**20)


def test_it_is_no_run_of_tables_and_sweeps(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text("")
    sweep = plan(config, [*SMALL, *DENSE], [0], tmp_path / "runs")
    (path,) = sweep.settings[0].runs.values()
    learnt(path, *DENSE)
    assert list(read_recorded(tmp_path)) == []
    with pytest.raises(RunError, match="was learnt without a ledger"):
        record(sweep, tmp_path / "records")


def test_a_folder_of_one_kind_is_refused_as_the_other(tmp_path: Path) -> None:
    learnt(tmp_path / "learnt", *DENSE)
    config = load(None, [*SMALL, *DENSE])
    assert has_ledger(tmp_path / "learnt") is False
    with pytest.raises(RunError, match="holds learning without a ledger"):
        RunFolder.open(config, tmp_path / "learnt", resume=True)
    with RunFolder.open(config, tmp_path / "run") as folder:
        assert has_ledger(folder.path) is None
        folder.start("digest")
    assert has_ledger(tmp_path / "run") is True
    with pytest.raises(RunError, match="holds a run on a ledger"):
        RunFolder.open(config, tmp_path / "run", resume=True, ledger=False)


def test_scores_by_recency_are_of_one_order_of_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files that differ in times alone have one digest, as the split is the same."""
    file, config = tmp_path / "own.csv", tmp_path / "own.yaml"
    config.write_text(
        "rounds: 2\n"
        f"data: {{dataset: csv, csv: {{path: {file}, time: time, min_interactions: 5}}}}\n"
        "model: {dimension: 4, rank: 4, basis: identity}\n"
        "training: {method: ials}\n"
        "compression: {kind: dense}\n"
        "clients: {per_round: 4}\n"
        "evaluation: {recency: true, every: 1}\n"
    )

    def write(sign: int) -> None:
        rows = [
            (user, (11 * user + 3 * k) % 60, sign * k if k < 7 else k)
            for user in range(20)
            for k in range(9)
        ]
        text = [f"{user},{item},{time}" for user, item, time in rows]
        file.write_text("\n".join(["user,item,time", *text]) + "\n")

    def made(seed: int, *more: str) -> int:
        out = ["--out", str(tmp_path / "runs" / f"s{seed}"), *more]
        return main(["learn", str(config), f"seed={seed}", *out])

    write(1)
    assert made(0) == 0
    digest = read_json(tmp_path / "runs" / "s0" / "manifest.json")["data_digest"]
    write(-1)
    assert made(1) == 0
    other = read_json(tmp_path / "runs" / "s1" / "manifest.json")
    assert other["data_digest"] == digest
    assert bf.load(tmp_path / "runs" / "s1").data.digest == digest
    with pytest.raises(RunError, match="rows have other times"):
        _ = bf.load(tmp_path / "runs" / "s0").data
    (tmp_path / "runs" / "s0" / "summary.json").unlink()
    capsys.readouterr()
    assert made(0, "--resume") == 2
    assert "rows have other times" in capsys.readouterr().err
    with pytest.raises(RunError, match="made on an order of rows"):
        check_data((tmp_path / "runs").iterdir())
    write(1)
    assert made(0, "--resume") == 0
