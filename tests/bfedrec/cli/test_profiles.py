"""`--profile` as a person meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.cli.profiles import print_profile
from bfedrec.runs.figures import PROFILE
from bfedrec.runs.profiling import PARTS
from tests.helpers.tiny import TINY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"rounds: 2\n{TINY}evaluation: {{every: 2}}\n")
    return path


def summary_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "summary.json").read_text())
    return found


@pytest.mark.parametrize("command", ["run", "learn"])
def test_a_profiled_run_ends_with_its_table_and_keeps_it(
    command: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profiled"
    words = [command, str(config), "--out", str(out)]
    assert main([*words, "--profile"]) == 0
    told = capsys.readouterr().out
    summary = summary_of(out)
    assert "real time of 2 rounds, by part" in told
    assert "the whole" in told
    for name in ("training", "storage", "setup", "rest"):
        assert PARTS[name].label in told
        assert f"{PROFILE}{name}_seconds" in summary
    assert (PARTS["protocol"].label in told) == (command == "run")
    assert not re.search(rf"^  {PROFILE}", told, re.MULTILINE)  # the table says it already
    assert main([*words, "--resume"]) == 0
    assert "real time of 2 rounds" in capsys.readouterr().out

    assert main([command, str(config), "--out", str(tmp_path / "plain")]) == 0
    assert "real time" not in capsys.readouterr().out
    plain = summary_of(tmp_path / "plain")
    assert plain.keys() == {name for name in summary if not name.startswith(PROFILE)}
    assert plain.get("head") == summary.get("head")


def test_what_plays_no_rounds_has_no_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    config = tmp_path / "popularity.yaml"
    config.write_text("method: popularity\ndata: {dataset: synthetic}\n")
    words = ["run", str(config), "--profile", "--out", str(out)]
    assert main(words) == 2
    assert "--profile: method popularity plays no rounds" in capsys.readouterr().err
    assert not out.exists()


def figures(**others: float) -> dict[str, float]:
    """The figures of a profile of two parts, with other figures instead."""
    plain = {"rounds": 4, "seconds": 8.0, "processor_seconds": 7.0, "main_processor_seconds": 5.0}
    for name, seconds, beside in (("rest", 6.0, 0.0), ("training", 2.0, 1.5), ("sign", 0.0, 0.5)):
        plain |= {f"{name}_seconds": seconds, f"{name}_calls": 1234}
        plain |= {f"{name}_beside_seconds": beside, f"{name}_beside_processor_seconds": beside / 2}
    return {
        PROFILE + name: value for name, value in (plain | {"cost_seconds": 0.1} | others).items()
    }


def test_the_table_is_in_the_order_of_seconds_with_the_rest_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_profile(figures())
    told = capsys.readouterr().out
    rows = [re.split(r"\s{2,}", line.strip()) for line in told.splitlines() if "%" in line]
    assert rows == [
        ["client training", "2.00", "25.0%", "500.00", "1,234", "1.50", "0.75"],
        ["signatures", "0.00", "0.0%", "0.00", "1,234", "0.50", "0.25"],
        ["the rest", "6.00", "75.0%", "1,500.00", "1,234"],
        ["the whole", "8.00", "100.0%", "2,000.00", "2.00", "1.00"],
    ]
    assert "processor time 7.00 s, of the main thread 5.00 s" in told


def test_a_resumed_run_of_no_more_rounds_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(figures(rounds=0))
    assert "real time of 0 rounds" in capsys.readouterr().out
