"""The figure of accuracy against bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.config.load import load
from bfedrec.report import published
from bfedrec.report.artefact import Runs
from bfedrec.report.figures import accuracy
from bfedrec.report.style import write
from bfedrec.report.tables.table3 import SIZES
from bfedrec.sweeps.recorded import Recorded


@pytest.fixture(autouse=True)
def one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "METHODS", accuracy.METHODS[:1])


def sizes(*hrs: float, data: str = "synthetic") -> list[Runs]:
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
        config = load(None, [f"model.rank={size}", f"data.dataset={data}", "clients.per_round=6"])
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


def test_what_others_have_published_stands_at_its_bytes() -> None:
    data = accuracy.rows(sizes(0.4, 0.5, 0.6, 0.65, 0.66, data="ml-1m"))
    assert [row["source"] for row in data[:5]] == [accuracy.RECORDED] * 5
    others = {(r["method"], r["size"]): r for r in data if r["source"] == accuracy.OTHERS}
    assert len(others) == 4 * 6
    colr = others["colr", 4]
    assert (colr["hr"], colr["ndcg"], colr["seeds"]) == (0.607, 0.345, None)
    # Four rows of 3,706 numbers, in 1,000 rounds down to six clients and up from them.
    assert colr["mb_broadcast"] == pytest.approx(4 * 4 * 3706 * 2 * 6 * 1000 / 1e6)
    centralised = {r["method"]: r for r in data if r["source"] == accuracy.ALL_DATA}
    assert centralised["gmf"]["hr"] == 0.708
    assert centralised["gmf"]["mb_broadcast"] is None

    figure = accuracy.draw(data)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [6] * 4 + [0]  # type: ignore[arg-type]
    across = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert sorted(line.get_ydata()[0] for line in across) == [0.2542, 0.39, 0.429, 0.4294]  # type: ignore[index]
    texts = {text.get_text() for text in figure.axes[1].texts}
    assert {"CoLR", "item-kNN", "popularity", "PureSVD, GMF"} <= texts  # two in one place
    assert accuracy.LIKE.keys() == published.by_size("ml-1m").keys()


def test_without_recorded_runs_there_is_nothing_to_draw() -> None:
    settings = [Runs(one.overrides, {}, one.config) for one in sizes(0, 0, 0, 0, 0, data="ml-1m")]
    assert accuracy.rows(settings) == []
