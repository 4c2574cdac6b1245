"""Curves of a recorded run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from matplotlib.figure import Figure

from bfedrec.cli.main import main
from bfedrec.report.curves import curves, per_round
from bfedrec.runs.folder import RunError
from tests.helpers.tiny import TINY


def recorded(folder: Path, scored: bool = True) -> Path:
    """A run folder with three evaluated rounds."""
    folder.mkdir()
    with (folder / "metrics.jsonl").open("w") as file:
        for height in (10, 20, 25):
            line = {"height": height, "simulated_seconds": 2.0 * height, "uplink_bytes": 7 * height}
            line |= {"downlink_bytes_broadcast": 9 * height, "downlink_bytes_catch_up": 0}
            line |= {"gossip_bytes": 100 * height}
            if scored:
                line |= {"split": "validation", "hr@10": height / 50, "ndcg@10": height / 90}
            file.write(json.dumps(line) + "\n")
    return folder


def test_curves_are_drawn_beside_the_metrics(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    assert curves(run) == run / "curves.png"
    image = (run / "curves.png").read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    curves(run)
    assert (run / "curves.png").read_bytes() == image  # the same run, the same bytes


@pytest.mark.parametrize(("name", "opening"), [("c.pdf", b"%PDF"), ("c.svg", b"<?xml")])
def test_curves_for_print(tmp_path: Path, name: str, opening: bytes) -> None:
    out = curves(recorded(tmp_path / "run"), tmp_path / name)
    drawn = out.read_bytes()
    assert drawn.startswith(opening)
    assert curves(tmp_path / "run", out).read_bytes() == drawn


def test_exposure_is_drawn_where_there_are_targets(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    plain = curves(run, tmp_path / "plain.svg").read_bytes()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(line | {"er@10": 0.25}) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    assert b"ER@10  0.250" in curves(run, tmp_path / "exposed.svg").read_bytes()
    assert b"ER@10" not in plain


def test_a_run_without_validation_items_still_shows_its_cost(tmp_path: Path) -> None:
    assert curves(recorded(tmp_path / "run", scored=False)).exists()


def test_a_run_that_was_never_evaluated_has_no_curves(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no evaluated rounds"):
        curves(tmp_path)


def test_costs_are_averaged_over_the_rounds_between_two_lines() -> None:
    lines = [{"height": 10, "bytes": 50}, {"height": 20, "bytes": 60}, {"height": 22, "bytes": 70}]
    assert per_round(lines, "bytes") == ([0, 10, 20, 22], [5.0, 1.0, 5.0])


@pytest.mark.parametrize("name", ["a$\\b$", "$", "no \udcff text", "a\nb"])
def test_whatever_a_run_is_called_its_curves_are_drawn(tmp_path: Path, name: str) -> None:
    assert curves(recorded(tmp_path / name)).read_bytes()[:4] == b"\x89PNG"


def test_curves_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(self: Figure, file: BinaryIO, **options: object) -> None:
        file.write(b"\x89PNG")
        raise KeyboardInterrupt

    run = recorded(tmp_path / "run")
    monkeypatch.setattr(Figure, "savefig", ends)
    with pytest.raises(KeyboardInterrupt):
        curves(run)
    assert [path.name for path in run.iterdir()] == ["metrics.jsonl"]


def test_a_finished_run_without_its_curves_gets_them(tmp_path: Path) -> None:
    """As a kill right after the summary leaves it."""
    (tmp_path / "tiny.yaml").write_text(f"rounds: 2\n{TINY}")
    command = ["run", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run"), "--resume"]
    assert main(command) == 0
    drawn = (tmp_path / "run" / "curves.png").read_bytes()
    (tmp_path / "run" / "curves.png").unlink()
    assert main(command) == 0
    assert (tmp_path / "run" / "curves.png").read_bytes() == drawn


def test_a_folder_whose_name_is_no_text_is_printed_with_its_bytes_spelt(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(f"rounds: 2\n{TINY}")
    out = os.fsencode(tmp_path / "run") + b"\xff"
    words = [sys.executable, "-m", "bfedrec", "run", str(tmp_path / "tiny.yaml"), "--out", out]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    ended = subprocess.run(words, env=strict, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert b"run\\udcff: done" in ended.stdout
    assert Path(os.fsdecode(out), "curves.png").exists()
