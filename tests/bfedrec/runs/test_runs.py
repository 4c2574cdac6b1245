"""The run folder: who may use it, what it keeps, and that a kill at any moment leaves it usable."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.folder import RunError, RunFolder, default_path, finished, read_metrics
from bfedrec.runs.manifest import git_state
from bfedrec.runs.state import RoundState, RunState, StateError
from bfedrec.runs.totals import Totals

CONFIG = load(None)
DIGEST = "ab" * 32


def state_of(height: int, clients: int = 5, dimension: int = 3) -> RoundState:
    """A row whose contents follow from its height."""
    draws = np.random.default_rng(height)
    return RoundState(
        height,
        draws.permutation(20)[:clients],
        draws.standard_normal((clients, dimension)).astype(np.float32),
        height / 3,
        height / 7,
        1 / height,
        Totals(attempts=height, uplink_bytes=10**15 + height),
    )


def test_seeds_of_a_setting_have_folders_that_differ_only_in_the_seed() -> None:
    one, other = (default_path(load(None, [f"seed={seed}", "name=x"])).name for seed in (1, 22))
    assert one.removesuffix("-s1") == other.removesuffix("-s22")
    assert default_path(load(None, ["name=x", "model.rank=2"])).name[:10] != one[:10]


def test_a_new_folder_gets_the_resolved_config(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path / "deep" / "run") as folder:
        assert load(folder.path / "config.yaml") == CONFIG
        assert not finished(folder.path)


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunError, match="not empty, and not a run"):
            RunFolder.open(CONFIG, tmp_path, resume)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_run_is_continued_only_with_resume_and_the_same_config(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path) as folder:
        folder.start("data")
    with pytest.raises(RunError, match="--resume"):
        RunFolder.open(CONFIG, tmp_path)
    changed = load(None, ["model.rank=2", "seed=1"])
    with pytest.raises(ConfigError, match=r"another seed, model\.rank"):
        RunFolder.open(changed, tmp_path, resume=True)
    with RunFolder.open(CONFIG, tmp_path, resume=True) as folder:
        assert folder.config == CONFIG


def test_resume_of_nothing_starts_anew(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path / "run", resume=True) as folder:
        assert folder.metrics() == []


def test_a_kill_before_the_config_is_there_leaves_a_folder_to_start_in(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / ".config.yaml.part").write_text("na")
    with RunFolder.open(CONFIG, tmp_path) as folder:
        assert load(folder.path / "config.yaml") == CONFIG


def test_a_run_that_failed_before_it_began_leaves_a_folder_to_start_in(tmp_path: Path) -> None:
    with RunFolder.open(load(None, ["model.rank=2"]), tmp_path) as folder:
        folder.log("failed: a bad line in the data")
    with RunFolder.open(CONFIG, tmp_path) as folder:
        assert load(folder.path / "config.yaml") == CONFIG
    (tmp_path / "chain.sqlite").touch()
    with pytest.raises(RunError, match="holds a run"):
        RunFolder.open(CONFIG, tmp_path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path), pytest.raises(RunError, match="another process"):
        RunFolder.open(CONFIG, tmp_path, resume=True)
    RunFolder.open(CONFIG, tmp_path, resume=True).close()


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be used"):
        RunFolder.open(CONFIG, tmp_path / "file")


def test_the_manifest_says_what_the_run_was_made_with(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path) as folder:
        folder.start(DIGEST)
        first = json.loads((tmp_path / "manifest.json").read_text())
        folder.start(DIGEST)
        second = json.loads((tmp_path / "manifest.json").read_text())
        with pytest.raises(RunError, match="made on data abababababab"):
            folder.start("cd" * 32)
    assert first["data_digest"] == DIGEST
    assert first["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert first["machine"]["cores"] == os.cpu_count()
    assert {key: second[key] for key in first} == first
    assert len(second["resumes"]) == 1


def test_git_state_is_that_of_this_repository_or_none(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*command, "init", "-q"], check=True)
    (tmp_path / "f").write_text("1")
    subprocess.run([*command, "add", "f"], check=True)
    subprocess.run([*command, "commit", "-qm", "one"], check=True)
    clean = git_state(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "f").write_text("2")
    dirty = git_state(tmp_path)
    assert dirty is not None
    assert dirty["dirty"] is True
    (tmp_path / "inner").mkdir()
    assert git_state(tmp_path / "inner") is None  # installed inside somebody's repository


def test_metrics_are_cut_to_a_height_and_torn_lines_dropped(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path) as folder:
        for height in (10, 20, 30):
            folder.append_metrics({"height": height, "hr@10": 1 / height})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"height": 40, "hr@')
        assert [line["height"] for line in folder.metrics()] == [10, 20, 30]
        folder.cut_metrics(20)
        folder.append_metrics({"height": 30, "hr@10": 0.5})
        kept = [(line["height"], line["hr@10"]) for line in folder.metrics()]
    assert kept == [(10, 0.1), (20, 0.05), (30, 0.5)]


def test_metrics_that_are_no_numbers_are_errors(tmp_path: Path) -> None:
    with RunFolder.open(CONFIG, tmp_path) as folder:
        with pytest.raises(ValueError, match="JSON compliant"):
            folder.append_metrics({"height": 1, "hr@10": math.nan})
        with pytest.raises(ValueError, match="JSON compliant"):
            folder.write_summary({"hr@10": math.inf})
        assert folder.metrics() == []
        assert not finished(tmp_path)


def test_a_file_that_could_not_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with RunFolder.open(CONFIG, tmp_path) as folder:
        folder.write_summary({"hr@10": 0.5})
        folder.append_metrics({"height": 1})
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            folder.write_summary({"hr@10": 0.6})
        with pytest.raises(OSError, match="No space"):
            folder.cut_metrics(0)
        assert json.loads((tmp_path / "summary.json").read_text()) == {"hr@10": 0.5}
        assert folder.metrics() == [{"height": 1}]


def test_metrics_broken_in_the_middle_are_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"height": 1}\nhello\n{"height": 2}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        read_metrics(tmp_path)


def test_the_model_holds_the_item_factors_and_nothing_private(tmp_path: Path) -> None:
    item_factors = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    with RunFolder.open(CONFIG, tmp_path) as folder:
        folder.write_model(np.asfortranarray(item_factors))
    tensors = load_file(tmp_path / "model.safetensors")
    assert list(tensors) == ["Q"]
    np.testing.assert_array_equal(tensors["Q"], item_factors)


def test_state_is_replayed_up_to_a_height(tmp_path: Path) -> None:
    initial = np.zeros((20, 3), np.float32)
    expected = initial.copy()
    with RunState(tmp_path / "state.sqlite") as state:
        assert state.last_height == 0
        for height in range(1, 9):
            state.append(state_of(height))
        state.discard_after(5)
    for height in range(1, 6):
        row = state_of(height)
        expected[row.clients] = row.factors
    with RunState(tmp_path / "state.sqlite") as state:
        assert state.last_height == 5
        np.testing.assert_array_equal(state.load_factors(initial), expected)
        row, wanted = state.row(5), state_of(5)
        assert (row.simulated_seconds, row.totals) == (wanted.simulated_seconds, wanted.totals)
        assert (row.wall_seconds, row.loss) == (wanted.wall_seconds, wanted.loss)
        np.testing.assert_array_equal(row.clients, wanted.clients)
        np.testing.assert_array_equal(row.factors, wanted.factors)
    assert not initial.any()


def test_state_refuses_gaps_wrong_shapes_and_other_files(tmp_path: Path) -> None:
    with RunState(tmp_path / "state.sqlite") as state:
        with pytest.raises(StateError, match="height 1 is next, got 2"):
            state.append(state_of(2))
        bad = RoundState(1, np.arange(4), np.zeros((3, 2), np.float32), 0.0, 0.0, 0.0)
        with pytest.raises(StateError, match="4 clients"):
            state.append(bad)
        state.append(state_of(1))
        with pytest.raises(StateError, match="no height 2"):
            state.row(2)
        with pytest.raises(StateError, match="does not fit"):
            state.load_factors(np.zeros((20, 4), np.float32))
        with pytest.raises(StateError, match="does not fit"):
            state.load_factors(np.zeros((2, 3), np.float32))
    (tmp_path / "noise").write_bytes(b"no database at all, but long enough" * 50)
    with pytest.raises(StateError, match="not a run's state"):
        RunState(tmp_path / "noise")


def test_a_round_without_clients_is_a_row_too(tmp_path: Path) -> None:
    empty = RoundState(1, np.empty(0, np.int64), np.empty((0, 3), np.float32), 1.0, 1.0, 0.0)
    with RunState(tmp_path / "state.sqlite") as state:
        state.append(empty)
        assert len(state.row(1).clients) == 0
        assert not state.load_factors(np.zeros((20, 3), np.float32)).any()


WRITER = """
import sys
from pathlib import Path
from bfedrec.config.load import load
from bfedrec.runs.folder import RunFolder
from tests.bfedrec.runs.test_runs import state_of
with RunFolder.open(load(None), Path(sys.argv[1])) as folder, folder.state() as state:
    folder.start("ab" * 32)
    for height in range(1, 100_000):
        state.append(state_of(height))
        folder.append_metrics({"height": height, "hr@10": 0.5})
        folder.write_summary({"height": height})
        print(height, flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_kill_leaves_a_readable_prefix(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(random.randint(1, 40)):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    with RunFolder.open(CONFIG, path, resume=True) as folder, folder.state() as state:
        last = state.last_height
        lines = [line["height"] for line in folder.metrics()]
        assert lines == list(range(1, len(lines) + 1))
        assert last - 1 <= len(lines) <= last
        for height in range(1, last + 1):
            np.testing.assert_array_equal(state.row(height).factors, state_of(height).factors)
        assert last - 2 <= json.loads((path / "summary.json").read_text())["height"] <= last
        folder.start(DIGEST)
        state.append(state_of(last + 1))


def test_private_factors_are_in_the_state_alone(tmp_path: Path) -> None:
    marked = np.full((1, 4), 1234.5678, np.float32)
    with RunFolder.open(CONFIG, tmp_path) as folder:
        folder.start(DIGEST)
        folder.write_model(np.zeros((3, 4), np.float32))
        with folder.state() as state:
            state.append(RoundState(1, np.array([0]), marked, 0.0, 0.0, 0.0))
    holders = [path.name for path in tmp_path.iterdir() if marked.tobytes() in path.read_bytes()]
    assert holders == ["state.sqlite"]
    assert sqlite3.connect(tmp_path / "state.sqlite").execute("PRAGMA integrity_check").fetchone()
