"""The figure of accuracy against bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec import accuracy
from bfedrec.artefacts import Runs
from bfedrec.config import load
from bfedrec.figure_style import write
from bfedrec.records import Recorded
from bfedrec.table3 import SIZES


@pytest.fixture(autouse=True)
def one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "METHODS", accuracy.METHODS[:1])


def sizes(*hrs: float) -> list[Runs]:
    """Two seeds at every size, by hand: twice the bytes for twice the size."""
    found = []
    for size, hr in zip(SIZES, hrs, strict=True):
        ends = [
            {
                "hr@10": hr + 0.01 * seed,
                "ndcg@10": hr / 2,
                "uplink_bytes": 1_000_000 * size,
                "downlink_bytes_broadcast": 1_000_000 * size,
                "downlink_bytes_catch_up": 9_000_000 * size,
            }
            for seed in (0, 1)
        ]
        config = load(None, [f"model.rank={size}"])
        runs = {seed: Recorded(Path("by-hand"), config, end) for seed, end in enumerate(ends)}
        found.append(Runs((f"model.rank={size}",), runs))
    return found


def test_it_draws_what_its_csv_holds(tmp_path: Path) -> None:
    data = accuracy.rows(sizes(0.4, 0.5, 0.6, 0.65, 0.66))
    assert [row["size"] for row in data] == list(SIZES)
    assert [row["mb_broadcast"] for row in data] == [2.0 * size for size in SIZES]
    assert [row["mb_catch_up"] for row in data] == [10.0 * size for size in SIZES]
    assert data[2]["hr"] == pytest.approx(0.605)
    assert data[2]["hr_low"] < 0.6 < data[2]["hr_high"]
    figure = accuracy.draw(data)
    for axes, name in zip(figure.axes, ("hr", "ndcg"), strict=True):
        for line in (one for one in axes.lines if len(one.get_xdata()) == len(SIZES)):  # type: ignore[arg-type]
            account = "broadcast" if line.get_linestyle() == "-" else "catch_up"
            assert list(line.get_xdata()) == [row[f"mb_{account}"] for row in data]  # type: ignore[arg-type]
            assert list(line.get_ydata()) == [row[name] for row in data]  # type: ignore[arg-type]
        assert axes.get_xscale() == "log"
    assert len(write(figure, data, tmp_path, "accuracy")) == 3


def test_a_size_whose_runs_all_stopped_is_left_out() -> None:
    settings = sizes(0.4, 0.5, 0.6, 0.65, 0.66)
    settings[1] = Runs(
        settings[1].overrides,
        {0: Recorded(Path("by-hand"), settings[1].config, {"stopped": "stalled"})},
    )
    assert [row["size"] for row in accuracy.rows(settings)] == [1, 4, 8, 16]
