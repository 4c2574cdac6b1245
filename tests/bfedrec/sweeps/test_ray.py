"""The engine of a cluster, on two real nodes: what they make is what processes here make."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.runs.figures import MEASURED
from bfedrec.sweeps.recorded import read
from tests.conftest import ROOT
from tests.helpers.commands import fork_runs
from tests.helpers.ray_cluster import ADDRESS, RayCluster, Unavailable, workers_of
from tests.helpers.tiny import TINY

ENGINE = ("--engine", f"ray://{ADDRESS}")
TIMES = ("id", "started", *MEASURED)
STAMP = re.compile(r"^\S+|\S+ clients/s|ETA .*$", re.MULTILINE)
PATIENCE = 120.0
"""Seconds after which something that has to happen has not: many times what it needs."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Two nodes on loopback, whose own folders are apart."""
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("nodes"))}
    environment.pop("BFEDREC_DATA", None)
    try:
        started = RayCluster(environment)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield started
    started.stop()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a tiny config."""
    fork_runs(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY, encoding="utf-8")
    return tmp_path


def ended(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit status of a command, and what it wrote."""
    output, errors = command.communicate(timeout=PATIENCE)
    return command.returncode, output, errors


def await_that(holds: Callable[[], object], command: subprocess.Popen[str]) -> None:
    """Wait until something holds, which it must before the command ends."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert command.poll() is None, command.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def begun(folder: str) -> list[Path]:
    """The runs in a folder that have evaluated their model."""
    return [path.parent for path in Path(folder).glob("*/metrics.jsonl")]


def without_times(path: Path) -> object:
    """The content of a run's file, but for what tells the time."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        return {key: content[key] for key in content if key not in TIMES}
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: line[key] for key in line if key not in TIMES} for line in lines]
    return STAMP.sub("", path.read_text()) if path.suffix == ".txt" else path.read_bytes()


def contents(folder: Path) -> dict[str, object]:
    """The files below a folder, as `without_times`."""
    return {
        path.relative_to(folder).as_posix(): without_times(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("state.sqlite", "sweep.csv", "sweep.json")
    }


def heads(folder: Path) -> dict[int, object]:
    """The last block of each recorded run by seed; no run is recorded twice."""
    runs = list(read(folder))
    found = {run.config.seed: run.summary["head"] for run in runs}
    assert len(found) == len(runs)
    return found


def swept(*words: str) -> dict[int, object]:
    """The heads of the runs that a sweep in processes here records in the folder `expected`."""
    kept = ["--out", "alone", "--record", "expected", "--compact", "--jobs", "2"]
    assert main([*words, *kept]) == 0
    return heads(Path("expected"))


def test_a_sweep_is_recorded_as_by_processes(
    cluster: RayCluster, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sweep", "tiny.yaml", "rounds=4", "model.rank=1,2", "--seeds", "0-1"]
    words += ["--out", "runs", "--record", "kept"]
    status, output, errors = ended(cluster.command(*words, *ENGINE))
    assert (status, errors) == (0, "")
    assert re.findall(r"^\[(\d)/4\] .* \d+ s$", output, re.MULTILINE) == list("1234")
    assert not list(here.rglob(".*"))
    local = here / "local"
    local.mkdir()
    shutil.copy("tiny.yaml", local)
    monkeypatch.chdir(local)
    assert main([*words, "--jobs", "2"]) == 0
    for folder in ("runs", "kept"):
        found, expected = contents(here / folder), contents(local / folder)
        for run in expected.values():
            if isinstance(run, dict) and "command" in run:
                run["command"] = ["__main__.py", *run["command"][1:]]
        assert len(expected) >= 4 * 5
        assert found == expected


def test_a_killed_worker_and_a_killed_node_cost_a_try(cluster: RayCluster, here: Path) -> None:
    words = ["sweep", "tiny.yaml", "rounds=80", "--seeds", "0-5"]
    if len(cluster.nodes) < 2:
        cluster.add()
    command = cluster.command(*words, "--out", "runs", "--record", "kept", "--compact", *ENGINE)
    head, other = cluster.nodes

    def at_work(node: int) -> list[int]:
        """The workers of a node that make a run which has come some way."""
        names = [str(path.absolute()) for path in begun("runs")]
        told = workers_of(node).items()
        return [process for process, name in told if name.removeprefix("ray::") in names]

    await_that(lambda: at_work(head), command)
    (worker,) = at_work(head)
    os.kill(worker, signal.SIGKILL)
    await_that(lambda: at_work(other), command)
    cluster.kill(other)
    status, output, errors = ended(command)
    assert (status, errors) == (0, "")
    assert re.findall(r"^\[(\d)/6\] .* \d+ s$", output, re.MULTILINE) == list("123456")
    assert heads(Path("kept")) == swept(*words)
    manifests = [path.read_text() for path in Path("runs").glob("*/manifest.json")]
    assert sum("resumed" in manifest for manifest in manifests) == 2


def test_a_node_that_dies_as_a_command_begins_costs_nothing(
    cluster: RayCluster, here: Path
) -> None:
    """The cluster lists it as living for some seconds more."""
    if len(cluster.nodes) < 2:
        cluster.add()
    command = cluster.command("torture", "--seeds", "0-3", "--servers", "4", *ENGINE)
    cluster.kill(cluster.nodes[-1])
    status, _, errors = ended(command)
    assert (status, errors) == (0, "")


def test_ctrl_c_ends_what_was_started_and_the_sweep_goes_on(
    cluster: RayCluster, here: Path
) -> None:
    words = ["sweep", "tiny.yaml", "rounds=60", "--seeds", "0-2"]
    kept = ["--out", "runs", "--record", "kept", "--compact"]
    before = {node: set(workers_of(node)) for node in cluster.nodes}
    command = cluster.command(*words, *kept, *ENGINE)
    await_that(lambda: begun("runs"), command)
    os.killpg(command.pid, signal.SIGINT)
    status, _, errors = ended(command)
    assert (status, errors) == (130, "interrupted; the same command continues the sweep\n")
    for node in cluster.nodes:
        left = {process: name for process, name in workers_of(node).items() if "/run-" in name}
        assert not left, before
    assert not list(here.rglob(".seen-*"))
    assert any("interrupted" in path.read_text() for path in Path("runs").glob("*/log.txt"))
    assert main([*words, *kept, "--jobs", "2"]) == 0
    assert heads(Path("kept")) == swept(*words)


def test_nodes_that_share_no_folder_send_theirs(cluster: RayCluster, here: Path) -> None:
    """The command sees another file system in its folder than the nodes do."""
    words = ["sweep", "tiny.yaml", "rounds=4", "--seeds", "0-1"]
    apart = here / "apart"
    apart.mkdir()
    kept = ["--out", f"{apart}/runs", "--record", f"{apart}/kept", "--compact"]
    status, output, errors = ended(cluster.command(*words, *kept, *ENGINE, apart=apart))
    assert (status, errors) == (0, ""), output
    assert not list(apart.iterdir())
    after = here / "apart-after"
    assert heads(after / "kept") == swept(*words)
    for path in (here / "alone").glob("run-*"):
        assert main(["audit", str(after / "runs" / path.name)]) == 0
        assert sorted(each.name for each in path.iterdir()) == sorted(
            each.name for each in (after / "runs" / path.name).iterdir()
        )


def test_data_that_a_node_lacks_are_told_in_one_line(cluster: RayCluster, here: Path) -> None:
    apart = here / "apart"
    apart.mkdir()
    Path("apart-before").mkdir()
    Path("apart-before/mine.csv").write_text("user,item,time\n" + "1,1,1\n" * 9, encoding="utf-8")
    words = ["sweep", "tiny.yaml", f"data={{dataset: csv, csv: {{path: {apart}/mine.csv}}}}"]
    words += ["--seeds", "0", "--out", f"{apart}/runs"]
    status, output, errors = ended(cluster.command(*words, *ENGINE, apart=apart))
    assert (status, output) == (2, "")
    assert re.fullmatch(r"bfedrec: ray://\S+: node \S+: csv: .*mine.csv: no such file.*\n", errors)


def test_another_version_on_a_node_is_told_in_one_line(cluster: RayCluster, here: Path) -> None:
    for package in ("bfedrec", "consensus"):
        shutil.copytree(ROOT / package, here / "tree" / package)
    with (here / "tree/bfedrec/section.py").open("a", encoding="utf-8") as file:
        file.write("# another version\n")
    words = ["torture", "--seeds", "0-9", *ENGINE]
    status, output, errors = ended(cluster.command(*words, tree=here / "tree"))
    assert (status, output) == (2, "")
    assert re.fullmatch(
        r"bfedrec: ray://\S+: node \S+: \S+ its bfedrec is another than here \(source \w{8}, not "
        r"\w{8}\): install the same on all nodes\n",
        errors,
    )


def test_trials_and_scenarios_are_those_of_this_machine(
    cluster: RayCluster, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", "tiny.yaml", "training.l2=0,0.01", "--rounds", "2", "--jobs", "1", "--out"]
    assert ended(cluster.command(*words, "there", *ENGINE))[0] == 0
    assert main([*words, "here"]) == 0
    found = []
    for folder in ("there", "here"):
        (path,) = Path(folder).glob("*.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            del line["seconds"]
            line["figures"] = {
                name: value for name, value in line["figures"].items() if name not in MEASURED
            }
        found.append(lines)
    assert found[0] == found[1]
    words = ["torture", "--seeds", "0-59", "--servers", "4"]
    status, output, _ = ended(cluster.command(*words, *ENGINE))
    capsys.readouterr()
    assert main([*words, "--jobs", "1"]) == status == 0
    table = [line for line in output.splitlines() if not line.startswith("  ") or "│" in line]
    assert table == [
        line
        for line in capsys.readouterr().out.splitlines()
        if not line.startswith("  ") or "│" in line
    ]


def test_a_cluster_of_this_machine_is_started_and_ended(cluster: RayCluster, here: Path) -> None:
    before = cluster.processes()
    words = ["sweep", "tiny.yaml", "rounds=4", "--seeds", "0-1"]
    kept = ["--out", "runs", "--record", "kept", "--compact", "--engine", "ray", "--jobs", "2"]
    status, _, errors = ended(cluster.command(*words, *kept))
    assert status == 0, errors
    assert heads(Path("kept")) == swept(*words)
    assert cluster.processes() <= before
