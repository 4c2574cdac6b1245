"""The command line as a person meets it: exit statuses, one-line errors, interrupt and resume."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from bfedrec.cli.main import main
from bfedrec.config.help import options
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.figures import MEASURED
from bfedrec.runs.folder import RunFolder, default_path
from bfedrec.sweeps import sweep as sweeps
from consensus.encoding.cid import node_cid
from consensus.simulation.results import Forked
from consensus.simulation.world import World
from tests.helpers import tiny
from tests.helpers.commands import Command, fork_runs
from tests.helpers.halting import await_halt, halting

TINY = f"name: tiny\nrounds: 4\n{tiny.TINY}evaluation: {{every: 2}}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def start(environment: dict[str, str], *words: object) -> subprocess.Popen[str]:
    """The command in an interpreter of its own."""
    command = [sys.executable, "-m", "bfedrec", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: COMMAND"),
        (["rum"], "invalid choice: 'rum'"),
        (["run"], "required: CONFIG"),
        (["run", "missing.yaml"], "missing.yaml: cannot be read"),
        (["run", "/dev/null", "modle.rank=3"], "'model'"),
        (["run", "/dev/null", "model.rnk=3"], "did you mean 'model.rank'?"),
        (["run", "/dev/null", "--oot", "x"], "unrecognized arguments: --oot"),
        (["run", "/dev/null", "servers.malicious=31"], "servers.malicious: 31"),
        (["run", "/dev/null", "servers.malicious=silnt:1/3"], "(did you mean silent?)"),
        (["run", "/dev/null", "faults=[{los: 0.1}]"], "(did you mean loss?)"),
        (["sweep", "/dev/null", "seed=1,2"], "use --seeds"),
        (["sweep", "/dev/null", "model.rank=1,x"], "model.rank: 'x'"),
        (["sweep", "/dev/null", "--seeds", "4-0"], "--seeds '4-0'"),
        (["sweep", "/dev/null", "--jobs", "0"], "--jobs 0"),
        (["sweep", "/dev/null", "--compact"], "--compact: expected --record DIR"),
        (["audit", "no-such-run"], "no-such-run"),
        (["data", "check", "ml-2m"], "'ml-2m'"),
        (["data", "prepare", "synthetic", "data.synthetic.users=x"], "data.synthetic.users: 'x'"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    output, errors = capsys.readouterr()
    assert said in errors
    assert errors.count("\n") == 1
    assert output == ""


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    for key in options():
        assert f"  {key}  (" in text


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "sweep", "audit", "data", "version"):
        assert main([command, "--help"]) == 0
        assert f"usage: bfedrec {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert "\nbfedrec 0." in capsys.readouterr().out


def test_a_bug_is_not_dressed_up_as_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("bfedrec.cli.version.versions", broken)
    with pytest.raises(KeyError):
        main(["version"])


def test_a_run_leaves_its_folder_and_is_not_run_twice(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["run", str(config), "rounds=3", "--out", str(out), "seed=2"]  # overrides anywhere
    assert main(words) == 0
    names = {path.name for path in out.iterdir()}
    assert names >= {
        "config.yaml", "manifest.json", "metrics.jsonl", "summary.json", "chain.sqlite",
        "model.safetensors", "ranks.npz", "curves.png", "log.txt",
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["rounds"], summary["blocks"]) == (3, 3)
    assert load(out / "config.yaml").seed == 2
    capsys.readouterr()
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert "finished already" in capsys.readouterr().out
    assert main([*words, "--resume", "model.rank=2"]) == 2
    assert "model.rank" in capsys.readouterr().err
    assert main(["audit", str(out)]) == 0


def test_an_interrupted_run_says_how_to_go_on_and_ends_the_same(
    config: Path, tmp_path: Path
) -> None:
    words = ["run", str(config), "rounds=20"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    process = Command(*words, "--out", tmp_path / "cut", env=halting(tmp_path / "halt", 7))
    await_halt(tmp_path / "halt", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130, output + errors
    assert errors.count("\n") == 1
    command = errors.strip().partition("continue with: bfedrec ")[2].split()
    assert not (tmp_path / "cut" / "summary.json").exists()
    assert main(command) == 0
    ends = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "cut")]
    same = [{key: end[key] for key in end if key not in MEASURED} for end in ends]
    assert same[0] == same[1]


@pytest.mark.slow
def test_a_run_killed_five_times_ends_the_same(config: Path, tmp_path: Path) -> None:
    words = ["run", str(config), "rounds=300", "ledger.retain_updates=all"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "cut"
    for kill in range(5):
        halt = halting(tmp_path / "halt", 20 + 50 * kill, calls=1 + 700 * kill)
        process = start(halt, *words, "--out", out, "--resume")
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert main([*words, "--out", str(out), "--resume"]) == 0
    ends = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "cut")]
    for key in ("head", "hr@10", "ndcg@10", "simulated_seconds", "uplink_bytes", "gossip_bytes"):
        assert ends[0][key] == ends[1][key], key
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]
    assert main(["audit", str(out)]) == 0


def test_sigterm_is_an_interrupt(config: Path, tmp_path: Path) -> None:
    process = start(halting(tmp_path / "halt", 3), "run", config, "--out", tmp_path / "run")
    await_halt(tmp_path / "halt", process)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "--resume" in errors


def test_a_reader_that_leaves_is_no_traceback(config: Path) -> None:
    command = f"{sys.executable} -m bfedrec run --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("usage")
    assert done.stderr == ""


def test_servers_that_cannot_agree_end_a_run_with_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(config), "servers.malicious=silent:3/4", "--out", str(tmp_path / "run")]
    assert main(words) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith("bfedrec: height 1: after ")
    assert "0 of 4 servers have a block" in errors
    assert "failed: height 1: after " in (tmp_path / "run" / "log.txt").read_text()
    assert main([*words, "--resume"]) == 1, "it ends the same way again"
    assert capsys.readouterr().err == errors


def test_a_fork_ends_a_run_with_one_line(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forks(self: World, *_: object) -> NoReturn:
        raise Forked(self.head.height + 1, *(node_cid(half) for half in (b"one", b"other")))

    monkeypatch.setattr(World, "run_height", forks)
    assert main(["run", str(config), "--out", str(tmp_path / "run")]) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "height 1: servers appended different blocks (a fork): bafy" in errors
    assert json.loads((tmp_path / "run" / "stopped.json").read_text())["stopped"] == "forked"


# --- sweeps ---------------------------------------------------------------------------------------


def test_a_sweep_runs_what_is_missing_and_tells_the_means(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fork_runs(monkeypatch)
    out = tmp_path / "sweep"
    words = ["sweep", str(config), "model.rank=1,2", "--seeds", "0,1", "--out", str(out)]
    # One run is there already, another was begun.
    done = default_path(load(config, ["model.rank=2", "seed=1"]), out)
    assert main(["run", str(config), "model.rank=2", "seed=1", "--out", str(done)]) == 0
    when = (done / "summary.json").stat().st_mtime_ns
    begun = load(config, ["model.rank=1", "seed=0"])
    RunFolder.open(begun, default_path(begun, out)).close()
    capsys.readouterr()
    assert main([*words, "--jobs", "2"]) == 0
    output = capsys.readouterr().out
    assert "1 of 4 runs are finished already" in output
    assert sum(line.startswith("[") for line in output.splitlines()) == 3
    assert (done / "summary.json").stat().st_mtime_ns == when
    table = json.loads((out / "sweep.json").read_text())
    assert [setting["overrides"] for setting in table["settings"]] == [
        ["model.rank=1"], ["model.rank=2"],
    ]  # fmt: skip
    for setting in table["settings"]:
        values = [
            json.loads((out / name / "summary.json").read_text())["ndcg@10"]
            for name in setting["runs"].values()
        ]
        found = setting["figures"]["ndcg@10"]
        assert found["n"] == 2
        assert found["mean"] == pytest.approx(sum(values) / 2)
        assert found["low"] <= min(values) <= max(values) <= found["high"]
    with (out / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["setting"] for row in rows} == {"model.rank=1", "model.rank=2"}
    # Nothing left to do, and the same table; recorded with what is small of every run.
    assert main([*words, "--record", str(tmp_path / "reference")]) == 0
    assert json.loads((out / "sweep.json").read_text()) == table
    (recorded,) = (tmp_path / "reference").iterdir()
    assert recorded.name.startswith(f"{config.stem}_model.rank-")
    assert (recorded / "sweep.csv").read_bytes() == (out / "sweep.csv").read_bytes()
    names = [name for setting in table["settings"] for name in setting["runs"].values()]
    assert sorted(path.name for path in recorded.iterdir() if path.is_dir()) == sorted(names)
    for name in names:
        kept = {path.name for path in (recorded / name).iterdir()}
        assert kept == {
            "config.yaml", "manifest.json", "metrics.jsonl", "ranks.npz", "summary.json"
        }  # fmt: skip


def test_a_run_that_fails_is_told_and_the_others_are_made(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    words = ["sweep", str(config), "data.csv.path=missing.csv", "data.dataset=csv,synthetic"]
    assert main([*words, "--seeds", "0", "--out", str(out)]) == 2
    output = capsys.readouterr().out
    assert "data.dataset=csv seed=0: failed: bfedrec: " in output
    assert "missing.csv" in output
    assert len(json.loads((out / "sweep.json").read_text())["settings"]) == 1


@pytest.mark.parametrize("background", [False, True])
def test_an_interrupted_sweep_stops_its_runs(
    config: Path, tmp_path: Path, background: bool
) -> None:
    """By Ctrl-C; or, where that is ignored, as in a job in the background, by SIGTERM."""
    out = tmp_path / "sweep"
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN) if background else None
    try:
        halt = halting(tmp_path / "halt", 3)
        process = start(halt, "sweep", config, "--seeds", "0", "--out", out)
    finally:
        if background:
            signal.signal(signal.SIGINT, usual)
    run = default_path(load(config, ["seed=0"]), out)
    await_halt(tmp_path / "halt", process)
    process.send_signal(signal.SIGTERM if background else signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "continues the sweep" in errors
    # The run has let its folder go: it is not writing any more.
    RunFolder.open(load(config, ["seed=0"]), run, resume=True).close()


def test_settings_of_a_sweep_are_the_grid_without_repetition(config: Path) -> None:
    plan = sweeps.plan(config, ["model.rank=1,2,1", "model.basis=seeded,fixed"], [0, 5], None)
    assert [setting.overrides for setting in plan.settings] == [
        ("model.rank=1", "model.basis=seeded"),
        ("model.rank=1", "model.basis=fixed"),
        ("model.rank=2", "model.basis=seeded"),
        ("model.rank=2", "model.basis=fixed"),
    ]
    assert all(list(setting.runs) == [0, 5] for setting in plan.settings)
    paths = {path for setting in plan.settings for path in setting.runs.values()}
    assert len(paths) == 8


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", ["1"]),
        ("a,b", ["a", "b"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("{a: [1,2]},x", ["{a: [1,2]}", "x"]),
        ("'a,b',c", ["'a,b'", "c"]),
    ],
)
def test_values_are_split_outside_of_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert sweeps.split_values(text) == values


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("7", [7]), ("3,0-1,3", [3, 0, 1])]
)
def test_seeds(text: str, seeds: Sequence[int]) -> None:
    assert sweeps.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "-1", "a", "1-", "3-1", "1..2", "0-99999999"])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        sweeps.parse_seeds(text)
