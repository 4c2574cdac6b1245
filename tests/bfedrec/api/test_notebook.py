"""Notebooks: the display of progress in a cell, and one from zero to a comparison of two rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from bfedrec.api.notebook import WIDTH, NotebookProgress, display_of
from bfedrec.runs.progress import Evaluated, Progress, RoundDone

COMPARISON = """\
import bfedrec as bf
import matplotlib.pyplot as plt
for rule in ["samples", "per_item"]:
    run = bf.run("quickstart", rounds=12, evaluation={"every": 3}, aggregation={"rule": rule})
    plt.plot(run.metrics["ndcg@10"], label=rule)
plt.legend()
plt.show()
"""


class Handle:
    """What IPython's `display` returns: it shows pictures in place of each other."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, picture: Any, display_id: bool) -> Handle:
        assert display_id
        self.update(picture)
        return self

    def update(self, picture: Any) -> None:
        """Note what is shown."""
        self.shown.append(picture._repr_html_())


def test_a_cell_has_one_picture_that_is_replaced() -> None:
    handle, log, now = Handle(), list[str](), [0.0]
    with NotebookProgress(handle, 10, log.append, "height", clock=lambda: now[0]) as progress:
        for height in range(1, 6):
            now[0] += 0.2
            progress.update(RoundDone(height, 4, 1, float(height), 100))
        progress.update(Evaluated(5, "validation", {"HR@10": 0.5}))
    assert len(handle.shown) == 1 + 1 + 1  # at first, after 0.6 s, and at the end
    assert handle.shown[0].count("░") == WIDTH
    assert handle.shown[-1].count("█") == WIDTH // 2
    assert "HR@10 0.5000" in handle.shown[-1]
    assert any("HR@10 0.5000" in line for line in log)


def test_elsewhere_the_display_is_the_terminals() -> None:
    assert type(display_of(3, print, "round", shown=True)) is Progress


def test_a_notebook_from_zero_to_a_comparison_of_two_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(COMPARISON.splitlines()) <= 12
    root = Path(__file__).resolve().parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [nbformat.v4.new_code_cell(text) for text in (COMPARISON, "run", "run.plot()")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    plotted, table, curves = (cell.outputs for cell in cells)
    kinds = [set(output.get("data", {})) for output in plotted]
    assert sum("image/png" in kind for kind in kinds) == 1
    bars = [output.data["text/html"] for output in plotted if "text/html" in output.get("data", {})]
    assert len(bars) == 2
    assert all("height 12/12" in bar and "░" not in bar for bar in bars)
    assert not any(output.output_type == "stream" for output in plotted)
    assert "ndcg@10" in table[0].data["text/html"]
    assert "image/png" in curves[0].data
