"""Run folders and records that somebody else has made: one line for whatever they hold."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.cli.main import main
from bfedrec.runs import holding
from bfedrec.runs.folder import RunError, read_json, read_metrics, read_summary
from bfedrec.runs.ranks import read as read_ranks
from bfedrec.runs.state import RunState, StateError
from bfedrec.sweeps.recorded import read as read_recorded
from consensus.simulation.checkpoint import Standing
from tests.bfedrec.runs.test_simulation import SMALL, play
from tests.helpers.limited import command

RUN = ("rounds=2", "crypto=modelled", "evaluation.every=1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    play(path, *RUN)
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A finished run's folder, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def resumed(run: Path) -> list[str]:
    return ["run", str(run / "config.yaml"), "--out", str(run), "--resume"]


JSON = {
    "empty": "",
    "a list": "[]",
    "a number": "5",
    "deep": "[" * 100_000,
    "deep maps": '{"a":' * 100_000,
    "digits": '{"head":' + "9" * 100_000 + "}",
    "long": '{"head": "' + "x" * 2**21 + '"}',
    "no text": "\udcff",
    "NaN": '{"height": 1, "head": NaN}',
    "infinite": '{"height": 1, "head": 1e999}',
    "a great number": '{"height": 1, "rounds": 1' + "0" * 40 + "}",
    "a map within": '{"height": 1, "head": {}}',
    "null": '{"height": 1, "head": null}',
}


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
@pytest.mark.parametrize("name", ["summary.json", "manifest.json", "metrics.jsonl", "config.yaml"])
def test_an_odd_file_of_a_run_is_one_line(
    name: str, text: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / name).write_bytes(text.encode(errors="surrogateescape") + b"\n")
    if name != "summary.json":
        (run / "summary.json").unlink()
    config = run.parent / "config.yaml"
    config.write_text("")
    status = main(["run", str(config), *SMALL, *RUN, "--out", str(run), "--resume"])
    told = capsys.readouterr()
    told_lines = [line for line in told.err.splitlines() if line.startswith("bfedrec:")]
    if name == "manifest.json" and status == 2:
        assert len(told_lines) == 1
    elif status:
        assert (status, len(told_lines)) == (2, 1), told.err
    assert "Traceback" not in told.err
    if name == "summary.json":
        ended = command("audit", run)
        assert ended.status in (1, 2), ended.out
        assert len(ended.lines) == 1
        with pytest.raises(RunError):
            list(read_recorded(run))


@pytest.mark.parametrize(
    "name",
    [
        *("summary.json", "manifest.json", "metrics.jsonl", "state.sqlite", "lock", "log.txt"),
        *(".config.yaml.part", "chain.sqlite-wal", "state.sqlite-wal", "config.yaml"),
    ],
)
def test_a_run_folder_with_a_fifo_is_not_waited_for(name: str, run: Path) -> None:
    (run / "summary.json").unlink()
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    ended = command("run", "experiments/quickstart.yaml", "--out", run, "--resume")
    assert (ended.status, len(ended.lines)) == (2, 1), ended.out


@pytest.mark.parametrize("name", ["lock", "log.txt", ".config.yaml.part", "metrics.jsonl"])
def test_a_run_folder_with_a_link_is_refused_and_what_it_leads_to_is_kept(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "summary.json").unlink()
    (run / name).unlink(missing_ok=True)
    victim = run.parent / "victim"
    victim.write_text("mine")
    (run / name).symlink_to("../victim")
    assert main(resumed(run)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert f"{run / name}: " in line
    assert "is a symbolic link" in line
    assert victim.read_text() == "mine"


def test_a_lock_is_neither_followed_nor_emptied(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the link comes between the look at the folder and the opening."""
    (run / "lock").write_text("mine")
    holding.hold(run).close()
    assert (run / "lock").read_text() == "mine"
    (run / "lock").rename(run.parent / "victim")
    (run / "lock").symlink_to("../victim")
    monkeypatch.setattr(holding, "_check_entries", lambda path: None)
    with pytest.raises(OSError, match="symbolic link"):
        holding.hold(run)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("clients", b"123"),
        ("clients", np.array([*range(9), 10**9], "<i8").tobytes()),
        ("clients", np.array([*range(9), -1], "<i8").tobytes()),
        ("clients", np.array([0], "<i8").tobytes()),
        ("factors", b"123"),
        ("factors", bytes(4)),
        ("simulated_seconds", -1.0),
        ("simulated_seconds", 1e999),
        *(("counters", text) for text in ("", "[]", "{}", "[" * 100_000, "5", '{"loss": "x"}')),
    ],
)
def test_an_odd_row_of_a_run_s_state_is_one_line(
    column: str, value: object, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "summary.json").unlink()
    with closing(sqlite3.connect(run / "state.sqlite")) as database, database:
        database.execute(f"UPDATE rounds SET {column} = ? WHERE height = 2", (value,))
    assert main(resumed(run)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert "height 2" in line


def test_a_state_file_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    path.write_bytes(os.urandom(5000))
    with pytest.raises(StateError):
        RunState(path)


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_state_file_that_never_ends_is_told(ending: str, tmp_path: Path) -> None:
    RunState(tmp_path / "state.sqlite").close()
    place = tmp_path / f"state.sqlite{ending}"
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    with pytest.raises(StateError, match=f"state.sqlite{ending}: not a regular file"):
        RunState(tmp_path / "state.sqlite")


def test_a_state_that_is_damaged_behind_its_first_page_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite opens such a file, and fails at the rows."""
    (run / "summary.json").unlink()
    path = run / "state.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = database.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[page:] = os.urandom(len(content) - page)
    path.write_bytes(content)
    assert main(resumed(run)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert "state.sqlite" in line


SWAP = """
UPDATE blocks SET height = 9 WHERE height = 1;
UPDATE blocks SET height = 1 WHERE height = 2;
UPDATE blocks SET height = 2 WHERE height = 9;
"""
GENESIS = "height 0 is not the genesis of this run"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE blocks SET data = x'00' WHERE height = 2", "the block of height 2 is damaged"),
        ("UPDATE blocks SET data = x'a0' WHERE height = 2", "the block of height 2 is damaged"),
        (SWAP, "the chain is damaged"),
        ("UPDATE blocks SET data = x'a0' WHERE height = 0", GENESIS),
        ("DELETE FROM blocks WHERE height = 0", "no block of height 0"),
        ("DELETE FROM blocks WHERE height = 1", "no block of height 1"),
        ("UPDATE updates SET data = x'00' WHERE height = 2", "an update of height 2 is damaged"),
    ],
)
def test_a_damaged_chain_is_one_line_and_nothing_is_cut(
    statement: str, said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "summary.json").unlink()
    with closing(sqlite3.connect(run / "chain.sqlite")) as chain, chain:
        chain.executescript(statement)
    metrics = (run / "metrics.jsonl").read_bytes()
    assert main(resumed(run)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert "chain.sqlite" in line
    assert said in line
    assert (run / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chain.sqlite", GENESIS),
        ("state.sqlite", "state.sqlite: the state of another run"),
    ],
)
def test_a_file_of_another_seed_is_one_line(
    name: str, said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run.parent / "other"
    play(other, *RUN, "seed=1")
    (run / "summary.json").unlink()
    shutil.copy(other / name, run)
    assert main(resumed(run)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert said in line


def test_a_damaged_schema_of_a_state_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite quotes the damaged bytes, which are no text."""
    (run / "summary.json").unlink()
    path = run / "state.sqlite"
    content = path.read_bytes()
    assert b") STRICT" in content
    path.write_bytes(content.replace(b") STRICT", b") \xffTRICT", 1))
    assert main(resumed(run)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bfedrec:" in line]
    assert "state.sqlite: not a run's state: the file is damaged" in line


@pytest.mark.parametrize(
    "node",
    [
        {"servers": 5, "holders": []},
        {"servers": [[0, 1, 1]], "holders": []},
        {"servers": [[0, 1, 1, 5]], "holders": []},
        {"servers": [["0", 1, 1, []]], "holders": []},
        {"servers": [[True, 1, 1, []]], "holders": []},
        {"servers": [[-1, 1, 1, []]], "holders": []},
        {"servers": [], "holders": [[1, [0.5]]]},
        {"servers": []},
    ],
)
def test_an_odd_standing_is_refused(node: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Standing.from_node(node)


def test_a_standing_of_another_world_is_refused() -> None:
    standing = Standing.from_node({"servers": [[3, 1, 1, [2]]], "holders": [[2, [0, 6]]]})
    standing.check(7, 2)
    for servers, height in ((6, 2), (7, 1)):
        with pytest.raises(ValueError, match="there are"):
            standing.check(servers, height)


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def huge() -> bytes:
    """A little file that says that it holds 2**40 numbers."""
    head = io.BytesIO()
    shape = {"descr": "|i1", "fortran_order": False, "shape": (2**40,)}
    np.lib.format.write_array_header_1_0(head, shape)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("rank.npy", head.getvalue())
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100,
        packed(rank=np.zeros(2**27, np.int8)),
        packed(rank=np.zeros((3, 3), np.int8)),
        packed(rank=np.zeros(3)),
        packed(other=np.zeros(3, np.int8)),
        huge(),
    ],
    ids=range(7),
)
def test_odd_ranks_are_told_at_no_cost(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "ranks.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"ranks\.npz: no ranks"):
        read_ranks(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        *("", "[]", "{}", '{"overrides": 5}', '{"overrides": [5]}', '{"overrides": [], "a": {}}'),
        *("[" * 100_000, '{"overrides": [], "a": NaN}'),
    ],
    ids=range(8),
)
def test_an_odd_line_of_a_compact_record_is_told(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("rounds: 3\n")
    (tmp_path / "runs.jsonl").write_text(f"{line}\n")
    assert main(["table", "table2", "--from", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "runs.jsonl, line 1" in told


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "metrics.jsonl"])
def test_records_are_not_read_from_what_is_no_file(
    name: str, make: Callable[[Path], None], run: Path
) -> None:
    (run / name).unlink()
    make(run / name)
    for artefact in (("table", "table2"), ("figure", "fig2")):
        ended = command(*artefact, "--from", run, "--out", run.parent / "out")
        assert (ended.status, len(ended.lines)) == (2, 1), ended.out


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=200)
@given(VALUES | st.dictionaries(st.sampled_from(["height", "loss", "stopped"]), VALUES))
def test_whatever_json_stands_there_is_figures_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = json.dumps(value)
    for name, read in (
        ("summary.json", read_summary),
        ("metrics.jsonl", read_metrics),
        ("manifest.json", lambda folder: read_json(folder / "manifest.json")),
    ):
        (folder / name).write_text(f"{text}\n")
        try:
            read(folder)  # type: ignore[operator]
        except RunError as error:
            told = str(error)
        else:
            told = ""
        assert "\n" not in told
        (folder / name).unlink()
