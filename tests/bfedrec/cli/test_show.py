"""`bfedrec show RUN [HEIGHT]`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.cli.show import MOST_ROWS
from bfedrec.runs.folder import read_figures
from tests.helpers.shown import play, summary, write_run
from tests.helpers.tiny import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = f"{TINY.replace('per_round: 4', 'per_round: 15')}rounds: 3\n"
    return play(tmp_path_factory.mktemp("runs") / "run", text=text)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["show", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_run_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = shown(capsys, str(run))
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == f"{run}: done, 3 of 3 rounds"
    told = [line.split() for line in lines]
    assert ["rounds", "3"] in told
    assert ["model.dimension", "4"] in told
    assert not any(line[:1] == ["seed"] for line in told)  # a default
    summary = read_figures(run / "summary.json")
    assert ["hr@10", str(summary["hr@10"])] in told
    assert ["head", str(summary["head"])] in told
    assert ["blocks", "3"] in told
    assert "all updates" not in out
    assert "the updates of the last 10 heights; heights 1 to 3" in out


def test_a_block_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = shown(capsys, str(run), "3")
    assert status == 0
    assert out.startswith("block 3 of 3\n")
    summary = read_figures(run / "summary.json")
    assert str(summary["head"]) in out
    assert "draws: 4, in block 2" in out
    assert out.count("\n  client ") == MOST_ROWS
    assert "and                          3 more (--all)" in out
    assert "DOES NOT HOLD" not in out
    assert "attempt 0, seen" in out
    assert shown(capsys, str(run), "3", "--all")[1].count("\n  client ") == 15


def test_a_chain_alone_is_shown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(run / "chain.sqlite", alone)
    status, out, _ = shown(capsys, str(alone))
    assert (status, "imported" in out, "config" in out) == (0, True, False)
    for place in (alone, alone / "chain.sqlite"):
        assert shown(capsys, str(place), "1")[0] == 0
    assert shown(capsys, str(alone / "chain.sqlite"))[1].startswith("chain: ")


def test_a_block_that_does_not_hold_fails(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chain.sqlite"
    shutil.copy(run / "chain.sqlite", path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE content SET data = x'00'")
    connection.close()
    status, out, _ = shown(capsys, str(path), "2")
    assert status == 1
    assert "DOES NOT HOLD" in out


@pytest.mark.parametrize(
    ("place", "height", "told"),
    [
        ("none", None, "no such run"),
        ("run", "0", "the chain has 1 to 3"),
        ("run", "4", "the chain has 1 to 3"),
        ("empty", "1", "has no chain"),
        ("empty", None, "none of a run's files"),
        ("text", None, "not the chain of a run"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    place: str,
    height: str | None,
    told: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no chain" * 100)
    where = run if place == "run" else tmp_path / place
    status, out, err = shown(capsys, str(where), *([height] if height else []))
    assert status == 2
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_a_run_in_progress_is_shown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The writer holds its file and its folder while they are read."""
    held = Path(shutil.copytree(run, tmp_path / "held"))
    (held / "summary.json").unlink()
    code = (
        "import fcntl, sys\n"
        "from consensus.storage.sqlite import SqliteStore\n"
        "lock = open(sys.argv[1] + '/lock', 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "store = SqliteStore(sys.argv[1] + '/chain.sqlite')\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(held)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        status, out, _ = shown(capsys, str(held))
        block = shown(capsys, str(held), "2")
        assert main(["audit", str(held)]) == 2
        writer.communicate("")
    assert status == block[0] == 0
    assert out.startswith(f"{held}: running, ")
    assert "block 2 of 3" in block[1]


def test_what_is_no_run_of_rounds_is_told_in_its_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = write_run(tmp_path / "baseline", end={"epochs": 4})
    (baseline / "config.yaml").write_text("method: gmf\ncentralised: {epochs: 4}\n")
    write_run(tmp_path / "run", "servers.malicious=[{behaviour: [silent], share: 1/5}]")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    _, out, _ = shown(capsys, str(tmp_path / "baseline"))
    assert out.startswith(f"{tmp_path}/baseline: done, 4 of 4 epochs\n")
    _, out, _ = shown(capsys, str(tmp_path / "run"))
    assert '[{"behaviour": ["silent"], "share": "1/5"}]' in out  # as a command line takes it
    status, _, err = shown(capsys, str(tmp_path / "sweep"))
    assert status == 2
    assert err.startswith(f"bfedrec: {tmp_path}/sweep: no run")


def test_an_imported_chain_has_no_rounds(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run / "chain.sqlite", tmp_path / "chain.sqlite")
    _, out, _ = shown(capsys, str(tmp_path))
    assert out.startswith(f"{tmp_path}: imported\n")


def test_a_terminal_without_unicode_shows_marks(tmp_path: Path) -> None:
    write_run(tmp_path / "bär", end=summary(**{"er@10": "中文"}))
    words = [sys.executable, "-m", "bfedrec", "show", str(tmp_path / "bär")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{tmp_path}/b?r: done".encode())
    assert b"??" in found.stdout
