"""The figure of seats and stake over heights: its sweep, its rows, and that it draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.report.artefact import Runs
from bfedrec.report.figures import seats as figure
from bfedrec.runs.figures import Figures
from bfedrec.sweeps.recorded import Recorded
from consensus.adversary.behaviour import BEHAVIOURS
from consensus.adversary.groups import assign
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def line(height: int, bad: int, seats: int, stake: int, evidence: int = 0) -> Figures:
    return {
        "height": height,
        "seats_malicious": bad,
        "seats": seats,
        "stake_malicious": stake,
        "stake_servers": 100,
        "stake_slashed": evidence,
    }


def runs_of(name: str, *seeds: tuple[Figures, ...]) -> Runs:
    config = load(figure.CONFIG, [f"servers.malicious={name}:1/3"])
    by_seed = {
        seed: Recorded(Path("nowhere"), config, {}, lines) for seed, lines in enumerate(seeds)
    }
    return Runs((), by_seed, config)


def test_every_behaviour_of_the_sweep_is_known_and_a_third_follows_it() -> None:
    experiment, faster = figure.experiments()
    (grid,) = experiment.grid
    assert load(faster.config, list(faster.grid)).ledger.incentives.leak == 0.02
    names = grid.partition("=")[2].split(",")
    assert len(names) == len(figure.BEHAVIOURS)
    for each in names:
        config = load(experiment.config, [f"servers.malicious={each}"])
        assert config.ledger.incentives.on
        groups = config.servers.malicious
        assert {name for group in groups for name in group["behaviour"]} <= BEHAVIOURS.keys()  # type: ignore[attr-defined]
        chosen = assign(groups, 30, [1] * 30, [0] * 30, np.random.default_rng(0))
        assert len(chosen) == 10


def test_rows_are_shares_between_two_lines_and_means_over_seeds() -> None:
    first = (line(0, 0, 0, 30), line(10, 40, 200, 25, 3), line(20, 50, 400, 10, 7))
    second = (line(10, 80, 200, 35), line(20, 90, 400, 30, 1))
    found = figure.rows([runs_of("idle", first, second), runs_of("gaussian+invert_votes", first)])
    assert [(row["behaviour"], row["height"]) for row in found] == [
        ("idle", 10),
        ("idle", 20),
        ("gaussian+invert_votes", 10),
        ("gaussian+invert_votes", 20),
    ]
    assert found[0]["seats_share"] == pytest.approx(0.3)
    assert found[1]["seats_share"] == pytest.approx(0.05)
    assert found[1]["stake_share"] == pytest.approx(0.2)
    assert (found[1]["evidence"], found[1]["seeds"]) == (4.0, 2)
    assert found[2]["seats_share"] == pytest.approx(0.2)


def test_another_leak_is_told_beside_the_behaviour() -> None:
    lines = (line(10, 40, 200, 25), line(20, 50, 400, 10))
    config = load(figure.CONFIG, list(figure.experiments()[1].grid))
    faster = Runs((), {0: Recorded(Path("nowhere"), config, {}, lines)}, config)
    found = figure.rows([runs_of("idle", lines)], [faster])
    assert [row["behaviour"] for row in found] == ["idle"] * 2 + ["idle, leak 2 %"] * 2


def test_lines_of_runs_without_moving_stake_are_left_out() -> None:
    assert figure.rows([runs_of("idle", ({"height": 10, "hr@10": 0.1},))]) == []


def test_it_is_drawn_from_its_rows() -> None:
    few = (line(10, 10, 200, 25), line(20, 20, 400, 10))
    many = (line(10, 90, 200, 30), line(20, 180, 400, 40))
    runs = [runs_of("idle", few), runs_of("starve", many)]
    drawn = figure.draw(figure.rows(runs))
    assert [axes.get_ylabel() for axes in drawn.axes] == [label for _, label in figure.PANELS]
    assert "1 of 2 behaviours end below 10% of seats" in drawn.axes[0].get_title(loc="left")
    legend = drawn.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["idle", "starve"]


def test_a_behaviour_ends_with_its_seats_of_the_last_fifty_heights() -> None:
    """A last row below the bar, or above it, is not the end: the four before it count as well."""
    early = [line(10 * at, 80 * at, 200 * at, 25) for at in range(1, 6)]
    shares = {"idle": (30, 30, 30, 30, 0), "starve": (0, 0, 0, 0, 60)}
    found = {}
    for name, seats in shares.items():
        bad = [400 + sum(seats[: at + 1]) for at in range(5)]
        late = [line(60 + 10 * at, one, 1200 + 200 * at, 25) for at, one in enumerate(bad)]
        found[name] = figure.rows([runs_of(name, (*early, *late))])
    data = [*found["idle"], *found["starve"]]
    assert figure.ends(data) == pytest.approx({"idle": 0.12, "starve": 0.06})
    assert "1 of 2 behaviours" in figure.draw(data).axes[0].get_title(loc="left")
