"""Paths of visitors: nothing outside the folder is ever named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bfedrec.explorer.places import LONGEST, Places
from bfedrec.runs.folder import RunError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("mine")
    folder = tmp_path / "runs"
    (folder / "sweep" / "a run").mkdir(parents=True)
    (folder / "sweep" / "a run" / "config.yaml").write_text("")
    (folder / "link").symlink_to(tmp_path)
    (folder / "sweep" / "link").symlink_to(folder / "sweep" / "a run")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_path_names_a_folder_or_file_below_the_root(root: Path) -> None:
    places = Places(root)
    for path in ("sweep", "sweep/a run", "sweep/a run/config.yaml"):
        assert places.find(path) == root / path
        assert places.name(places.find(path)) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../secret",
        "sweep/../../secret",
        "sweep/./a run",
        "/etc/passwd",
        "sweep//a run",
        "sweep/",
        "link/secret",
        "sweep/link",
        "sweep/link/config.yaml",
        "pipe",
        "absent",
        "sweep/a run/config.yaml/x",
        "a\0b",
        "\udcff",
        "x/" * LONGEST + "x",
    ],
)
def test_no_other_path_leads_anywhere(root: Path, path: str) -> None:
    with pytest.raises(RunError) as refused:
        Places(root).find(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_folder_that_is_a_run_itself_has_its_name_alone(root: Path) -> None:
    places = Places(root / "sweep" / "a run", single=True)
    assert places.find("a run") == root / "sweep" / "a run"
    assert places.name(places.find("a run")) == "a run"
    assert places.find("a run/config.yaml").is_file()
    for path in ("sweep", "config.yaml", "a run/../a run", "b"):
        with pytest.raises(RunError):
            places.find(path)
