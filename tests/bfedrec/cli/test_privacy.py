"""`bfedrec privacy`: its table, files and exit status; MovieLens-1M with a floor."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.privacy.registry import INFERENCES
from tests.bfedrec.runs.test_learning import learnt
from tests.bfedrec.runs.test_simulation import play
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    play(path, "ledger.retain_updates=none")
    return path


def test_figures_are_printed_and_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["privacy", str(run)]) == 0
    told = capsys.readouterr().out
    figures = json.loads((run / "privacy.json").read_text())
    assert list(figures) == [name for name in INFERENCES if name not in ("attributes", "masked")]
    assert figures["sign"]["auc"] > 0.98
    assert figures["sign"]["users"] == 80
    assert figures["sign"]["updates"] == 120
    assert f"sign                         80      120       {figures['sign']['auc']:.4f}" in told
    assert "attributes are not attacked: synthetic tells none of its users" in told
    assert "imia: the first 8 updates of each round are attacked" in told
    with (run / "privacy-users.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["attack"] == "sign"]
    assert len(rows) == 80
    mean = np.mean([float(row["auc"]) for row in rows])
    assert mean == pytest.approx(figures["sign"]["auc"], abs=1e-5)
    assert (run / "privacy.png").read_bytes().startswith(b"\x89PNG")


def test_a_limit_fails_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["privacy", str(run), "--attacks", "sign,popularity", "--rounds", "1-3,5"]
    assert main([*words, "--fail-above", "0.9"]) == 1
    assert "above 0.9: sign " in capsys.readouterr().err
    assert main([*words, "--fail-above", "1"]) == 0
    popular = json.loads((run / "privacy.json").read_text())["popularity"]["auc"]
    assert popular > 0.1
    guess = ["privacy", str(run), "--attacks", "popularity", "--fail-above", "0.1"]
    assert main(guess) == 0  # a guess reveals nothing of a client
    assert main(["privacy", str(run), "--as", "reader", "--attacks", "aggregate"]) == 0
    assert list(json.loads((run / "privacy.json").read_text())) == ["aggregate"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--attacks", "sing"], "--attacks: inference attack 'sing' is not one of sign, masks"),
        (["--as", "server:99"], "holder server:99: the run has servers 0 to 6"),
        (["--as", "anybody"], "expected server:INDEX, reader or colluding:COUNT"),
        (["--rounds", "0-3"], "expected rounds from 1 on"),
        (["--rounds", "3-1"], "expected rounds from 1 on"),
        (["--rounds", "99"], "has 12 rounds so far, and none of those asked for"),
        (["--fail-above", "1.5"], "--fail-above 1.5: expected 0 to 1"),
        (["--fail-above", "nan"], "--fail-above nan: expected 0 to 1"),
    ],
)
def test_bad_words_are_refused(
    run: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["privacy", str(run), *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["privacy", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_attributes_are_attacked_where_the_file_is_there(
    data_folder: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MovieLens-1M, eight rounds without a ledger, and a made-up users.dat: the sign finds every
    interaction, and of drawn attributes nothing."""
    from bfedrec.config.load import load
    from bfedrec.data.prepare import prepare
    from bfedrec.runs.privacy import attack

    monkeypatch.setattr("bfedrec.data.prepare.default_cache", lambda: prepared)
    config = ROOT / "experiments" / "ml-1m.yaml"
    words = ["rounds=8", "evaluation.every=8", "evaluation.full_ranking=false"]
    assert main(["learn", str(config), *words, "--out", str(tmp_path / "run")]) == 0
    users = prepare(load(config).data).user_ids
    generator = np.random.default_rng(0)
    sources = tmp_path / "data"
    sources.mkdir()
    for entry in data_folder.iterdir():
        (sources / entry.name).symlink_to(entry)
    lines = (f"{u}::{'MF'[g]}::{a}::{o}::0" for u, g, a, o in zip(
        users, generator.integers(0, 2, len(users)), generator.choice([1, 18, 25], len(users)),
        generator.integers(0, 3, len(users)), strict=True,
    ))  # fmt: skip
    (sources / "users.dat").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("BFEDREC_DATA", str(sources))
    found = attack(tmp_path / "run", names=("sign", "attributes"))
    assert found.figures()["sign"]["auc"] >= 0.98
    assert set(found.attributes) == {
        "attributes_gender", "attributes_age", "attributes_occupation",
    }  # fmt: skip
    for figures in found.attributes.values():
        assert figures["auc"] == pytest.approx(0.5, abs=0.1)
        assert figures["users"] == 480


def test_learning_without_a_ledger_is_attacked(tmp_path: Path) -> None:
    learnt(tmp_path / "run")
    assert main(["privacy", str(tmp_path / "run"), "--attacks", "masks"]) == 0
