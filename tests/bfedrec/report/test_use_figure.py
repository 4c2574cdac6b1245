"""The figure of seats and stake where the use of updates is paid: its runs, rows and lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.report.artefact import Runs
from bfedrec.report.figures import use as figure
from bfedrec.sweeps.recorded import Recorded
from bfedrec.sweeps.sweep import parse_seeds, plan
from consensus.ledger.use import home
from tests.bfedrec.report.test_seats import line
from tests.conftest import ROOT


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Runs]:
    """The settings of the figure's sweep, each with one recorded run."""
    monkeypatch.chdir(ROOT)
    (experiment,) = figure.experiments()
    sweep = plan(experiment.config, experiment.grid, parse_seeds(experiment.seeds), None)
    lines = (line(10, 40, 200, 35), line(20, 50, 400, 25))
    return [
        Runs(each.overrides, {0: Recorded(Path("nowhere"), each.config, {}, lines)}, each.config)
        for each in sweep.settings
    ]


def test_clients_that_misbehave_are_those_of_the_servers_that_are_counted(
    settings: list[Runs],
) -> None:
    assert len(settings) == 4
    for each in settings:
        config = each.config
        assert config.ledger.incentives.on
        (group,) = config.servers.malicious
        for clients in config.clients.malicious:
            assert list(clients.homes) == group["servers"]
        assert {home(client, config.servers.count) for client in group["servers"]} == set(range(10))


def test_rows_are_named_by_what_the_clients_do_and_drawn(settings: list[Runs]) -> None:
    rows = figure.rows(settings)
    names = ["gaussian, use 0", "gaussian, use 0.5", "honest, use 0.5", "ipm, use 0.5"]
    assert [row["clients"] for row in rows[::2]] == names
    assert rows[1]["seats_share"] == pytest.approx(0.05)
    drawn = figure.draw(rows)
    legend = drawn.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == names
