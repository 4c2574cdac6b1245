"""RUN/messages.parquet: every message between servers, whatever interrupts the run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bfedrec as bf
from bfedrec.cli.main import main
from bfedrec.runs import message_trace as module
from bfedrec.runs.folder import RunError
from bfedrec.runs.message_trace import MessageTrace
from bfedrec.runs.messages import COLUMNS, MESSAGES, PARTS, groups, read
from bfedrec.runs.timelines import read_timelines
from consensus.network.mesh import CONTROL
from consensus.network.traced import AT_ONCE, LOST, Delivery
from consensus.simulation.results import Stalled
from tests.bfedrec.runs.test_simulation import SMALL, ended_before_the_block, play, stopped_at
from tests.helpers.commands import completed
from tests.helpers.halting import halting
from tests.helpers.tiny import TINY

FAULTY = (
    "faults=[{loss: 0.05, until: 9}, {crash: 1, from: 3, until: 6}, {partition: [[0, 1]], "
    "from: 6, until: 8}, {duplicate: 0.1, until: 4}, {bit_flip: 0.05, until: 9}]",
    "crypto=modelled",
    "committee.resend_seconds=1",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under faults with a trace (`traced`) and one without (`plain`)."""
    place = tmp_path_factory.mktemp("runs")
    play(place / "plain", *FAULTY)
    play(place / "traced", *FAULTY, traced=True)
    return place


def test_a_trace_changes_nothing_else(runs: Path) -> None:
    plain, traced = runs / "plain", runs / "traced"
    assert bf.load(plain).summary["head"] == bf.load(traced).summary["head"]
    for name in ("timeline.jsonl", "ranks.npz", "model.safetensors"):
        assert (plain / name).read_bytes() == (traced / name).read_bytes(), name
    assert {each.name for each in traced.iterdir()} == {
        *(each.name for each in plain.iterdir()),
        MESSAGES,
    }


def test_its_totals_are_those_that_the_run_accounts(runs: Path) -> None:
    trace = checked_totals(runs / "traced")
    lost = set(trace.lost.dropna())
    assert {"fault", "down", "over"} <= lost <= set(LOST) - {"again"}
    names = set(", ".join(trace.faults.dropna()).split(", "))
    assert {"loss", "duplicate", "bit_flip"} <= names


def checked_totals(path: Path) -> pd.DataFrame:
    """The trace of a run with a barrier, whose sums are those of its summary and timeline."""
    run = bf.load(path)
    trace, summary = run.trace, run.summary
    for kind, size in trace.groupby("kind").bytes.sum().items():
        assert size == summary[f"gossip_bytes_{kind}"], kind
    assert trace.bytes.sum() == summary["gossip_bytes"]
    told = {each.height: each.figures for each in read_timelines(run.path)}
    assert set(trace.height) == set(told) == set(range(1, 13))
    for height, rows in trace.groupby("height"):
        figures = told[int(str(height))]
        assert figures is not None
        assert rows.groupby("kind").bytes.sum().to_dict() == dict(figures.bytes)
        assert rows.message.nunique() == rows.message.max() + 1
        said = rows[~rows.kind.isin(CONTROL)]
        assert said.message.nunique() == figures.messages
        assert round((rows.taken_in - rows.said).max() * 1e6) == figures.delay_us
    assert (trace.taken_in - trace.said).max() == summary["greatest_delay_seconds"]
    return trace


def test_times_are_in_their_order_and_digests_are_of_what_came(runs: Path) -> None:
    trace = bf.load(runs / "traced").trace
    assert (trace.sent.isna() == trace.lost.isin(["nobody", "unreachable"])).all()
    went = trace[trace.sent.notna()]
    assert (went.sent >= went.said).all()
    came = trace[trace.received.notna()]
    assert (came.received >= came.sent).all()
    assert came.lost.isna().all()
    said = trace.groupby(["height", "message"]).digest.nunique()
    flipped = trace[trace.faults.fillna("").str.contains("bit_flip")]
    assert len(flipped) > 3
    assert (said > 1).sum() <= len(flipped.groupby(["height", "message"]))


def test_the_columns_are_those_that_the_code_describes(runs: Path) -> None:
    trace = pd.read_parquet(runs / "traced" / MESSAGES)
    assert list(trace.columns) == [each.name for each in COLUMNS]
    assert [each.name for each in COLUMNS[1:]] == list(Delivery._fields)
    for each in COLUMNS:
        assert each.optional or trace[each.name].notna().all(), each.name


@pytest.mark.parametrize("kept", [1, 6, 11])
def test_a_run_that_is_cut_and_goes_on_has_the_same_bytes(
    runs: Path, kept: int, tmp_path: Path
) -> None:
    """The file of before is joined with what comes after, and rows above the chain are dropped."""
    cut = tmp_path / "cut"
    stopped_at(runs / "traced", cut, kept)
    play(cut, *FAULTY, resume=True)  # it was begun with a trace, and goes on with it
    assert (cut / MESSAGES).read_bytes() == (runs / "traced" / MESSAGES).read_bytes()
    assert not (cut / PARTS).exists()


@pytest.mark.parametrize("calls", [200, 4_000])
def test_a_kill_at_any_time_leaves_a_trace_that_can_go_on(
    runs: Path, calls: int, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = tmp_path / "small.yaml"
    config.write_text("name: small\n")
    words = ["run", str(config), *SMALL, *FAULTY, "--out", str(run), "--trace"]
    for height in (3, 12):
        more = ["--resume"] if run.exists() else []
        done = completed(*words, *more, env=halting(tmp_path / f"halt-{height}", height, calls))
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    done = completed(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert (run / MESSAGES).read_bytes() == (runs / "traced" / MESSAGES).read_bytes()


@pytest.mark.parametrize("after", ["join", "replace", "parts"])
def test_a_kill_while_heights_are_joined_loses_none(
    runs: Path, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = tmp_path / "cut"
    stopped_at(runs / "traced", cut, 5)

    def ends(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if after == "join":
            patched.setattr(module.os, "replace", _failing(module.os.replace, MESSAGES))
        elif after == "replace":
            patched.setattr(module.shutil, "rmtree", ends)
        else:
            patched.setattr(module.shutil, "rmtree", _half)
        with pytest.raises(KeyboardInterrupt):
            play(cut, *FAULTY, resume=True)
    play(cut, *FAULTY, resume=True)
    assert (cut / MESSAGES).read_bytes() == (runs / "traced" / MESSAGES).read_bytes()


def _failing(replace: Any, name: str) -> Any:
    def called(old: Path, new: Path) -> None:
        if Path(new).name == name:
            raise KeyboardInterrupt
        replace(old, new)

    return called


def _half(folder: Path) -> None:
    """Delete some files of a folder, and be killed."""
    for path in sorted(folder.iterdir())[::2]:
        path.unlink()
    raise KeyboardInterrupt


def test_rows_of_a_height_without_a_block_are_dropped(runs: Path, tmp_path: Path) -> None:
    ended_before_the_block(tmp_path, 5, *FAULTY, traced=True)
    assert {each.height for each in groups(tmp_path)} == {1, 2, 3, 4, 5}
    play(tmp_path, *FAULTY, resume=True)
    assert (tmp_path / MESSAGES).read_bytes() == (runs / "traced" / MESSAGES).read_bytes()


def test_a_run_that_stalls_has_the_messages_of_its_last_height(tmp_path: Path) -> None:
    stalls = ("servers.malicious=silent:3/7", "committee.size=7", "crypto=modelled", "rounds=5")
    with pytest.raises(Stalled):
        play(tmp_path, *stalls, traced=True)
    first = (tmp_path / MESSAGES).read_bytes()
    trace, told = bf.load(tmp_path).trace, list(read_timelines(tmp_path))
    assert trace.height.max() == told[-1].height
    figures = told[-1].figures
    assert figures is not None
    rows = trace[trace.height == told[-1].height]
    assert rows.groupby("kind").bytes.sum().to_dict() == dict(figures.bytes)
    assert rows.message.nunique() == figures.messages
    with pytest.raises(Stalled):
        play(tmp_path, *stalls, resume=True)
    assert (tmp_path / MESSAGES).read_bytes() == first


# -- the file by itself ---------------------------------------------------------------------------

ONE = Delivery(
    *(0, "vote", 3, 2**63, "ab", False, 0, 1, 1, 2, 10, 10, 0.5, 0.6, 0.7, None, None, "")
)


def test_a_long_height_is_written_in_groups_of_rows(tmp_path: Path) -> None:
    trace = MessageTrace(tmp_path)
    trace.begin_after(0)
    for many in (AT_ONCE, AT_ONCE, 3):
        trace.add([ONE] * many)
    trace.end_height()
    trace.end_height()  # a height without messages
    trace.add([ONE._replace(lost="down", received=None)])
    assert {each.height for each in groups(tmp_path)} == {1}
    trace.end_height()
    trace.finish()
    found = groups(tmp_path)
    assert [each.height for each in found] == [1, 1, 1, 3]
    rows = [table.num_rows for table in read(found)]
    assert rows == [AT_ONCE, AT_ONCE, 3, 1]
    frame = bf.load(_with_config(tmp_path)).trace_of(3)
    assert frame.attempt.isna().all()  # what does not fit 64 bits
    assert frame.faults.isna().all()
    assert frame.lost.tolist() == ["down"]


def _with_config(run: Path) -> Path:
    (run / "config.yaml").write_text("{}\n")
    return run


@pytest.mark.parametrize("damage", ["cut", "other", "text"])
def test_a_damaged_trace_is_told_in_a_line(damage: str, runs: Path, tmp_path: Path) -> None:
    run = _with_config(tmp_path)
    whole = (runs / "traced" / MESSAGES).read_bytes()
    if damage == "other":
        pd.DataFrame({"height": [1]}).to_parquet(run / MESSAGES)
    else:
        (run / MESSAGES).write_bytes(whole[:-500] if damage == "cut" else b"rows")
    with pytest.raises(RunError, match=MESSAGES) as told:
        _ = bf.load(run).trace
    assert "\n" not in str(told.value)


# -- the commands ---------------------------------------------------------------------------------


def test_python_has_the_trace_as_a_frame(tmp_path: Path) -> None:
    run = bf.run(_config(tmp_path), "rounds=2", out=tmp_path / "run", progress=False, trace=True)
    trace = run.trace
    assert set(trace.height) == {1, 2}
    pd.testing.assert_frame_equal(
        run.trace_of(2), trace[trace.height == 2].reset_index(drop=True), check_dtype=False
    )
    assert run.trace_of(3).empty
    again = bf.run(_config(tmp_path), "rounds=2", out=run.path, progress=False, trace=True)
    assert len(again.trace) == len(trace)


def _config(place: Path) -> Path:
    path = place / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_a_run_without_a_trace_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, run = str(_config(tmp_path)), tmp_path / "run"
    assert main(["run", config, "rounds=2", "--out", str(run)]) == 0
    with pytest.raises(RunError, match="has no message trace: it is made with trace=True"):
        _ = bf.load(run).trace
    capsys.readouterr()
    assert main(["run", config, "rounds=2", "--out", str(run), "--resume", "--trace"]) == 2
    assert "finished without --trace: use another --out" in capsys.readouterr().err
    cut = tmp_path / "cut"
    stopped_at(run, cut, 1)
    assert main(["run", config, "rounds=2", "--out", str(cut), "--resume", "--trace"]) == 2
    assert "its first 1 heights were played without --trace" in capsys.readouterr().err
    assert main(["run", config, "rounds=2", "--out", str(cut), "--resume"]) == 0


def test_what_has_no_messages_between_servers_has_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = str(_config(tmp_path))
    (tmp_path / "counts.yaml").write_text(TINY.splitlines()[0] + "\nmethod: popularity\n")
    out = str(tmp_path / "run")
    assert main(["run", str(tmp_path / "counts.yaml"), "--out", out, "--trace"]) == 2
    assert "--trace: method popularity has no messages" in capsys.readouterr().err
    monkeypatch.setattr("bfedrec.api.making.has_library", lambda: False)
    assert main(["run", config, "--out", out, "--trace"]) == 2
    assert "pip install 'bfedrec[parquet]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
