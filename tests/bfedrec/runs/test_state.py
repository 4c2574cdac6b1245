"""The state of a run, read without a trace."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.learning.upload import Diverged
from bfedrec.runs.state import RoundState, RunState, StateError

OFTEN = ("rounds=2", "clients.per_round=6", "evaluation.every=1")


def row(height: int) -> RoundState:
    factors = np.full((2, 3), height, np.float32)
    return RoundState(height, np.array([height, 0]), factors, 1.0 * height, 0.0, 0.5)


def test_reading_includes_what_a_killed_writer_left_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    with RunState(tmp_path / "state.sqlite") as state:
        for height in (1, 2, 3):
            state.append(row(height))
        for name in ("state.sqlite", "state.sqlite-wal"):  # as they are, without a close
            shutil.copyfile(tmp_path / name, tmp_path / "killed" / name)
    before = {path.name: path.read_bytes() for path in (tmp_path / "killed").iterdir()}
    with RunState(tmp_path / "killed" / "state.sqlite", read_only=True) as state:
        assert state.last_height == 3
        whole = state.load_factors(np.zeros((4, 3), np.float32))
        earlier = state.load_factors(np.zeros((4, 3), np.float32), 2)
    assert whole[:, 0].tolist() == [3, 1, 2, 3]
    assert earlier[:, 0].tolist() == [2, 1, 2, 0]
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "killed").iterdir()}


def test_reading_makes_no_file_even_for_a_moment(tmp_path: Path) -> None:
    with RunState(tmp_path / "state.sqlite") as state:
        state.append(row(1))
    os.utime(tmp_path, ns=(0, 0))  # a file that is made and deleted again changes it
    with RunState(tmp_path / "state.sqlite", read_only=True) as state:
        assert state.last_height == 1
    assert tmp_path.stat().st_mtime_ns == 0


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="unable to open"):
        RunState(tmp_path / "state.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    path, ours, theirs = tmp_path / "state.sqlite", b"\x01" * 32, b"\x02" * 32
    with RunState(path, digest=ours) as state:
        state.append(row(1))
    with RunState(path, digest=ours) as state:
        assert state.last_height == 1
    with pytest.raises(StateError, match="the state of another run") as told:
        RunState(path, digest=theirs)
    assert "\n" not in str(told.value)
    with RunState(path, read_only=True, digest=ours) as state:
        assert state.last_height == 1
    with pytest.raises(StateError, match="the state of another run"):
        RunState(path, read_only=True, digest=theirs)


def test_a_state_from_before_states_were_bound_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with RunState(path) as state:
        state.append(row(1))
    for digest in (b"\x01" * 32, b"\x02" * 32):
        with RunState(path, digest=digest) as state:
            assert state.last_height == 1


def test_a_digest_of_zeros_binds_too(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    RunState(path, digest=bytes(32)).close()
    with pytest.raises(StateError, match="another run"):
        RunState(path, digest=b"\x02" * 32)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf"), 2.0**63, 1e300])
def test_a_loss_that_cannot_be_written_is_a_divergence(tmp_path: Path, loss: float) -> None:
    with RunState(tmp_path / "state.sqlite") as state:
        state.append(row(1))
        with pytest.raises(Diverged, match="round 2: the mean training loss is"):
            state.append(replace(row(2), loss=loss))
        assert state.last_height == 1
        state.append(replace(row(2), loss=2.0**62))


@pytest.mark.parametrize("word", ["training.item_step=1e8", "model.init_scale=1e18"])
@pytest.mark.parametrize("command", ["run", "learn"])
def test_a_run_that_diverges_ends_in_a_line(
    command: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [command, "experiments/quickstart.yaml", *OFTEN, word, "--out", str(out)]
    assert main(words) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert "the mean training loss is" in line
    if (out / "metrics.jsonl").exists():
        told = (out / "metrics.jsonl").read_text().splitlines()
        assert all(json.loads(each)["loss"] < 2.0**63 for each in told)
