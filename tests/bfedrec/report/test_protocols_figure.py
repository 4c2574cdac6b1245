"""The figure of all protocols: its sweeps, its rows, and that it draws them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.config.load import load
from bfedrec.report.artefact import Runs
from bfedrec.report.figures import protocols as figure
from bfedrec.runs.figures import Figures
from bfedrec.sweeps.recorded import Recorded
from consensus.protocols.registry import PROTOCOLS
from consensus.protocols.tendermint.protocol import Tendermint
from tests.conftest import ROOT

END: Figures = {
    "blocks": 10,
    "attempts": 12,
    "steps": 11,
    "simulated_seconds": 20.0,
    "gossip_messages": 500,
    "gossip_bytes": 2**21,
    "malicious_stake_share": 0.1,
}


def runs_of(experiment: int, protocol: str, end: Figures = END, hr: bool = False) -> Runs:
    config = load(figure.experiments()[experiment].config, [f"protocol={protocol}"])
    ends = number_of(end)
    lines: tuple[Figures, ...] = (
        {"height": 0, "hr@10": 0.1},
        {"height": 5, "hr@10": 0.2, "simulated_seconds": ends / 2},
        {"height": 10, "hr@10": 0.3, "simulated_seconds": ends},
    )
    run = Recorded(Path("nowhere"), config, end, lines if hr else ())
    return Runs((), {0: run}, config)


def number_of(end: Figures) -> float:
    return float(end["simulated_seconds"])


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_registered_protocol_is_in_every_sweep() -> None:
    with PROTOCOLS.restored():
        PROTOCOLS.register("another")(Tendermint())
        for experiment in figure.experiments():
            (grid,) = (each for each in experiment.grid if each.startswith("protocol="))
            assert set(grid.partition("=")[2].split(",")) == set(PROTOCOLS)
            assert experiment.config.exists()


def test_rows_are_per_block() -> None:
    faulty = runs_of(1, "bft")
    faulty = replace(
        faulty, planned=load(faulty_config(), ["faults=[{loss: 0.2, from: 10, until: 40}]"])
    )
    found = figure.rows([runs_of(0, "bft")], [faulty], [])
    assert [row["axis"] for row in found] == ["servers", "fault"]
    assert found[0]["seconds"] == 2.0
    assert found[0]["messages"] == 50.0
    assert found[0]["mib"] == 0.2
    assert found[0]["view_changes"] == pytest.approx(0.3), "2 failed attempts, 1 turn that passed"
    assert found[1]["setting"] == "loss of 20 %"


def faulty_config() -> Path:
    return figure.experiments()[1].config


def test_hr_is_read_at_the_time_at_which_the_first_protocol_ended() -> None:
    slow = {**END, "simulated_seconds": 40.0}
    settings = [runs_of(2, "bft", hr=True), runs_of(2, "tendermint", slow, hr=True)]
    first, second = figure.rows([], [], settings)
    assert first["equal_seconds"] == second["equal_seconds"] == 20.0
    assert (first["hr"], second["hr"]) == (0.3, 0.2)


def test_a_run_without_a_block_has_no_means() -> None:
    (row,) = figure.rows([runs_of(0, "paper", {**END, "blocks": 0})], [], [])
    assert row["seconds"] is None


def test_it_is_drawn_from_its_rows() -> None:
    settings = [runs_of(2, name, hr=True) for name in ("bft", "paper", "tendermint")]
    data = figure.rows([runs_of(0, name) for name in ("bft", "tendermint")], [], settings)
    drawn = figure.draw(data)
    labels = [axes.get_ylabel() for axes in drawn.axes]
    assert "view changes per block" in labels
    (legend,) = drawn.legends
    assert "Tendermint (tendermint)" in [text.get_text() for text in legend.get_texts()]


def test_no_name_of_a_fault_stands_in_a_panel() -> None:
    """Names are told once, below their column, and panels keep their height."""
    faults = [runs_of(1, name) for name in ("bft", "tendermint")]
    data = [
        {
            **row,
            "setting": f"a fault of {kind} with a name that is far too long for a panel, "
            "and then some",
        }
        for row in figure.rows([], faults, [])
        for kind in range(12)
    ]
    drawn = figure.draw(data)
    drawn.draw_without_rendering()
    column = [axes for axes in drawn.axes if len(axes.get_xticks()) == 12 and axes.get_visible()]
    named = [axes for axes in column if axes.xaxis.get_tick_params()["labelbottom"]]
    assert len(column) == len(figure.MEASURES)
    assert named == column[-1:]
    heights = {round(axes.get_position().height, 3) for axes in column}
    assert min(heights) > 0.12
