"""docs/data.md: its blocks run, and it tells of every format and option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from bfedrec.data import prepare
from bfedrec.data.files import SourceFile
from bfedrec.data.layout import FORMATS, format_of
from bfedrec.data.sets.file import FormatFile
from bfedrec.data.temporal import TemporalSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "default_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("bfedrec.api.frames.default_cache", lambda: tmp_path / "cache")
    names: dict[str, Any] = {"__name__": "page"}
    with FORMATS.restored():
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
        path = tmp_path / "till-1.txt"
        path.write_text("7;umbrella;1700000000\n")
        assert format_of(SourceFile(path)) is names["Till"]
        rows = FormatFile(path=path).rows(SourceFile(path))
        assert rows.item_ids.tolist() == ["umbrella"]
    assert names["run"].data.users == 60


def test_the_page_tells_of_every_format_and_option() -> None:
    text = PAGE.read_text()
    for name in FORMATS:
        assert f"| `{name}` |" in text
    for option in FormatFile.model_fields:
        assert f"`data.file.{option}`" in text or f"`.{option}`" in text
    for option in TemporalSettings.model_fields:
        assert option in text
