"""The example config of a user's own file, on a small file with all its quirks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.data import prepare

CONFIG = Path(__file__).resolve().parents[3] / "experiments" / "my-data.yaml"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the example's form in the folder that the command runs in, with a repeated pair and
    a user who touched everything."""
    generator = np.random.default_rng(0)
    rows = [
        f"user-{u},item-{i},{generator.integers(1, 6)},{1_718_000_000 + generator.integers(10**6)}"
        for u in range(40)
        for i in generator.choice(50, 20, replace=False)
    ]
    rows += [f"everything,item-{i},5,1718000000" for i in range(50)]
    path = tmp_path / "my-data.csv"
    path.write_text("\n".join(["user,item,rating,time", *rows, rows[0]]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "default_cache", lambda: tmp_path / "cache")
    return path


def test_the_example_config_runs_on_a_small_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(CONFIG), "rounds=4", "evaluation.every=2", "clients.per_round=10"]
    assert main(["run", *words, "--out", "run"]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["rounds"] == 4
    assert 0 < summary["hr@10"] < 1
    assert main(["audit", "run"]) == 0
    # The prepared data can be looked at under the config's own options.
    section = load(CONFIG, []).data.csv.model_dump(mode="json", exclude_defaults=True)
    capsys.readouterr()
    options = [f"data.csv.{key}={value}" for key, value in section.items() if key != "path"]
    assert main(["data", "check", "csv", "--from", file.name, *options]) == 0
    printed = capsys.readouterr().out
    assert "users left out who touched every item: 1" in printed
    assert "rated below the threshold" in printed
    assert "users dropped for too few interactions: 1" in printed
    assert "(100.0 %) of 39 users" in printed
