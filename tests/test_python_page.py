"""Every block of docs/python.md runs, in the order of the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(names["frame"]) == 4
    assert not names["stopped"].finished
    assert names["ended"].summary["rounds"] <= 40
