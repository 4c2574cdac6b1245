"""The table of adversaries: its rows are told by their configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.config.load import load
from bfedrec.report.artefact import Runs
from bfedrec.report.table import MISSING
from bfedrec.report.tables.adversaries import described, experiments, table
from bfedrec.sweeps.sweep import parse_seeds, plan
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_file_is_another_adversary() -> None:
    (sweep,) = experiments()
    settings = plan(sweep.config, sweep.grid, parse_seeds(sweep.seeds), None).settings
    files = sorted(Path("experiments/adversaries").glob("*.yaml"))
    assert len(settings) == len(files) >= 16
    assert len({setting.config_hash for setting in settings}) == len(settings)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "none"),
        (["servers.malicious=7/30"], "7/30 of the servers"),
        (
            ["servers.malicious=[{behaviour: silent, servers: [2], from: 9, by: seconds}]"],
            "[2] of the servers, from second 9 on",
        ),
        (
            ["servers.malicious=[{behaviour: [silent, honest], share: 0.1, each: 4}]"],
            "0.1 of the servers, silent, honest in turn, 4 heights each",
        ),
        (
            [
                "adversary.corruption={strategy: members, at_once: 2, in_all: 5, delay: 1.5}",
                "adversary.delays.strategy=halves",
            ],
            "corrupts members, 2 at once, 5 in all, 1.5 seconds later; delays halves up to 200 ms",
        ),
        (
            ["adversary.corruption={strategy: stake, delay: 1, by: heights}"],
            "corrupts stake, 1 at once, a height later",
        ),
    ],
)
def test_an_adversary_is_told_in_a_few_words(words: list[str], told: str) -> None:
    assert described(load(None, words)) == told


def test_a_setting_without_runs_is_missing() -> None:
    (row,) = table([Runs((), {}, load(None))]).rows
    assert row["seconds"] == MISSING


def test_the_recorded_table_has_the_honest_run_first() -> None:
    text = (ROOT / "results/tables/adversaries.csv").read_text(encoding="utf-8").splitlines()
    assert text[1].startswith("none,")


def test_the_page_shows_the_recorded_table() -> None:
    page = (ROOT / "docs/adversaries.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- measured -->\n")[2].partition("<!-- end of measured -->")[0]
    made = (ROOT / "results/tables/adversaries.md").read_text(encoding="utf-8").splitlines(True)
    assert shown == "".join(line for line in made if line.startswith("|"))
