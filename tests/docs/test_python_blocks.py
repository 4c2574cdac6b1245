"""Every block of Python of every page runs, in the order of its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.data import prepare
from bfedrec.data.files import SourceFile
from bfedrec.data.layout import FORMATS, format_of
from bfedrec.data.sets.file import FormatFile
from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.model import encode, initial_shared
from bfedrec.streams import Streams
from docs.generator.blocks import blocks
from docs.generator.sources import ROOT, pages
from tests.helpers.commands import fork_runs

FILES = "docs/extending.md"
"""Its blocks are whole files, which `tests/test_extending.py` installs and uses."""


def sources(name: str) -> list[str]:
    """The blocks of Python of a page that are to be run."""
    found = blocks((ROOT / name).read_text(encoding="utf-8"))
    return [block.text for block in found if block.language == "python" and not block.not_run]


PAGES = [name for name in pages() if name.endswith(".md") and name != FILES and sources(name)]
Names = dict[str, Any]


def merchants(folder: Path) -> Names:
    """What docs/merchants.md has made or received by then: a shop's events, others' models."""
    assert main(["merchants", "events", "generate", "--out", "shops", "--events", "2000"]) == 0
    catalogue = Catalogue(np.arange(5))
    parent = initial_shared(5, Streams(1))
    fetched = [(name, encode(parent, catalogue), 10) for name in ("one", "other")]
    return {"catalogue": catalogue, "parent": parent, "fetched": fetched}


def of_python(names: Names, folder: Path) -> None:
    """What docs/python.md tells of the results."""
    assert len(names["frame"]) == 4
    assert not names["stopped"].finished
    assert names["ended"].summary["rounds"] <= 40


def of_data(names: Names, folder: Path) -> None:
    """What docs/data.md tells of the results."""
    path = folder / "till-1.txt"
    path.write_text("7;umbrella;1700000000\n")
    assert format_of(SourceFile(path)) is names["Till"]
    assert FormatFile(path=path).rows(SourceFile(path)).item_ids.tolist() == ["umbrella"]
    assert names["run"].data.users == 60


def of_merchants(names: Names, folder: Path) -> None:
    """What docs/merchants.md tells of the results."""
    assert names["reader"].reading.bad_rows == 0
    assert len(names["payload"]) == len(names["fetched"][0][1])


BEFORE: dict[str, Callable[[Path], Names]] = {"docs/merchants.md": merchants}
"""What a page presumes, made in a folder: the names that its blocks use."""
AFTER = {"docs/python.md": of_python, "docs/data.md": of_data, "docs/merchants.md": of_merchants}
"""What is to hold of the names of a page's blocks."""


def test_the_pages_are_all_there() -> None:
    assert {*AFTER, "README.md", "docs/index.md"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    fork_runs(monkeypatch)
    monkeypatch.setattr(prepare, "default_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("bfedrec.api.frames.default_cache", lambda: tmp_path / "cache")
    names = {"__name__": "page", **BEFORE.get(name, lambda folder: {})(tmp_path)}
    with FORMATS.restored():
        for text in sources(name):
            exec(compile(text, name, "exec"), names)
        AFTER.get(name, lambda names, folder: None)(names, tmp_path)
