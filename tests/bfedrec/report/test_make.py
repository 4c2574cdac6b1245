"""`bfedrec make`: what artefacts lack, made as one piece of work that can be interrupted."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from bfedrec.cli import figure as figure_command
from bfedrec.cli.main import main
from bfedrec.report import missing_runs as making
from bfedrec.report import registry
from bfedrec.report.artefact import RECORDED, Experiment, Runs
from bfedrec.report.missing_runs import make_missing
from bfedrec.report.style import Rows
from bfedrec.report.tables import ablations, table2
from bfedrec.report.tables.table2 import Entry
from bfedrec.sweeps import recorded as records
from bfedrec.sweeps import sweep as sweeps
from bfedrec.sweeps.engines.processes import Processes
from bfedrec.sweeps.sweep import parse_seeds, plan
from tests.bfedrec.sweeps.test_recorded import TINY
from tests.conftest import ROOT
from tests.helpers.commands import fork_runs
from tests.helpers.halting import await_halt, halting

CONFIG = Path("tiny.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a tiny config and artefacts of it alone."""
    fork_runs(monkeypatch)
    monkeypatch.chdir(tmp_path)
    CONFIG.write_text(TINY)
    Path("more").mkdir()
    Path("more/rank.yaml").write_text("model: {rank: 2}\n")
    entries = (
        Entry("data", "one", Experiment(CONFIG, ("rounds=4",), "0-1")),
        Entry("data", "two", Experiment(CONFIG, ("rounds=4", "model.basis=fixed"), "0")),
    )
    monkeypatch.setattr(table2, "ENTRIES", entries)
    monkeypatch.setattr(ablations, "REFERENCE", Experiment(CONFIG, ("rounds=4",), "0"))
    monkeypatch.setattr(ablations, "CHANGES", Experiment(CONFIG, ("rounds=4", "@more"), "0"))
    compact = Experiment(CONFIG, ("rounds=4", "committee.size=3,4"), "0", compact=True)
    tables = {name: registry.tables()[name] for name in ("table2", "ablations")}
    cost = replace(registry.figures()["cost"], experiments=lambda: (compact,), rows=heads)
    monkeypatch.setattr(registry, "tables", lambda: tables)
    monkeypatch.setattr(registry, "figures", lambda: {"cost": cost})
    return tmp_path


def heads(runs: list[Runs]) -> Rows:
    """What a figure may be made of."""
    return [
        {"stopped": len(one.stopped), "head": run.summary["head"]}
        for one in runs
        for run in one.finished
    ]


def draws_nothing(monkeypatch: pytest.MonkeyPatch) -> list[Rows]:
    """Figures that would be written."""
    written: list[Rows] = []

    def write(figure: object, rows: Rows, *rest: object) -> list[Path]:
        written.append(rows)
        return []

    kind = replace(registry.figures()["cost"], draw=lambda rows: Figure())
    monkeypatch.setattr(registry, "figures", lambda: {"cost": kind})
    monkeypatch.setattr(figure_command, "write", write)
    return written


def test_it_makes_all_that_is_missing_once_and_writes_everything(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = draws_nothing(monkeypatch)
    assert main(["make", "--jobs", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    # Three of table2, one more of the ablations, whose reference is table2's; two of the figure,
    # of which a committee of 4 is what the config says anyway.
    assert told[0] == "5 of 5 runs are to be made, 2 at a time"
    ends = [line for line in told if line.startswith("[")]
    assert [line.partition("]")[0] for line in ends] == [f"[{n}/5" for n in range(1, 6)]
    assert all(" left" in line for line in ends[:-1])
    assert " left" not in ends[-1]
    with Path("results/tables/table2.csv").open() as file:
        assert [row["seeds"] for row in csv.DictReader(file)] == ["2", "2", "1", "1"]
    assert "model.rank=2" in Path("results/tables/ablations.md").read_text()
    assert len(written[0]) == 2
    folders = {path.name.rpartition("-")[0] for path in Path("results/reference").iterdir()}
    assert folders == {
        "tiny_rounds=4",
        "tiny_model.basis=fixed_rounds=4",
        "tiny_rounds=4_more",
        "tiny_committee.size_rounds=4",
    }
    assert main(["make"]) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if "runs" in line]
    # Nothing but records is needed: neither run folders, nor what is not asked for.
    (here / "results/runs").rename(here / "gone")
    assert main(["make", "table2", "model.basis=fixed"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("1 of 2 runs are to be made, 1 at a time; about ")


def the_table(folder: Path) -> dict[str, Any]:
    """The table of the only sweep recorded below a folder."""
    (path,) = folder.glob("*/sweep.json")
    return dict(json.loads(path.read_text()))


def test_more_seeds_join_those_that_are_recorded(here: Path) -> None:
    experiment = Experiment(CONFIG, ("rounds=4",), "0")
    lines: list[str] = []
    assert make_missing([experiment], Path("kept"), Processes(1), lines.append) == 0
    Path("results/runs").rename("gone")
    assert (
        make_missing([replace(experiment, seeds="0-1")], Path("kept"), Processes(1), lines.append)
        == 0
    )
    assert [line.startswith("1 of ") for line in lines] == [True, False, True, False]
    assert lines[-1].startswith("[2/2] tiny.yaml rounds=4 seed=1: ")
    table = the_table(Path("kept"))
    assert list(table["settings"][0]["runs"]) == ["0", "1"]
    assert table["settings"][0]["figures"]["hr@10"]["n"] == 2
    assert len(list(records.read(Path("kept")))) == 2


def test_lines_that_are_recorded_need_no_run_folder(here: Path) -> None:
    experiment = Experiment(CONFIG, ("rounds=4",), "0", compact=True)
    lines: list[str] = []
    assert make_missing([experiment], Path("kept"), Processes(2), lines.append) == 0
    Path("results/runs").rename("gone")
    assert (
        make_missing([replace(experiment, seeds="0-1")], Path("kept"), Processes(2), lines.append)
        == 0
    )
    assert [line[:9] for line in lines if " are " in line] == ["1 of 1 ru", "1 of 2 ru"]
    assert [run.config.seed for run in records.read(Path("kept"))] == [0, 1]


def test_seeds_asked_for_apart_are_recorded_together(here: Path) -> None:
    asked = [Experiment(CONFIG, ("rounds=4",), seeds) for seeds in ("1", "0", "1")]
    assert make_missing(asked, Path("kept"), Processes(2), lambda line: None) == 0
    table = the_table(Path("kept"))
    assert list(table["settings"][0]["runs"]) == ["0", "1"]


def test_a_run_that_fails_is_told_and_the_rest_is_made(here: Path) -> None:
    wrong = Experiment(CONFIG, ("rounds=4", "data.dataset=csv", "data.csv.path=none.csv"), "0")
    right = Experiment(CONFIG, ("rounds=4",), "0")
    lines: list[str] = []
    assert make_missing([wrong, right], Path("kept"), Processes(1), lines.append) == 2
    assert "none.csv" in lines[1]
    assert len(list(records.read(Path("kept")))) == 1


def test_time_left_is_that_of_like_runs() -> None:
    sweep = making.Sweep(CONFIG, [], "", Path())
    job = making.Job(CONFIG, (), 0, Path())
    parts = [
        making._Part(sweep, False, [job, job], [10.0, 20.0]),
        making._Part(sweep, False, [job], [60.0]),
        making._Part(sweep, False, [job], []),
    ]
    # Two of 15 s, one of 60 s, and one as long as the three known on average.
    assert making._left(parts, 2) == "; about 1m00s left"
    assert making._left(parts[2:], 2) == ""
    parts[0].left = parts[2].left = 0
    assert making._left(parts, 2) == "; about 1m00s left"  # a run left is not made by two


def test_an_interrupted_make_goes_on(here: Path) -> None:
    words = ["make", "table2", "rounds=20", "--seeds", "0"]
    code = (
        "import sys; from pathlib import Path; from bfedrec.report.tables import table2; "
        "from bfedrec.report.artefact import Experiment; from bfedrec.cli.main import main; "
        "from bfedrec.report.tables.table2 import Entry; "
        "table2.ENTRIES = (Entry('d', 'm', Experiment(Path('tiny.yaml'))),); "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.PIPE,
        env=halting(here / "halt", 7),
    )
    await_halt(here / "halt", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "interrupted; the same command goes on\n")
    log = next(Path().rglob("log.txt"))
    assert "interrupted" in log.read_text()
    assert not list(Path("results/reference").rglob("summary.json"))
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.startswith("1 of 1 runs are to be made")
    (manifest,) = Path("results/reference").rglob("manifest.json")
    assert len(json.loads(manifest.read_text())["resumes"]) == 1
    assert Path("results/tables/table2.tex").exists()


def test_what_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make", "table9"]) == 2
    assert "command line: make 'table9': not one of table1, table2, " in capsys.readouterr().err
    assert main(["make", "table2", "--jobs", "0"]) == 2
    assert "--jobs 0" in capsys.readouterr().err


def recorded_sweeps() -> dict[str, tuple[sweeps.Sweep, bool]]:
    """Every sweep that the Makefile records, by name, and whether as lines: those of all artefacts,
    and those that it names itself."""
    kinds = [*registry.tables().values(), *registry.figures().values()]
    experiments = [one for kind in kinds for one in kind.experiments()]
    told = subprocess.run(
        ["make", "--dry-run", "results", "behaviours"], capture_output=True, text=True, check=True
    )
    nested = re.compile(r"\$\(\S*bfedrec ([^)]*)\)")  # as the shell would put in what it prints
    output = nested.sub(lambda command: _printed(command[1].split()), told.stdout)
    for line in output.replace("\\\n", " ").splitlines():
        if "bfedrec sweep" in line:
            words = shlex.split(line)
            (config,) = (Path(word) for word in words if word.endswith(".yaml"))
            grid = tuple(word for word in words if "=" in word)
            seeds = words[words.index("--seeds") + 1]
            experiments.append(Experiment(config, grid, seeds, "--compact" in words))
    found: dict[str, tuple[sweeps.Sweep, bool]] = {}
    for one, seeds in making._merged(experiments).items():
        sweep = plan(one.config, one.grid, seeds, None)
        found[sweep.name] = sweep, one.compact
    return found


def _printed(words: list[str]) -> str:
    """The standard output of a `bfedrec` command, without the last line's end."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(words) == 0
    return printed.getvalue().rstrip("\n")


def test_recorded_sweeps_are_where_they_would_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in the folder of its name with all its seeds, and none besides; and a table says what
    the recorded runs came to. No run of an artefact is still to be recorded."""
    monkeypatch.chdir(ROOT)
    found = recorded_sweeps()
    assert len(found) > 40
    known = {(run.config_hash, run.config.seed): run.source for run in records.read(RECORDED)}
    lacking = {
        name
        for name, (sweep, _) in found.items()
        for setting in sweep.settings
        if not {(setting.config_hash, seed) for seed in setting.runs} <= known.keys()
    }
    assert lacking == set()
    assert {path.name for path in RECORDED.iterdir()} == set(found)
    for sweep, compact in found.values():
        place = records.place_of(sweep, RECORDED)  # raises where a run is another sweep's
        assert (place / "runs.jsonl").exists() == compact
        settings = []
        for setting in sweep.settings:
            runs = {seed: known[setting.config_hash, seed] for seed in setting.runs}
            settings.append(replace(setting, runs=runs))
        if not compact:
            whole = replace(sweep, settings=settings, folder=tmp_path)
            sweeps.write(whole, sweeps.collect(whole))
            for name in ("sweep.csv", "sweep.json"):
                assert (place / name).read_bytes() == (tmp_path / name).read_bytes()


def test_runs_that_several_artefacts_need_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    kinds = [*registry.tables().values(), *registry.figures().values()]
    experiments = [one for kind in kinds for one in kind.experiments()]
    assert all(one.config.exists() for one in experiments)
    needed, parts = making._parts(experiments, {})
    asked = [
        path
        for one in experiments
        for setting in plan(one.config, one.grid, parse_seeds(one.seeds), None).settings
        for path in setting.runs.values()
    ]
    assert needed < len(set(asked)) < len(asked)  # the reference has two names, and runs two askers
    paths = [job.path for part in parts for job in part.jobs]
    assert len(paths) == len(set(paths)) <= needed
