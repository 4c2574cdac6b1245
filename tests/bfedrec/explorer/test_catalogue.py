"""The list of runs and sweeps: states, key figures, bounds, and what is read again."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from bfedrec.config.load import dump, load
from bfedrec.explorer import catalogue, locks
from bfedrec.explorer import glance as glance_module
from bfedrec.explorer.catalogue import Catalogue, Listing, Run, State
from bfedrec.explorer.places import Places
from bfedrec.explorer.sweeps import read_compact, read_table
from bfedrec.runs.folder import RunError
from tests.helpers import shown

ROOT = Path(__file__).parents[3]


def listed(root: Path) -> Listing:
    return Catalogue(Places(root)).look()


def only(root: Path) -> Run:
    (run,) = listed(root).runs
    return run


def test_states_and_key_figures(tmp_path: Path) -> None:
    stop = {
        "stopped": "stalled",
        "stopped_at_height": 5,
        "stopped_because": "no committee",
        **shown.summary(4),
    }
    shown.write_run(tmp_path / "a/done", "seed=3", end=shown.summary())
    shown.write_run(tmp_path / "b/stopped", end=stop, name="stopped.json")
    shown.write_run(tmp_path / "c", lines=[shown.line(2)])
    shown.write_run(tmp_path / "learnt", "training.method=sgd", end={"rounds": 6, "hr@10": 0.5})
    found = {run.address: run for run in listed(tmp_path).runs}
    done, stopped, open_end = found["a/done"], found["b/stopped"], found["c"]
    assert [each.state for each in (done, stopped, open_end)] == [
        State.DONE,
        State.STOPPED,
        State.INTERRUPTED,
    ]
    assert (done.done, done.options.rounds, done.options.seed) == (6, 6, 3)
    assert (done.metric("hr"), done.metric("full_hr")) == (0.06, 0.125)
    assert (done.client_bytes, done.number("gossip_bytes")) == (18000, 300_000)
    assert (done.options.dataset, done.options.protocol, done.options.method) == (
        "synthetic",
        "bft",
        "sgd",
    )
    assert len(done.config_hash) == 64
    assert stopped.told == "stalled at height 5: no committee"
    assert (open_end.done, open_end.metric("hr"), open_end.ended) == (2, 0.02, False)
    assert found["learnt"].client_bytes is None


def test_a_run_is_running_as_long_as_a_process_holds_its_folder(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run")
    with (run / "lock").open("w") as lock:
        assert only(tmp_path).state is State.INTERRUPTED
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert only(tmp_path).state is State.RUNNING
        # A look takes no lock, not for an instant: the list of the kernel is all that is read.
        with (run / "lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert only(tmp_path).state is State.INTERRUPTED


def test_a_process_that_waits_or_shares_does_not_hold_a_folder(tmp_path: Path) -> None:
    status = os.stat(tmp_path)
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    source = tmp_path / "locks"

    def holds(line: str) -> bool:
        source.write_text(f"1: POSIX  ADVISORY  WRITE 1 00:00:1 0 EOF\n{line}\nrubbish\n")
        return locks.Locks.now(tmp_path, source).holds(status, 0.0)

    assert holds(f"2: FLOCK  ADVISORY  WRITE 7 {name} 0 EOF")
    assert not holds(f"2: FLOCK  ADVISORY  READ 7 {name} 0 EOF")
    assert not holds(f"2: -> FLOCK  ADVISORY  WRITE 7 {name} 0 EOF")
    assert not holds(f"2: POSIX  ADVISORY  WRITE 7 {name} 0 EOF")
    assert not holds("2: FLOCK  ADVISORY  WRITE 7 fe:zz:x 0 EOF")


def test_without_a_list_of_locks_a_run_that_changed_lately_counts_as_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = locks.Locks.now(tmp_path, tmp_path / "none")
    monkeypatch.setattr(locks.time, "time", lambda: 1000.0)
    status = os.stat(tmp_path)
    assert found.holds(status, 1000.0 - locks.LATELY + 1)
    assert not found.holds(status, 1000.0 - locks.LATELY - 1)


def test_a_look_reads_what_changed_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        shown.write_run(tmp_path / name)
    kept, read = Catalogue(Places(tmp_path)), []
    before = catalogue._run

    def counted(folder: Path, address: str, stats: catalogue.Stats) -> Run:
        read.append(address)
        return before(folder, address, stats)

    monkeypatch.setattr(catalogue, "_run", counted)
    kept.look()
    assert read == ["a", "b", "c"]
    kept.look()
    assert kept.run("a").done == 4
    assert read == ["a", "b", "c"]
    with (tmp_path / "b/metrics.jsonl").open("a") as file:
        file.write(json.dumps(shown.line(6)) + '\n{"height": 7, "torn')
    (tmp_path / "c/summary.json").write_text(json.dumps(shown.summary()))
    states = {run.address: (run.state, run.done) for run in kept.look().runs}
    assert read == ["a", "b", "c", "b", "c"]
    assert states["b"] == (State.INTERRUPTED, 6)
    assert states["c"] == (State.DONE, 6)
    (tmp_path / "a/config.yaml").unlink()
    assert kept.run("a").state is State.BROKEN


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.yaml", b"\xff\xfe", "config.yaml: not a text in UTF-8"),
        ("config.yaml", b"name: [", "config.yaml"),
        ("config.yaml", b"rubbish\n", "config.yaml: expected"),
        ("config.yaml", b"x" * 200_000, "config.yaml: longer than 131,072 bytes"),
        ("manifest.json", b"[]", "manifest.json: expected a JSON object"),
        ("summary.json", b'{"hr@10": NaN}', "summary.json: not JSON: NaN is no number"),
        ("summary.json", b'{"hr@10": 1e999}', "summary.json: 'hr@10': expected a finite"),
        ("summary.json", b'{"hr@10": [1]}', "summary.json: 'hr@10': expected a number or a text"),
        ("summary.json", b"[" * 100_000, "summary.json: not JSON: nested too deeply"),
        ("summary.json", b"{", "summary.json: not JSON"),
        ("stopped.json", b'{"rounds": 1}', "stopped.json: not a stopped run"),
        ("metrics.jsonl", b'{"height": 1}\n{"height": \n', "metrics.jsonl, last line: not JSON"),
    ],
)
def test_a_broken_folder_is_one_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    run = shown.write_run(tmp_path / "run")
    shown.write_run(tmp_path / "sound", end=shown.summary())
    (run / name).write_bytes(content)
    found = {each.address: each for each in listed(tmp_path).runs}
    assert found["run"].state is State.BROKEN
    assert found["run"].told.startswith(told)
    assert "\n" not in found["run"].told
    assert len(found["run"].told) <= 300
    assert found["sound"].state is State.DONE


def test_links_fifos_and_foreign_folders(tmp_path: Path) -> None:
    outside = shown.write_run(tmp_path / "outside", end=shown.summary())
    root = tmp_path / "root"
    fifo = shown.write_run(root / "fifo")
    os.mkfifo(fifo / "summary.json")
    link = shown.write_run(root / "link")
    (link / "summary.json").symlink_to(outside / "summary.json")
    (root / "linked").symlink_to(outside)
    shown.write_run(root / ".hidden/run")
    (root / "empty").mkdir()
    (root / "foreign").mkdir()
    (root / "foreign/manifest.json").write_text("{}")
    found = {each.address: each for each in listed(root).runs}
    assert {each.address: each.told for each in found.values()} == {
        "fifo": "summary.json: not a regular file",
        "link": "summary.json: not a regular file",
        "foreign": "no run: it has no config.yaml",
    }
    kept = Catalogue(Places(root))
    for address in ("linked", "../outside", "empty", "nowhere", "link/summary.json"):
        with pytest.raises(RunError):
            kept.run(address)


@pytest.mark.parametrize("name", ["a\u202eb", "new\nline", "\x1b[31m", "\udcff"])
def test_a_name_that_cannot_be_shown_is_broken_and_has_no_address(
    tmp_path: Path, name: str
) -> None:
    shown.write_run(tmp_path / name, end=shown.summary())
    run = only(tmp_path)
    assert (run.state, run.addressable) == (State.BROKEN, False)
    assert "rename the folder" in run.told


def test_the_walk_is_bounded_and_does_not_look_into_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        shown.write_run(tmp_path / f"run-{number}")
    shown.write_run(tmp_path / "run-0/inside")
    assert len(listed(tmp_path).runs) == 4
    assert not listed(tmp_path).cut
    monkeypatch.setattr(catalogue, "MOST_ENTRIES", 10)
    cut = listed(tmp_path)
    assert cut.cut
    assert len(cut.runs) < 4


def test_folders_below_the_deepest_are_left_out_and_told(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * catalogue.DEEPEST)
    shown.write_run(deep / "too" / "deep")
    shown.write_run(tmp_path / "run")
    found = listed(tmp_path)
    assert [run.address for run in found.runs] == ["run"]
    assert found.cut


def test_a_chain_alone_is_an_import(tmp_path: Path) -> None:
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain/chain.sqlite").write_bytes(b"")
    assert only(tmp_path).state is State.IMPORTED


def test_a_run_that_is_served_itself_has_its_name(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", end=shown.summary())
    kept = Catalogue(Places(run, single=True))
    assert [each.address for each in kept.look().runs] == ["run"]
    assert kept.run("run").state is State.DONE


def test_the_recorded_sweeps_of_this_repository() -> None:
    found = listed(ROOT / "results" / "reference")
    assert len(found.sweeps) > 40
    assert not found.cut
    assert {run.state for run in found.runs} <= {State.DONE, State.STOPPED}
    assert [sweep.told for sweep in found.sweeps if sweep.told] == []
    third = next(each for each in found.sweeps if each.name.startswith("third_"))
    assert third.runs == 48


EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
BASELINES = sorted((ROOT / "experiments/baselines").glob("*.yaml"))[::4]


@pytest.mark.parametrize("path", [*EXPERIMENTS[::3], *BASELINES], ids=lambda path: path.stem)
def test_a_glance_sees_what_the_parser_sees(path: Path) -> None:
    config = load(path, ["data.csv.path=x.csv"] if path.stem == "my-data" else [])
    found = glance_module._by_line(dump(config))
    assert found == glance_module.of_config(config)


def test_a_text_that_was_not_written_by_us_is_parsed() -> None:
    text = "{name: by-hand, seed: 4, rounds: 3, evaluation: {k: 5}}"
    assert glance_module._by_line(text) is None
    found = glance_module.glance(text)
    assert (found.name, found.seed, found.rounds, found.k) == ("by-hand", 4, 3, 5)


def test_a_sweeps_table_is_read_with_all_checks(tmp_path: Path) -> None:
    table = {
        "confidence": 0.95,
        "settings": [
            {
                "overrides": ["model.rank=1"],
                "config_hash": "abc",
                "runs": {"0": "a-s0"},
                "stopped": {
                    "1": {"run": "a-s1", "how": "stalled", "rounds": 2, "height": 3, "because": "x"}
                },
                "figures": {"hr@10": {"n": 1, "mean": 0.5, "low": None, "high": None}},
            }
        ],
    }
    (tmp_path / "sweep.json").write_text(json.dumps(table))
    found = read_table(tmp_path)
    assert found.run_names == {"a-s0", "a-s1"}
    assert found.settings[0].figures["hr@10"].mean == 0.5
    for broken in ("{}", '{"confidence": 0.95, "settings": [1]}', "[]", "NaN"):
        (tmp_path / "sweep.json").write_text(broken)
        with pytest.raises(RunError, match=r"^sweep\.json: "):
            read_table(tmp_path)
    (tmp_path / "runs.jsonl").write_text('{"overrides": ["a=1"], "hr@10": 0.5}\n')
    assert read_compact(tmp_path)[0].figures == {"hr@10": 0.5}
    (tmp_path / "runs.jsonl").write_text('{"hr@10": 0.5}\n')
    with pytest.raises(RunError, match=r"^runs\.jsonl, line 1: not a recorded run"):
        read_compact(tmp_path)
