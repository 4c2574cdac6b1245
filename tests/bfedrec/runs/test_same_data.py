"""A finished run is used again only while the user's own file gives the data it was made on."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import bfedrec as bf
from bfedrec.api import making
from bfedrec.cli.main import main
from bfedrec.data.interactions import DataError
from bfedrec.runs.folder import RunError
from tests.bfedrec.api.test_playing import OPTIONS

ROWS = [(user, (user + 3 * step) % 40, step) for user in range(30) for step in range(9)]
TOLD = "was made on data .*, and those at hand are"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bfedrec.data.prepare.default_cache", lambda: tmp_path / "cache")
    return write(tmp_path / "mine.csv")


def write(path: Path, turned: int = 0) -> Path:
    rows = [f"{user},{(item + turned * user) % 40},{time}" for user, item, time in ROWS]
    path.write_text("\n".join(["user,item,time", *rows, ""]))
    return path


def options(file: Path, **more: Any) -> dict[str, Any]:
    data = {"dataset": "file", "file": {"path": str(file), **more}}
    return {**OPTIONS, "rounds": 2, "data": data}


def test_a_changed_file_is_told(file: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "run", options(file)
    head = bf.run(words, out=out, progress=False).summary["head"]
    write(file, turned=1)
    with pytest.raises(RunError, match=TOLD):
        bf.run(words, out=out, progress=False)
    config = str(out / "config.yaml")
    assert main(["run", config, "--out", str(out), "--resume"]) == 2
    assert bf.run(words, out=tmp_path / "new", progress=False).summary["head"] != head
    write(file)
    assert bf.run(words, out=out, progress=False).summary["head"] == head


def test_a_file_that_is_gone_tells_nothing(file: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "run", options(file)
    head = bf.run(words, out=out, progress=False).summary["head"]
    file.unlink()
    assert bf.run(words, out=out, progress=False).summary["head"] == head
    file.write_text("")
    with pytest.raises(DataError):
        bf.run(words, out=out, progress=False)


def test_a_digest_in_the_config_is_enough(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, words = tmp_path / "run", options(file, sha256=sha256(file.read_bytes()).hexdigest())
    run = bf.run(words, out=out, progress=False)
    monkeypatch.setattr("bfedrec.data.prepare.prepare", None)
    assert making.make(run.config, out, None, resume=True).before  # type: ignore[arg-type]


def test_a_sweep_does_not_mix_two_contents(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, words = tmp_path / "runs", options(file)
    bf.sweep(words, {"model.rank": [1]}, seeds=[0], engine="here", out=out, progress=False)
    write(file, turned=1)
    with pytest.raises(RunError, match=TOLD):
        bf.sweep(words, {"model.rank": [1, 2]}, seeds=[0], engine="here", out=out, progress=False)
    config = next((out / "configs").glob("*.yaml"))
    capsys.readouterr()
    sweep = ["sweep", str(config), "model.rank=1,2", "--seeds", "0", "--out", str(out)]
    assert main(sweep) == 2
    assert "and those at hand are" in capsys.readouterr().err
    assert len(list(out.glob("*/summary.json"))) == 1
