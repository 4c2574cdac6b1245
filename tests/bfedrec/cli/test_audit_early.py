"""`bfedrec audit` of runs that `evaluation.patience` ended before their last round."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import bfedrec as bf
from bfedrec.cli.main import main
from tests.helpers import tiny

TINY = f"rounds: 12\n{tiny.TINY}evaluation: {{every: 2, patience: 1}}\n"


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended early; not to be written to."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "tiny.yaml").write_text(TINY)
    assert main(["run", str(folder / "tiny.yaml"), "--out", str(folder / "run")]) == 0
    assert 0 < rounds_of(folder / "run") < 12
    return folder / "run"


@pytest.fixture
def run(early: Path, tmp_path: Path) -> Path:
    """The same run, to be tampered with."""
    return Path(shutil.copytree(early, tmp_path / "copy"))


def rounds_of(run: Path) -> int:
    return int(json.loads((run / "summary.json").read_text())["rounds"])


def test_a_run_that_ended_early_passes(early: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(early)]) == 0
    told = capsys.readouterr().out
    assert f"{rounds_of(early)} blocks" in told
    assert "not checked" not in told
    report = bf.load(early).audit().report
    assert report is not None
    assert report.blocks == rounds_of(early)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (-2, "the chain ends here, but the run had"),
        (2, "the chain ends here, but the run had"),
        (-1, "no run of this config ends there"),
        (-100, "no run of this config ends there"),
        (100, "no run of this config ends there"),
    ],
)
def test_an_edited_number_of_rounds_is_found(
    run: Path, change: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"rounds": summary["rounds"] + change}))
    assert main(["audit", str(run)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_a_chain_that_was_cut_is_found(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = rounds_of(run)
    with closing(sqlite3.connect(run / "chain.sqlite")) as chain, chain:
        chain.execute("DELETE FROM blocks WHERE height = ?", (rounds,))
    assert main(["audit", str(run)]) == 1
    assert f"ends here, but the run had {rounds} rounds" in capsys.readouterr().err
