"""The report on data from Python, beside that of `bfedrec data check`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bfedrec as bf
from bfedrec.cli.main import main
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data import prepare
from bfedrec.data.interactions import DataError
from tests.bfedrec.api.test_frames import NAMES, frame


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "default_cache", lambda: tmp_path)
    monkeypatch.setattr("bfedrec.api.frames.default_cache", lambda: tmp_path)


def test_a_file_is_checked_as_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = frame().assign(when=range(360))
    path = tmp_path / "visits.csv"
    rows.to_csv(path, index=False)
    found = bf.check(path, file={"user": "who", "item": "what", "time": "when"})
    assert found.format == "table"
    assert found.rows["rows"] == "360"
    assert found.split["users"] == found.data.users == 30
    words = ["data.file.user=who", "data.file.item=what", "data.file.time=when"]
    assert main(["data", "check", str(path), *words]) == 0
    told = capsys.readouterr().out
    for name, value in found.rows.items():
        assert f"{name}: {value}" in told
    assert [f"WARNING: {line}" in told for line in found.warnings] == [True] * len(found.warnings)
    for name in ("training interactions", "distinct pairs"):
        assert f"{name}: {found.split[name]:,}" in told


def test_a_frame_is_checked_under_both_splits() -> None:
    rows = frame()
    mixed = rows.assign(when=np.random.default_rng(0).permutation(len(rows)))
    section = bf.dataset(mixed, **NAMES)
    usual = bf.check(section)
    assert usual.split["training interactions"] == 360 - 2 * 30
    later = bf.check(section, split="temporal")
    assert "later interactions neither trained on nor tested" in later.split
    assert any("rows per user" in line for line in repr(later).splitlines())


def test_a_named_data_set_has_no_rows_of_a_file() -> None:
    found = bf.check("synthetic", synthetic={"users": 40, "items": 220})
    assert (found.rows, found.warnings, found.format) == ({}, (), "")
    assert found.split["users"] == 40
    assert repr(found.data) == f"<data set synthetic: 40 users, {found.data.items} items, " + (
        f"{len(found.data.indices)} training rows>"
    )


def test_the_report_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rng = np.random.default_rng(0)
    lines = [f"<b>{user},{item}" for user in range(20) for item in rng.choice(300, 9, False)]
    path.write_text("\n".join(["user,item", *lines, *(f"<b>,{item}" for item in range(99))]) + "\n")
    found = bf.check(path)
    assert any("user '<b>' has 35 % of all rows" in line for line in found.warnings)
    assert "<b>" not in found._repr_html_()


def test_wrong_data_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nothing': no such file, and no data set"):
        bf.check("nothing")
    with pytest.raises(ConfigError, match="splti"):
        bf.check("synthetic", splti="temporal")
    bad = tmp_path / "bad.csv"
    bad.write_text("user,item,rating\n1,2,x\n")
    with pytest.raises(DataError, match="line 2, column 'rating'"):
        bf.check(bad)
