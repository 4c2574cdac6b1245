"""The figure of the cost of a round: its data, its exponents, and its experiments in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.report.artefact import Runs
from bfedrec.report.figures import scale
from bfedrec.report.figures.scale import AXES, EXPERIMENTS, draw, exponent, finding, rows
from bfedrec.sweeps.recorded import Recorded
from tests.helpers.commands import fork_runs

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"clients": "data.generated.clients", "items": "data.generated.items"}


def runs(axis: str, number: int, *figures: float) -> Runs:
    """Runs of one setting, one a seed; ``figures``: processor seconds, of which the wall clock has
    twice as many, and memory a tenth."""
    config = load(
        None,
        [
            "data.generated.interactions=30000",
            f"{KEYS.get(axis, 'servers.count')}={number}",
            "committee.size=4",
        ],
    )
    by_seed = {}
    for seed, seconds in enumerate(figures):
        summary: dict[str, Any] = {
            "round_seconds": 2 * seconds,
            "round_processor_seconds": seconds,
            "round_memory_mib": seconds / 10,
        }
        by_seed[seed] = Recorded(Path("x"), config, summary)
    return Runs((), by_seed, config)


def data(power: float = 1.0) -> list[dict[str, Any]]:
    return rows(
        [runs("clients", 10_000, 4.0), runs("clients", 2_000, 1.0, 9.0, 4.0)],
        [runs("items", number, number * 3.0) for number in (1_000, 2_000, 4_000)],
        [runs("servers", number, number**power) for number in (4, 8, 100)],
    )


def test_rows_are_medians_in_order_with_the_exponents_of_their_axis() -> None:
    found = data()
    assert [(row["axis"], row["number"]) for row in found] == [
        ("clients", 2_000), ("clients", 10_000),
        ("items", 1_000), ("items", 2_000), ("items", 4_000),
        ("servers", 4), ("servers", 8), ("servers", 100),
    ]  # fmt: skip
    first = found[0]
    assert (first["seeds"], first["processor_seconds"], first["seconds"]) == (3, 4.0, 8.0)
    assert first["memory_mib"] == 0.4
    for row in found:
        expected = 0.0 if row["axis"] == "clients" else 1.0
        for name in ("seconds", "processor_seconds", "memory_mib"):
            assert row[f"{name}_exponent"] == pytest.approx(expected, abs=1e-12)


def test_the_exponent_is_that_of_the_nearest_power_law() -> None:
    assert exponent([(x, 7 * x**1.3) for x in (1.0, 5.0, 90.0)]) == pytest.approx(1.3)
    assert exponent([(1.0, 1.0), (10.0, 100.0), (100.0, 100.0)]) == pytest.approx(1.0)
    assert exponent([(5.0, 1.0), (5.0, 2.0)]) is None
    assert exponent([]) is None


def test_runs_that_were_not_measured_are_left_out() -> None:
    old = runs("clients", 1_000, 1.0)
    old.by_seed[0].summary.pop("round_seconds")  # type: ignore[attr-defined]
    assert rows([old], [], []) == []


def test_the_title_tells_what_grows_too_fast() -> None:
    assert finding(data()) == "a round grows by no more than the power 1.1 of clients and servers"
    assert finding(data(1.5)) == "a round grows faster than by the power 1.1 of servers (1.50)"
    assert "no more" in finding([row for row in data(1.5) if row["axis"] != "servers"])


def test_a_column_is_drawn_for_each_axis_also_where_runs_are_missing() -> None:
    figure = draw([row for row in data() if row["axis"] != "items"])
    axes = figure.axes
    assert len(axes) == 6
    assert [axis.get_title(loc="left") for axis in axes] == [
        "exponent 0.00", "", "exponent 1.00", "exponent 0.00", "", "exponent 1.00",
    ]  # fmt: skip
    assert [axis.get_xlabel() for axis in axes[3:]] == [name for name, _ in AXES]


def test_a_config_begins_with_the_command_that_records_it() -> None:
    for experiment, (axis, of) in zip(EXPERIMENTS, AXES, strict=True):
        text = (ROOT / experiment.config).read_text().replace("\\\n", " ").replace("#", " ")
        words = experiment.command(Path("results/reference"))
        assert words in " ".join(text.split()), axis
        assert of(load(ROOT / experiment.config)) > 0


def test_a_small_sweep_makes_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each experiment in small: recorded by its own command, and drawn from the record."""
    fork_runs(monkeypatch)
    small = ["rounds=2", "clients.per_round=4", "evaluation.every=2"]
    grids = (
        [*small, "data.generated.clients=500,1000", "data.generated.interactions=9000"],
        [*small, "data.generated.items=1000,2000", "data.generated.interactions=100000"],
        [*small, "servers.count=20,30"],
    )
    experiments = []
    for experiment, grid in zip(EXPERIMENTS, grids, strict=True):
        config = ROOT / experiment.config
        experiments.append(scale.Experiment(config, tuple(grid), "0", compact=True))
        words = ["sweep", str(config), *grid, "--seeds", "0", "--record", str(tmp_path / "rec")]
        assert main([*words, "--compact", "--out", str(tmp_path / experiment.config.stem)]) == 0
    monkeypatch.setattr(scale, "EXPERIMENTS", tuple(experiments))
    capsys.readouterr()
    records = ["--from", str(tmp_path / "rec"), "--out", str(tmp_path / "out")]
    assert main(["figure", "scale", *records]) == 0
    table = (tmp_path / "out" / "scale.csv").read_text().splitlines()
    assert len(table) == 7
    assert table[0].startswith("axis,number,seeds,seconds")
    assert (tmp_path / "out" / "scale.png").exists()
