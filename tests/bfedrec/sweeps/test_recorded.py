"""Runs that end early, how a sweep treats them, and what is recorded of runs."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import bfedrec as bf
from bfedrec.cli.main import main
from bfedrec.config.load import config_hash, dump, load
from bfedrec.report.artefact import Experiment, find
from bfedrec.report.missing_runs import make_missing
from bfedrec.report.page.sweep import read_sweep
from bfedrec.runs.figures import MEASURED
from bfedrec.runs.folder import RunError, finished, read_json, read_metrics, stopped
from bfedrec.sweeps import recorded as records
from bfedrec.sweeps import sweep as sweeps
from bfedrec.sweeps.engines.processes import Processes

TINY = """\
name: tiny
rounds: 12
crypto: modelled
data: {dataset: synthetic, synthetic: {users: 20, items: 20, interactions_per_user: 5}}
model: {dimension: 2, rank: 1}
training: {local_epochs: 1}
clients: {per_round: 3}
servers: {count: 6, regions: 2, links_per_server: 2}
committee: {size: 4}
evaluation: {every: 4}
"""
GRID = ["protocol=bft,paper", "servers.malicious=0,1/3"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def sweep(config: Path, tmp_path_factory: pytest.TempPathFactory) -> sweeps.Sweep:
    """Both protocols with and without malicious servers; the paper's comes to a deadlock."""
    out = tmp_path_factory.mktemp("runs")
    planned = sweeps.plan(config, GRID, [0], out)
    make_runs(planned)
    sweeps.write(planned, sweeps.collect(planned))
    return planned


def make_runs(sweep: sweeps.Sweep) -> None:
    """What of a sweep's runs is missing, in this process."""
    for job in sweeps.jobs_of(sweep):
        if not sweeps.ended(job.path):
            words = [str(job.config), *job.overrides, f"seed={job.seed}", "--out", str(job.path)]
            assert main(["run", *words]) == int(stopped(job.path))


def the_stopped(sweep: sweeps.Sweep) -> Path:
    (path,) = (s.runs[0] for s in sweep.settings if stopped(s.runs[0]))
    return path


def test_a_run_that_stops_leaves_what_it_came_to(sweep: sweeps.Sweep) -> None:
    path = the_stopped(sweep)
    assert not finished(path)
    assert load(path / "config.yaml").protocol == "paper"
    end = read_json(path / "stopped.json")
    assert end["stopped"] == "stalled"
    assert 0 < end["rounds"] == end["blocks"] == end["stopped_at_height"] - 1 < 12
    assert end["stopped_attempts"] > 30
    assert end["stopped_because"].startswith(f"height {end['stopped_at_height']}: after ")
    assert "deadlock of Algorithm 2" in end["stopped_because"]
    line = read_metrics(path)[-1]
    assert line["height"] == line["blocks"] == end["rounds"]
    # The time of the blocks there are, and that of the vain attempts as well.
    assert line["simulated_seconds"] + 400.0 < end["simulated_seconds"]


def test_a_stopped_run_is_tried_again_only_if_asked(
    sweep: sweeps.Sweep, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = the_stopped(sweep)
    before, metrics = read_json(path / "stopped.json"), read_metrics(path)
    words = ["sweep", str(config), *GRID, "--seeds", "0", "--out", str(sweep.folder)]
    assert main(words) == 0  # nothing fails: that it stopped is its result
    output = capsys.readouterr().out
    assert "4 of 4 runs are finished already" in output
    assert f"stalled after {before['rounds']} rounds: height" in output
    assert main(["run", str(path / "config.yaml"), "--out", str(path), "--resume"]) == 1
    after = read_json(path / "stopped.json")
    for name in set(MEASURED) & {*before, *after}:
        after.pop(name, None), before.pop(name, None)
    assert after == before  # resumed before the height it cannot decide, it stops there again
    assert len(read_metrics(path)) == len(metrics)


def test_a_sweep_tells_stops_apart_from_means(sweep: sweeps.Sweep) -> None:
    rows = sweeps.collect(sweep)
    assert [len(row.stops) for row in rows] == [0, 0, 0, 1]
    assert rows[3].figures == {}
    document = json.loads((sweep.folder / "sweep.json").read_text())
    told = document["settings"][3]["stopped"]["0"]
    assert told["how"] == "stalled"
    assert told["height"] == told["rounds"] + 1
    lines = (sweep.folder / "sweep.csv").read_text().splitlines()
    assert sum("stopped_at_height" in line for line in lines) == 1


def test_records_are_read_as_the_runs_they_are_of(sweep: sweeps.Sweep, tmp_path: Path) -> None:
    whole = records.record(sweep, tmp_path / "whole")
    compact = records.record(sweep, tmp_path / "compact", compact=True)
    assert {path.name for path in compact.iterdir()} == {
        "config.yaml", "manifest.json", "runs.jsonl",
    }  # fmt: skip
    found = {run.config_hash: run for run in records.read(tmp_path / "whole")}
    lines = {run.config_hash: run for run in records.read(tmp_path / "compact")}
    assert set(found) == set(lines) == {setting.config_hash for setting in sweep.settings}
    for setting in sweep.settings:
        one, other = found[setting.config_hash], lines[setting.config_hash]
        assert one.config == other.config
        assert one.summary == other.summary
        assert one.metrics == tuple(read_metrics(setting.runs[0]))
        assert one.stopped == stopped(setting.runs[0])
        assert not other.metrics
    recorded = {path.name for path in (whole / the_stopped(sweep).name).iterdir()}
    assert recorded == {
        "config.yaml", "manifest.json", "metrics.jsonl", "stopped.json", "ranks.npz",
    }  # fmt: skip


def test_a_run_that_finishes_after_all_is_recorded_as_finished(
    sweep: sweeps.Sweep, tmp_path: Path
) -> None:
    place = records.record(sweep, tmp_path) / the_stopped(sweep).name
    finished_one = next(s.runs[0] for s in sweep.settings if finished(s.runs[0]))
    (place / "summary.json").write_text((finished_one / "summary.json").read_text())
    records.record(sweep, tmp_path)  # stopped it is, and nothing else
    assert not (place / "summary.json").exists()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("failing", ["manifest.json", "metrics.jsonl", "ranks.npz", "summary.json"])
def test_a_record_that_was_interrupted_counts_as_missing(
    failing: str,
    again: bool,
    sweep: sweeps.Sweep,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Be it the first, or one over a record of before."""
    run = next(s.runs[0] for s in sweep.settings if finished(s.runs[0]))
    if again:
        place = records.record(sweep, tmp_path) / run.name
        (place / "metrics.jsonl").write_text("")
    replaced = os.replace

    def full(source: Path, target: Path) -> None:
        if target.parent.name == run.name and target.name == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replaced(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            records.record(sweep, tmp_path)
    (place,) = tmp_path.rglob(run.name)
    assert not sweeps.ended(place)
    assert all(one.source != place for one in records.read(tmp_path))
    records.record(sweep, tmp_path)
    for name in records.WHOLE:
        if (run / name).exists():
            assert (place / name).read_bytes() == (run / name).read_bytes()


def test_options_that_are_new_have_their_defaults_in_old_records(
    sweep: sweeps.Sweep, tmp_path: Path
) -> None:
    records.record(sweep, tmp_path)
    place = next(tmp_path.rglob("summary.json")).parent
    text = (place / "config.yaml").read_text()
    older = [line for line in text.splitlines() if "settle_seconds" not in line]
    (place / "config.yaml").write_text("\n".join(older) + "\n")
    hashes = {run.config_hash for run in records.read(tmp_path)}
    assert hashes == {setting.config_hash for setting in sweep.settings}


def test_every_seed_is_read_as_itself(config: Path, tmp_path: Path) -> None:
    for place, words in enumerate((["seed=3"], ["seed=4"], ["seed=4", "model.rank=2"])):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "config.yaml").write_text(dump(load(config, words)))
        (folder / "summary.json").write_text("{}")
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "config.yaml").write_text(TINY)  # without a line for the seed
    (tmp_path / "short" / "summary.json").write_text("{}")
    found = [run.config for run in records.read(tmp_path)]
    assert [(one.seed, one.model.rank) for one in found] == [(3, 1), (4, 1), (4, 2), (0, 1)]
    assert found[1] == load(config, ["seed=4"])


def test_records_of_another_version_are_passed_over(sweep: sweeps.Sweep, tmp_path: Path) -> None:
    records.record(sweep, tmp_path)
    place = next(tmp_path.rglob("summary.json")).parent
    with (place / "config.yaml").open("a") as file:
        file.write("bygone: 1\n")
    assert len(list(records.read(tmp_path))) == 3


def test_a_line_that_is_no_run_is_told(sweep: sweeps.Sweep, tmp_path: Path) -> None:
    place = records.record(sweep, tmp_path, compact=True)
    with (place / "runs.jsonl").open("a") as file:
        file.write('{"hr@10": 1}\n')
    with pytest.raises(RunError, match=r"runs\.jsonl, line 5: not a recorded run"):
        list(records.read(tmp_path))


def test_a_folder_is_an_axis_of_its_files(config: Path, tmp_path: Path) -> None:
    for name, rank in (("b", 2), ("a", 1), ("c", 2)):
        (tmp_path / f"{name}.yaml").write_text(f"model: {{rank: {rank}}}\n")
    plan = sweeps.plan(config, [f"@{tmp_path}"], [0], None)
    assert [load(config, s.overrides).model.rank for s in plan.settings] == [1, 2]
    assert plan.settings[0].config_hash == config_hash(load(config, ["model.rank=1"]))
    # A file more, and it is the same sweep, however the folder is written; another folder is not.
    (tmp_path / "d.yaml").write_text("rounds: 4\n")
    grown = sweeps.plan(config, [f"@{tmp_path}/"], [1], None)
    assert len(grown.settings) == 3
    assert plan.name == grown.name
    assert plan.name.startswith(f"tiny_{tmp_path.name}-")
    assert plan.name != sweeps.plan(config, [f"@{tmp_path / '..' / tmp_path.name}"], [0], None).name


# --- places of their own --------------------------------------------------------------------------


def name(config: Path, *grid: str, seeds: tuple[int, ...] = (0,), out: Path | None = None) -> str:
    return sweeps.plan(config, grid, seeds, out).name


def test_a_sweep_has_one_name_however_it_is_written(config: Path, tmp_path: Path) -> None:
    usual = name(config, "protocol=bft,paper", "model.rank=1,2")
    assert usual.startswith("tiny_model.rank_protocol-")
    others = (
        name(config, "model.rank=2,1,2", "protocol=paper,bft"),
        name(config, "protocol=bft,paper", "model.rank=1,2", "rounds=12"),  # as the config has it
        name(config, "protocol=bft,paper", "model.rank=1,2", "store.kind=ipfs"),  # no result's
        name(config, "protocol=bft,paper", "model.rank=1,2", seeds=(3, 4)),
        name(config, "protocol=bft,paper", "model.rank=1,2", out=tmp_path / "out"),
    )
    assert {name.rpartition("-")[2] for name in others} == {usual.rpartition("-")[2]}
    assert set(others) == {usual}
    (tmp_path / "rank.yaml").write_text("model: {rank: 2}\n")
    assert name(config, "model.rank=2") == name(config, f"@{tmp_path / 'rank.yaml'}")
    assert name(config, "model.rank=2").startswith("tiny_model.rank=2-")


def test_sweeps_that_differ_have_names_that_differ(config: Path, tmp_path: Path) -> None:
    shares = ",".join(f"0.{share:03}" for share in range(30))  # far above 120 letters
    assert name(config, f"servers.malicious={shares},1/3") != name(
        config, f"servers.malicious={shares},0.4"
    )
    grids = ([], ["model.rank=1,2"], ["model.rank=2"], ["model.rank=2", "rounds=4"])
    assert len({name(config, *grid) for grid in grids}) == len(grids)
    # The same words, and another experiment.
    other = tmp_path / "tiny.yaml"
    other.write_text(TINY.replace("rounds: 12", "rounds: 13"))
    assert name(other, "model.rank=1,2") != name(config, "model.rank=1,2")
    assert name(other, "model.rank=1,2")[:16] == name(config, "model.rank=1,2")[:16]
    # A file that stands before an option says nothing against it; after it, it does.
    folder = tmp_path / "ranks"
    folder.mkdir()
    (folder / "two.yaml").write_text("model: {rank: 2}\n")
    assert name(config, f"@{folder}", "model.rank=1") != name(config, "model.rank=1", f"@{folder}")


def test_names_are_short(config: Path) -> None:
    words = ["rounds=3,4", "committee.size=2,3,4", "servers.malicious=0,1/3", "model.basis=fixed"]
    words += ["clients.per_round=4,5", "training.local_epochs=2,3", "evaluation.every=2,3"]
    assert len(name(config, *words)) == 89


def test_a_config_that_needs_its_sweep_has_a_name(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("rank: 1", "rank: 3"))  # above the dimension
    assert name(config, "model.rank=1,2").startswith("tiny_model.rank-")


def test_runs_of_other_seeds_join_those_recorded(config: Path, tmp_path: Path) -> None:
    """As folders and as lines; the table covers them all, in the order of their seeds."""
    kept, lines = tmp_path / "kept", tmp_path / "lines"
    grid = ["model.rank=1,2", "rounds=4"]
    for seeds in ((2,), (0, 1), (1,)):
        planned = sweeps.plan(config, grid, seeds, tmp_path / "runs")
        make_runs(planned)
        records.record(planned, kept)
        records.record(planned, lines, compact=True)
        shutil.rmtree(tmp_path / "runs")
    whole = sweeps.plan(config, grid, (0, 1, 2), tmp_path / "runs")
    keys = [(setting.config_hash, seed) for setting in whole.settings for seed in (0, 1, 2)]
    found = [(run.config_hash, run.config.seed) for run in records.read(lines)]
    assert found == keys
    assert sorted((run.config_hash, run.config.seed) for run in records.read(kept)) == sorted(keys)
    (place,) = kept.iterdir()
    assert place.name == whole.name == next(lines.iterdir()).name
    table = json.loads((place / "sweep.json").read_text())["settings"]
    assert [list(setting["runs"]) for setting in table] == [["0", "1", "2"]] * 2
    assert [setting["figures"]["hr@10"]["n"] for setting in table] == [3, 3]
    heads = {(run.config_hash, run.config.seed): run.summary["head"] for run in records.read(kept)}
    assert [run.summary["head"] for run in records.read(lines)] == [heads[key] for key in keys]


def test_the_table_covers_runs_that_are_recorded_elsewhere(config: Path, tmp_path: Path) -> None:
    one = sweeps.plan(config, ["rounds=4"], (0, 1), tmp_path / "runs")
    make_runs(one)
    there = records.record(one, tmp_path / "kept")
    for seed in (0, 1):
        sweep = sweeps.plan(config, ["rounds=4", "model.rank=1,2"], (seed,), tmp_path / "runs")
        make_runs(sweep)
        # As `bfedrec make` hands it over: what is recorded already in its place.
        setting = sweep.settings[0]
        recorded = replace(setting, runs={seed: there / setting.runs[seed].name})
        place = records.record(replace(sweep, settings=[recorded, sweep.settings[1]]), there.parent)
    table = json.loads((place / "sweep.json").read_text())["settings"]
    assert [list(setting["runs"]) for setting in table] == [["0", "1"]] * 2
    assert sum(path.is_dir() for path in place.iterdir()) == 2


@pytest.mark.parametrize("compact", [False, True])
def test_a_place_that_another_sweep_has_taken_is_refused(
    compact: bool,
    sweep: sweeps.Sweep,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before any run is made: `bfedrec sweep` and `bfedrec make` alike."""
    theirs = records.record(sweep, tmp_path / "kept", compact)
    planned = sweeps.plan(config, ["model.rank=2"], [0], None)
    theirs.rename(theirs.parent / planned.name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = ["model.rank=2", "--seeds", "0", "--record", str(tmp_path / "kept")]
    assert main(["sweep", str(config), *words, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert f"kept/{planned.name}/" in told.err
    assert "holds a run of another sweep (config hash " in told.err
    asked = [Experiment(config, ("model.rank=2",), "0", compact)]
    lines: list[str] = []
    with pytest.raises(RunError, match="holds a run of another sweep"):
        make_missing(asked, tmp_path / "kept", Processes(1), lines.append)
    with pytest.raises(RunError, match="holds a run of another sweep"):
        records.record(planned, tmp_path / "kept")
    assert lines == []
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_runs_on_different_data_are_no_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file was changed between the seeds, under one name and so under one config hash."""
    rows = [f"{user},{(7 * user + 3 * k) % 20},{k}" for user in range(20) for k in range(5)]
    file, path = tmp_path / "own.csv", tmp_path / "own.yaml"
    own = f"{{dataset: csv, csv: {{path: {file}, time: time, min_interactions: 2}}}}"
    path.write_text(re.sub("^data: .*$", f"data: {own}", TINY, flags=re.MULTILINE))
    for seed in (0, 1):
        file.write_text("\n".join(["user,item,time", *rows[seed:]]) + "\n")
        make_runs(sweeps.plan(path, ["rounds=2"], [seed], tmp_path / "runs"))
    sweep = sweeps.plan(path, ["rounds=2"], [0, 1], tmp_path / "runs")
    with pytest.raises(RunError, match=r"-s1: was made on data .*-s0 on .* need the same data"):
        sweeps.collect(sweep)
    words = ["sweep", str(path), "rounds=2", "--seeds", "0,1", "--out", str(tmp_path / "runs")]
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list((tmp_path / "runs").glob("sweep.*"))
    with pytest.raises(RunError, match="need the same data"):
        read_sweep(tmp_path / "runs")
    with pytest.raises(RunError, match="need the same data"):
        find([Experiment(path, ("rounds=2",), "0,1")], tmp_path / "runs")
    options = {"config": str(path), "rounds": 2, "out": tmp_path / "runs", "progress": False}
    with pytest.raises(RunError, match=r"-s0: the run was made on data .*those at hand are"):
        bf.sweep(seeds=[0, 1], **options)
    file.unlink()  # which then cannot tell
    with pytest.raises(RunError, match="need the same data"):
        bf.sweep(seeds=[0, 1], **options)
    assert len(bf.sweep(seeds=[1], **options)) == 1
