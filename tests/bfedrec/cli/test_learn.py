"""`bfedrec learn` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.runs import learning
from tests.helpers import tiny

TINY = f"name: tiny\nrounds: 4\n{tiny.TINY}evaluation: {{every: 2}}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_it_leaves_a_folder_prints_its_figures_and_is_not_done_twice(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "learnt"
    words = ["learn", str(config), "seed=2", "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert f"hr@10                        {summary['hr@10']:.4f}" in told
    assert "round 4/4  test HR@10" in told
    assert "clients/s" in told
    assert "simulated" not in told
    assert "samples" not in told
    assert "verify it with" not in told
    assert (out / "curves.png").exists()
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert "finished already" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["learn"], ["run"]])
def test_a_file_that_is_given_and_not_read_is_told(
    words: list[str], config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *more = words
    own = ["data.csv.path=mine.csv", "--out", str(tmp_path / "out")]
    assert main([command, str(config), *more, *own]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "WARNING: data.csv.path is not read, as data.dataset is synthetic"
    assert main([command, str(config), *more, "--out", str(tmp_path / "plain")]) == 0
    assert "is not read" not in capsys.readouterr().out


def test_its_folder_is_beside_those_of_runs(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["learn", str(config), "seed=3"]) == 0
    (path,) = (tmp_path / "results").glob("*/*")
    assert path.parent.name == "learnt"
    assert path.name.startswith("tiny-")
    assert path.name.endswith("-s3")


def test_interrupted_it_says_how_to_go_on(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "run", interrupted)
    assert main(["learn", str(config), "--out", str(tmp_path / "cut")]) == 130
    told = capsys.readouterr().err
    assert told == (
        f"interrupted; continue with: bfedrec learn {config} --out {tmp_path / 'cut'} --resume\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["learn", "{config}", "method=popularity"], 2, "has no ledger to leave out"),
        (["learn", "{config}", "clients.per_round=41"], 2, "more than the 40 users"),
        (["learn", "{config}", "training.item_step=1e30"], 1, "no longer finite numbers"),
        (["run", "{config}", "--out", "{learnt}", "--resume"], 2, "holds learning without"),
        (["audit", "{learnt}"], 2, "was learnt without a ledger"),
    ],
    ids=range(5),
)
def test_what_cannot_be_is_one_line(
    words: list[str],
    status: int,
    said: str,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if words[0] == "learn":
        config.write_text(TINY if "method" not in words[-1] else "rounds: 1000\n")
        words = [*words, "--out", "{new}"]
    else:
        assert main(["learn", str(config), "--out", str(tmp_path / "learnt")]) == 0
    capsys.readouterr()
    places = {name: tmp_path / name for name in ("learnt", "new")}
    assert main([word.format(config=config, **places) for word in words]) == status
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert said in told


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json", "metrics.jsonl", "state.sqlite"])
@pytest.mark.parametrize("content", [b"", b"[]\n", b"\xff" * 5000, b"[" * 10_000 + b"\n"])
def test_a_spoilt_folder_is_resumed_or_refused_in_one_line(
    name: str,
    content: bytes,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "learnt"
    assert main(["learn", str(config), "--out", str(out)]) == 0
    (out / "summary.json").unlink()
    (out / name).write_bytes(content)
    capsys.readouterr()
    status = main(["learn", str(config), "--out", str(out), "--resume"])
    errors = capsys.readouterr().err
    assert status in (0, 2)
    assert errors.count("\n") == (1 if status else 0), errors
