"""The command that gives recorded runs the new names of their configs."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from bfedrec.sweeps.engines.processes import Processes
from bfedrec.sweeps.recorded import place_of, read, record
from bfedrec.sweeps.sweep import Sweep, plan, run
from tests.conftest import ROOT
from tests.helpers.commands import fork_runs


@pytest.fixture
def rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The command, of the records in a folder of its own; sweeps' runs are forks."""
    fork_runs(monkeypatch)
    spec = importlib.util.spec_from_file_location("rename", ROOT / "results" / "rename.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RECORDED", tmp_path / "reference")
    return module


def planned(folder: Path, name: str, seed: int, *grid: str) -> Sweep:
    """A sweep of the config NAME.yaml, which has that name and a split of that seed."""
    path = folder / f"{name}.yaml"
    text = f"name: {name}\nmethod: popularity\ndata: {{dataset: synthetic, seed: {seed}}}\n"
    path.write_text(text, encoding="utf-8")
    sweep = plan(path, grid, [0], None)
    assert run(sweep, Processes(1), lambda _: None) == 0
    return sweep


def test_names_are_swapped_and_nothing_else_moves(
    tmp_path: Path, rename: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "reference"
    record(planned(tmp_path, "a", 1), place)
    record(planned(tmp_path, "a", 1, "data.seed=1,5"), place)
    record(planned(tmp_path, "a-b", 2), place)
    before = {(one.config_hash, one.config.seed): one.summary for one in read(place)}
    manifests = sorted(path.read_bytes() for path in place.rglob("manifest.json"))
    shutil.rmtree(tmp_path / "results")

    assert rename.main(["a=a-b", "a-b=a"]) == 0
    assert {(one.config_hash, one.config.seed): one.summary for one in read(place)} == before
    assert sorted(path.read_bytes() for path in place.rglob("manifest.json")) == manifests
    (tmp_path / "a.yaml").rename(tmp_path / "other")
    (tmp_path / "a-b.yaml").rename(tmp_path / "a.yaml")
    (tmp_path / "other").rename(tmp_path / "a-b.yaml")
    sweeps = [
        plan(tmp_path / "a-b.yaml", [], [0], None),
        plan(tmp_path / "a-b.yaml", ["data.seed=1,5"], [0], None),
        plan(tmp_path / "a.yaml", [], [0], None),
    ]
    assert {path.name for path in place.iterdir()} == {sweep.name for sweep in sweeps}
    for sweep, stem in zip(sweeps, ("a-b", "a-b", "a"), strict=True):
        folder = place_of(sweep, place)
        names = {path.name for path in folder.iterdir() if path.is_dir()}
        assert all(re.fullmatch(rf"{stem}-[0-9a-f]{{8}}-s0", name) for name in names)
        for setting in json.loads((folder / "sweep.json").read_bytes())["settings"]:
            assert all(list(place.glob(f"*/{name}")) for name in setting["runs"].values())
        assert {one.config.name for one in read(folder)} == ({stem} if names else set())


def test_bad_usage_renames_nothing(rename: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["a"], ["a="], ["=b"], ["a=b=c"]):
        assert rename.main(words) == 2
        assert "OLD=NEW" in capsys.readouterr().err
