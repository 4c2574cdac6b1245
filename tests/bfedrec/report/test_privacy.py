"""The table exposure and the figure protection, of tiny recorded runs; the figure of one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.cli import figure as figure_command
from bfedrec.cli.main import main
from bfedrec.config.load import differences, load
from bfedrec.report import privacy_runs, registry
from bfedrec.report.artefact import Request, Runs, find
from bfedrec.report.figures import protection
from bfedrec.report.privacy_rounds import write_rounds
from bfedrec.report.privacy_runs import defence, settings_of, worst
from bfedrec.report.tables import exposure
from bfedrec.sweeps.recorded import Recorded
from tests.conftest import ROOT
from tests.helpers.commands import fork_runs
from tests.helpers.tiny import TINY

ATTACKS = "privacy: {attacks: {names: [sign, masks, aggregate, popularity]}}\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two configs in experiments/privacy, of which one attacks nothing."""
    here = tmp_path_factory.mktemp("privacy")
    configs = here / "experiments" / "privacy"
    configs.mkdir(parents=True)
    (configs / "plain.yaml").write_text(f"name: privacy-plain\nrounds: 3\n{TINY}{ATTACKS}")
    (configs / "quiet.yaml").write_text(f"name: privacy-quiet\nrounds: 3\n{TINY}")
    return here


@pytest.fixture
def here(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(recorded)
    fork_runs(monkeypatch)
    if not Path("record").exists():
        for name in ("plain", "quiet"):
            words = ["sweep", f"experiments/privacy/{name}.yaml", "--seeds", "0-1"]
            assert main([*words, "--out", f"sweeps/{name}", "--record", "record"]) == 0
    return recorded


REQUEST = Request(seeds="0-1", records=Path("record"))


def test_the_table_has_a_row_for_each_config(here: Path) -> None:
    made = exposure.make(REQUEST)
    assert made.lacking == ""
    plain, quiet = made.table.rows
    assert (plain["config"], plain["defence"], plain["codec"]) == ("plain", "none", "low_rank")
    assert plain["seeds"] == 2
    assert isinstance(plain["sign"], float)
    assert 0.8 < plain["sign"] <= 1.0
    assert plain["inside"] == pytest.approx(plain["sign"], abs=0.2)
    assert plain["imia"] is None
    assert quiet["sign"] is None
    assert isinstance(quiet["hr"], float)
    assert 0.5 < float(str(plain["up"])) < 3.0  # up to 220 numbers of 4 bytes, and a record
    assert plain["epsilon"] is None


def test_what_is_not_recorded_is_missing(here: Path) -> None:
    made = exposure.make(Request(seeds="7", records=Path("record")))
    assert "2 of 2 runs are not recorded" in made.lacking
    assert "bfedrec sweep experiments/privacy/plain.yaml --seeds 7" in made.lacking
    assert [row["inside"] for row in made.table.rows] == ["missing", "missing"]


def test_the_figure_has_a_point_for_each_attacked_config(here: Path) -> None:
    changed = [one.changed((), "0-1") for one in privacy_runs.experiments()]
    found = find(changed, Path("record")).settings
    (row,) = protection.rows(*found)
    assert (row["config"], row["attack"], row["seeds"]) == ("plain", "sign", 2)
    assert row["hr_low"] <= row["hr"] <= row["hr_high"]
    assert row["bytes_ratio"] == 1.0
    assert row["epsilon"] is None
    plain = settings_of(found)[0]
    attack = worst(plain)
    assert attack is not None
    assert attack[1].mean == row["auc"]
    private = {**row, "defence": "dp", "epsilon": 8.0, "bytes_ratio": 2.0, "config": "dp"}
    for rows, panels in (([row], 1), ([row, private], 2)):
        assert len(protection.draw(rows).axes) == panels


def test_table_and_figure_are_made_by_one_word(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["privacy", "--seeds", "0-1", "--from", "record", "--out", str(tmp_path)]
    assert main(["table", *words]) == 0
    assert main(["figure", *words]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"exposure.{ending}" for ending in ("md", "csv", "tex")),
        *(f"protection.{ending}" for ending in ("pdf", "png", "csv")),
    }
    capsys.readouterr()
    known = {**registry.tables(), **registry.figures()}
    assert [kind.name for kind in registry.choose("make", "privacy", known)] == [
        "exposure",
        "protection",
    ]
    assert figure_command.FIGURES.name == "figures"


def test_a_defence_is_told_by_the_options_off_their_defaults() -> None:
    assert defence(load(None, ["privacy.attacks.names=[sign]", "clients.per_round=7"])) == "none"


UNDEFENDED = {
    "samples": "ml-1m",
    "per_item": "ml-1m-per-item",
    "quantised": "ml-1m-quantised",
    "ials": "ml-1m-ials",
    "fedrec": "fedrec",
}


def test_undefended_configs_are_attacks_on_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    configs = {one.config.stem: load(one.config) for one in privacy_runs.experiments()}
    for stem, base in UNDEFENDED.items():
        changed = set(differences(configs[stem], load(Path(f"experiments/{base}.yaml"))))
        assert changed == {"name", "privacy.attacks.names"}
        assert defence(configs[stem]) == "none"
        assert privacy_runs.label(configs[stem]) == stem


def test_a_guess_is_not_the_worst_attack(tmp_path: Path) -> None:
    figures = {"privacy_popularity_auc": 0.9, "privacy_sign_auc": 0.6, "privacy_masks_auc": 0.5}
    found = worst(Runs((), {0: Recorded(tmp_path, load(None, []), figures)}))
    assert found is not None
    assert (found[0], found[1].mean) == ("sign", 0.6)


def test_the_areas_of_a_run_are_drawn(tmp_path: Path) -> None:
    rounds = [(height, 4, [0.9, 0.1]) for height in (1, 2)]
    write_rounds(tmp_path, {"sign": rounds, "masks": rounds})
    assert (tmp_path / "privacy.png").read_bytes().startswith(b"\x89PNG")
    write_rounds(tmp_path, {})
