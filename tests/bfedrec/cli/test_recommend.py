"""`bfedrec recommend`: lists that agree with the run's own evaluation, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.runs import recommend
from tests.bfedrec.runs.test_simulation import SMALL

SGD = ("aggregation.rule=per_item", "training.item_step=1.0")
ALS = ("training.method=ials", "compression.kind=dense")
BY_LENGTH = ("evaluation.recency=true", "evaluation.recency_norm=0.5")
WHOLE = "training.method={} compression.kind=dense"
KINDS = {
    "a run": ("run", SGD),
    "learnt": ("learn", SGD),
    "a run of ials": ("run", ALS),
    "learnt by ials": ("learn", ALS),
    "learnt, scored by length": ("learn", (*ALS, "evaluation.norm=-0.5")),
    "learnt, with neighbours": ("learn", (*SGD, "evaluation.neighbours=2")),
    "learnt in order, and with neighbours": (
        "learn",
        (*ALS, "evaluation.recency=true", "evaluation.neighbours=2"),
    ),
    "learnt in order": ("learn", (*ALS, "evaluation.recency=true")),
    "learnt in order, by length": ("learn", (*ALS, *BY_LENGTH)),
    "the best round": ("learn", (*SGD, "evaluation.select=test", "evaluation.every=1")),
    "PFedRec": ("learn", WHOLE.format("pfedrec training.user_epochs=1").split()),
    "FedNCF": ("learn", WHOLE.format("fedncf").split()),
    "FedRAP": ("learn", WHOLE.format("fedrap").split()),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind, made once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.yaml").write_text("")

    def make(kind: str) -> Path:
        command, overrides = KINDS[kind]
        path = folder / kind.replace(" ", "-")
        if not path.exists():
            words = [command, str(folder / "small.yaml"), *SMALL, *overrides, "crypto=modelled"]
            assert main([*words, "--out", str(path)]) == 0
        return path

    return make


@pytest.fixture
def folder(made: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a finished run's folder, to be spoilt."""
    return Path(shutil.copytree(made("a run"), tmp_path / "run"))


def data_of(run: Path) -> Dataset:
    return prepare(load(run / "config.yaml").data)


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            found = pd.DataFrame(list(csv.DictReader(file)))
        return found.assign(score=[float(text) for text in found.score])
    return pd.read_parquet(path)


def hit_rate(found: pd.DataFrame, data: Dataset) -> float:
    """HR of the lists for the users with a test item."""
    wanted = {
        (str(data.user_ids[user]), str(data.item_ids[item]))
        for user, item in enumerate(data.test)
        if item >= 0
    }
    return len(wanted & set(zip(found.q_id, found.doc_id, strict=True))) / len(wanted)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_hit_rate_of_the_file_is_that_of_the_summary(
    kind: str,
    suffix: str,
    made: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, out = made(kind), tmp_path / f"lists{suffix}"
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    capsys.readouterr()
    assert main(["recommend", str(run), "--top", "10", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 800 rows of 80 users\n"
    found, data = read(out), data_of(run)
    assert list(found.columns) == ["q_id", "doc_id", "score"]
    assert found.score.dtype == np.float64
    assert all(isinstance(each, str) for each in (*found.q_id, *found.doc_id))
    summary = json.loads((run / "summary.json").read_text())
    assert hit_rate(found, data) == summary["full_hr@10"]
    assert 0 < summary["full_hr@10"] < 1
    assert (found.groupby("q_id").score.diff().dropna() <= 0).all()
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_the_model_of_an_earlier_round_goes_with_the_factors_of_that_round(
    made: Callable[[str], Path],
) -> None:
    """As the hit rate of this kind above depends on it."""
    summary = json.loads((made("the best round") / "summary.json").read_text())
    assert 0 < summary["selected_height"] < summary["rounds"]


@pytest.mark.parametrize("kind", ["learnt in order", "learnt in order, by length"])
def test_lists_with_recency_have_the_ordered_hit_rate(
    made: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    run = made(kind)
    blind, ordered = tmp_path / "blind.csv", tmp_path / "ordered.csv"
    assert main(["recommend", str(run), "--out", str(blind)]) == 0
    assert main(["recommend", str(run), "--out", str(ordered), "--ordered"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert hit_rate(read(ordered), data_of(run)) == summary["ordered_full_hr@10"]
    assert not read(ordered).equals(read(blind))


def test_lengths_of_items_change_the_lists_with_recency_alone(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    plain, by_length = made("learnt in order"), made("learnt in order, by length")
    lists = []
    for run in (plain, by_length):
        for words in ((), ("--ordered",)):
            assert main(["recommend", str(run), "--out", str(tmp_path / "x.csv"), *words]) == 0
            lists.append(read(tmp_path / "x.csv"))
    assert lists[0].equals(lists[2])
    assert not lists[1].equals(lists[3])


def test_both_formats_hold_the_same(made: Callable[[str], Path], tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        assert main(["recommend", str(made("a run")), "--out", str(tmp_path / f"x{suffix}")]) == 0
    one, other = read(tmp_path / "x.csv"), read(tmp_path / "x.parquet")
    assert one.astype(object).equals(other.astype(object))


def test_what_a_user_knows_is_left_out(made: Callable[[str], Path], tmp_path: Path) -> None:
    run = made("learnt")
    assert main(["recommend", str(run), "--top", "60", "--out", str(tmp_path / "x.csv")]) == 0
    found, data = read(tmp_path / "x.csv"), data_of(run)
    for user in range(data.users):
        own = slice(data.touched_indptr[user], data.touched_indptr[user + 1])
        known = {str(data.item_ids[item]) for item in data.touched_indices[own]}
        listed = found.doc_id[found.q_id == str(data.user_ids[user])]
        test = str(data.item_ids[data.test[user]])
        assert set(listed) == set(map(str, data.item_ids)) - known | {test}


def test_users_are_chosen_by_their_ids(made: Callable[[str], Path], tmp_path: Path) -> None:
    run, every, some = made("a run"), tmp_path / "every.csv", tmp_path / "some.csv"
    assert main(["recommend", str(run), "--out", str(every)]) == 0
    ids = [str(each) for each in data_of(run).user_ids[[7, 2, 40]]]
    assert main(["recommend", str(run), "--out", str(some), "--users", ", ".join(ids)]) == 0
    whole = read(every)
    expected = whole[whole.q_id.isin(ids)].reset_index(drop=True)
    assert len(expected) == 30
    assert read(some).equals(expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "{tmp}/x.txt"], "expected .csv or .parquet"),
        (["--out", "{tmp}/x"], "expected .csv or .parquet"),
        (["--out", "{tmp}/none/x.csv"], "No such file"),
        (["--out", "{tmp}/x.csv", "--top", "0"], "--top 0: expected 1 to 1000"),
        (["--out", "{tmp}/x.csv", "--top", "1001"], "--top 1001: expected 1 to 1000"),
        (["--out", "{tmp}/x.csv", "--users", "nobody"], "--users 'nobody': no user of synthetic"),
        (["--out", "{tmp}/x.csv", "--users", "1,"], "--users '': no user of synthetic"),
        (["--out", "{tmp}/x.csv", "--ordered"], "evaluation.recency=false"),
    ],
    ids=range(8),
)
def test_what_cannot_be_asked_for_is_one_line(
    words: list[str],
    said: str,
    made: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = made("a run")
    capsys.readouterr()
    assert main(["recommend", str(run), *(word.format(tmp=tmp_path) for word in words)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert said in told
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_its_library_is_one_line(
    made: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(recommend, "find_spec", lambda name: None)
    run = made("a run")
    capsys.readouterr()
    assert main(["recommend", str(run), "--out", str(tmp_path / "x.parquet")]) == 2
    assert "pip install 'bfedrec[recommend]'" in capsys.readouterr().err
    assert main(["recommend", str(run), "--out", str(tmp_path / "x.csv")]) == 0


def edit(name: str, change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    """Change a file of JSON."""

    def spoil(run: Path) -> None:
        value = json.loads((run / name).read_text())
        change(value)
        (run / name).write_text(json.dumps(value))

    return spoil


def content(name: str, written: bytes) -> Callable[[Path], None]:
    return lambda run: void((run / name).write_bytes(written))


def void(_: object) -> None:
    return None


def gone(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def fifo(name: str) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return spoil


def tensors(**arrays: np.ndarray) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        path = run / "model.safetensors"
        path.write_bytes(save_tensors(load_tensors(path.read_bytes()) | arrays))

    return spoil


def state(statement: str, *values: object) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        with closing(sqlite3.connect(run / "state.sqlite")) as database, database:
            database.execute(statement, values)

    return spoil


FACTORS = "UPDATE rounds SET factors = ? WHERE height = 3"
CLIENTS = "UPDATE rounds SET clients = ? WHERE height = 3"
SPOILT: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "no folder": (shutil.rmtree, 2, "not a run folder"),
    "no config": (gone("config.yaml"), 2, "not a run folder"),
    "config FIFO": (fifo("config.yaml"), 2, "config.yaml"),
    "odd config": (content("config.yaml", b"\xff"), 2, "config.yaml"),
    "other method": (content("config.yaml", b"method: popularity\n"), 2, "popularity"),
    "other data": (
        edit("manifest.json", lambda node: node.update(data_digest="0" * 64)), 2, "000000000000..."
    ),
    "no digest": (edit("manifest.json", lambda node: void(node.pop("data_digest"))), 2, "None..."),
    "no manifest": (gone("manifest.json"), 2, "manifest.json: no such file"),
    "manifest FIFO": (fifo("manifest.json"), 2, "manifest.json"),
    "unfinished": (gone("summary.json"), 2, "not a finished run"),
    "odd summary": (content("summary.json", b"["), 2, "summary.json"),
    "no rounds": (edit("summary.json", lambda node: void(node.pop("rounds"))), 2, "rounds:"),
    "no model": (gone("model.safetensors"), 2, "model.safetensors: no such file"),
    "model FIFO": (fifo("model.safetensors"), 2, "model.safetensors"),
    "odd model": (content("model.safetensors", b"x" * 100), 2, "model.safetensors: no tensors"),
    "long model": (content("model.safetensors", bytes(2**20)), 2, "Longer than"),
    "other shape": (tensors(Q=np.zeros((60, 7), np.float32)), 2, "expected Q, float32 (60, 8)"),
    "other type": (tensors(Q=np.zeros((60, 8), np.float64)), 2, "expected Q, float32"),
    "no numbers": (tensors(Q=np.full((60, 8), np.nan, np.float32)), 1, "NaN or infinity"),
    "overflow": (tensors(Q=np.full((60, 8), 3e38, np.float32)), 1, "scores of NaN or infinity"),
    "no state": (gone("state.sqlite"), 2, "state.sqlite: no such file"),
    "state FIFO": (fifo("state.sqlite"), 2, "state.sqlite"),
    "odd state": (content("state.sqlite", b"x" * 5000), 2, "state.sqlite"),
    "short state": (state("DELETE FROM rounds WHERE height > 8"), 2, "8 rounds, and the run 12"),
    "another's state": (state("PRAGMA user_version = 5"), 2, "the state of another run"),
    "gap": (state("DELETE FROM rounds WHERE height = 8"), 2, "no height 8"),
    "odd factors": (state(FACTORS, b"123"), 2, "height 3"),
    "few factors": (state(FACTORS, bytes(8)), 2, "height 3"),
    "negative client": (state(CLIENTS, np.arange(-1, 9).astype("<i8").tobytes()), 2, "height 3"),
    "unknown client": (state(CLIENTS, np.arange(71, 81).astype("<i8").tobytes()), 2, "height 3"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_folder_is_one_line_and_leaves_no_file(
    what: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, status, said = SPOILT[what]
    spoil(folder)
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    capsys.readouterr()
    assert main(["recommend", str(folder), "--out", str(tmp_path / "x.csv")]) == status
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    assert said in told
    assert [path.name for path in tmp_path.iterdir() if path != folder] == []
    assert there == (sorted(path.name for path in folder.iterdir()) if folder.exists() else [])


def test_where_clients_keep_nothing_no_state_is_read(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(made("a run of ials"), tmp_path / "run"))
    (run / "state.sqlite").unlink()
    assert main(["recommend", str(run), "--out", str(tmp_path / "x.csv")]) == 0


def test_a_file_that_is_there_is_replaced_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("before")
    tensors(Q=np.full((60, 8), 3e38, np.float32))(folder)
    assert main(["recommend", str(folder), "--out", str(out)]) == 1
    assert out.read_text() == "before"
