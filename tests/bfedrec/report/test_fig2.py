"""The figure of communication minutes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from bfedrec.cli.main import main
from bfedrec.report import published
from bfedrec.report.artefact import Runs, find
from bfedrec.report.figures import fig2
from bfedrec.report.style import write
from bfedrec.report.tables import table3
from bfedrec.sweeps.recorded import Recorded
from tests.conftest import ROOT

END = {
    "uplink_bytes": 60_000_000,
    "downlink_bytes_broadcast": 60_000_000,
    "downlink_bytes_catch_up": 600_000_000,
    "simulated_seconds": 1200.0,
}


@pytest.fixture
def nothing_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Runs]]:
    monkeypatch.chdir(ROOT)
    return find(table3.experiments(), tmp_path / "nothing").settings


def test_it_draws_what_its_csv_holds(nothing_recorded: list[list[Runs]], tmp_path: Path) -> None:
    settings = nothing_recorded
    for runs, seconds in zip(settings[-2:], (3000.0, 1200.0), strict=True):
        end = END | {"simulated_seconds": seconds}
        ours = runs[2]
        runs[2] = Runs(ours.overrides, {0: Recorded(Path("by-hand"), ours.config, end)})
    data = fig2.rows(*settings)
    assert [(row["method"], row["size"]) for row in data][::5] == [
        (method.label, 1) for method in table3.METHODS
    ]
    for row in data:
        key = next(method.key for method in table3.METHODS if method.label == row["method"])
        assert row["paper"] == float(published.minutes(key)[row["size"]].value)
        assert row["payload"] < row["message"]
    (measured,) = (row for row in data if row["clock"] is not None)
    assert (measured["method"], measured["size"], measured["clock"]) == ("BFedRec", 4, 20.0)
    assert measured["recorded"] < measured["catch_up"]

    figure = fig2.draw(data)
    left, right = figure.axes
    drawn = [line for line in left.lines if len(line.get_xdata()) == len(table3.SIZES)]  # type: ignore[arg-type]
    for place, method in enumerate(fig2.LOOKS):
        of_it = [row for row in data if row["method"] == method]
        for line, key in zip(drawn[3 * place :], fig2.DRAWN, strict=False):
            assert list(line.get_ydata()) == [row[key] for row in of_it]  # type: ignore[arg-type]
    assert [list(line.get_ydata()) for line in right.lines if len(line.get_xdata()) == 1] == [  # type: ignore[arg-type]
        [measured["catch_up"]],
        [20.0],
    ]
    short = [row | {"message": row["message"] / 50} for row in data]  # of runs of fewer rounds
    for axes in fig2.draw(short).axes:
        assert axes.get_ylim()[0] < 1.3 / 50
    paths = write(figure, data, tmp_path, "fig2")
    with paths[2].open() as file:
        assert [row["clock"] for row in csv.DictReader(file)].count("") == 19


def test_its_title_says_who_is_cheapest_and_which_rows_differ(
    nothing_recorded: list[list[Runs]],
) -> None:
    data: list[dict[str, Any]] = fig2.rows(*nothing_recorded)
    assert fig2.finding(data).splitlines() == [
        "Cheapest as published: BFedRec; by encoded message: BFedRec, sparsification and SVD",
        "Published rows that do not follow from what is sent: sparsification and SVD",
    ]
    as_told = [row | {"message": row["paper"]} for row in data]
    assert fig2.finding(as_told).endswith("by encoded message: BFedRec\nPublished rows that do not "
                                          "follow from what is sent: none")  # fmt: skip
    texts = {text.get_text() for text in fig2.draw(data).axes[0].texts}
    # 1.28 minutes where 1.56 are published; nothing beside what follows.
    assert "\N{MINUS SIGN}18 %" in texts
    assert len(texts) == len(fig2.LOOKS) + len({"18", "19", "16", "40", "36", "24", "25", "30"})
    assert fig2.draw(data).axes[1].texts[0].get_text() == "no runs recorded"


def test_it_is_drawn_while_runs_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["figure", "fig2", "--from", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert "fig2: 25 of 25 runs are not recorded" in told.err
    assert (tmp_path / "out" / "fig2.png").exists()
    assert main(["figure", "accuracy", "--from", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert not (tmp_path / "accuracy.png").exists()  # nothing of it is recorded
    assert main(["figure", "fig2", "data.dataset=synthetic"]) == 2
    assert "expected a data set whose items are known" in capsys.readouterr().err
