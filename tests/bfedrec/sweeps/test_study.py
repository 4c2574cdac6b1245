"""The record of a study, and its trials: what is kept, continued, refused and told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.evaluation.metrics import tunable
from bfedrec.runs.folder import RunError
from bfedrec.sweeps.engines.processes import Processes
from bfedrec.sweeps.space import parse, propose
from bfedrec.sweeps.study import Plan, Study, Trial, budgets
from bfedrec.sweeps.trials import _task, run
from tests.bfedrec.sweeps.test_tuning import ORDERED, SMALL

WORDS = ("training.item_step=0.01..2:log", "training.negatives=1..8", "model.rank=2,4")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("small.yaml")
    path.write_text(SMALL)
    return path


def plan(config: Path, *words: str, seed: int = 0, metric: str = "ndcg") -> Plan:
    space = parse(words or WORDS)
    return Plan(config, load(config), space, metric, "TPE", seed, (0,))


def trial(number: int, score: float | None) -> Trial:
    failed = "" if score is not None else "round 1: client 3 diverged"
    return Trial(number, {"training.l2": 0.1 * number}, 2.5, "abc", score, {}, failed)


def tuned(folder: str, *words: str, trials: int = 6, seed: int = 0) -> list[Trial]:
    """The trials that the command has recorded, without seconds and speeds."""
    command = ["tune", "small.yaml", *(words or WORDS), "--rounds", "3", "--out", folder]
    assert main([*command, "--trials", str(trials), "--seed", str(seed)]) == 0
    (path,) = Path(folder).glob("*.jsonl")
    return recorded(path)


def recorded(path: Path) -> list[Trial]:
    found = [Trial.of(line) for line in path.read_text().splitlines()]
    return [
        replace(each, seconds=0.0, figures={**each.figures, "clients_per_second": 0.0})
        for each in found
    ]


# --- the record ----------------------------------------------------------------------------------


def test_a_trial_is_a_line() -> None:
    for each in (trial(3, 0.25), trial(4, None)):
        assert each.line().count("\n") == 1
        assert Trial.of(each.line()) == each


def test_a_study_is_known_by_what_its_proposals_depend_on(config: Path) -> None:
    name = plan(config).name
    assert name.startswith("small-")
    others = [
        plan(config, *WORDS[:2]),
        plan(config, seed=1),
        plan(config, metric="hr"),
        replace(plan(config), seeds=(0, 1)),
        replace(plan(config), config=load(config, ["training.l2=0.5"])),
    ]
    assert len({name, *(other.name for other in others)}) == 6
    same = load(config, ["training.item_step=0.5", "model.rank=4", "name=other", "seed=3"])
    assert replace(plan(config), config=same).name == name  # of what is searched no value counts


def test_what_has_ended_is_kept_and_a_torn_line_is_not(config: Path, tmp_path: Path) -> None:
    with Study.open(plan(config), tmp_path) as study:
        for each in (trial(0, 0.2), trial(2, 0.3), trial(1, None)):
            study.append(each)
        assert study.lacking(5) == [3, 4]
    with study.path.open("a") as file:
        file.write(trial(3, 0.9).line()[:-5])
    study.budget_path.unlink()  # a kill may also have come between the line and the budget
    with Study.open(plan(config), tmp_path) as again:
        assert again.trials == study.trials
        assert study.budget_path.exists()
        assert [each.number for each in again.ranked()] == [2, 0]
        assert [score for _, score in again.scored()] == [0.2, 0.2, 0.3]  # a failure is the worst
        again.append(trial(3, 0.4))
    assert [each.number for each in recorded(study.path)] == [0, 2, 1, 3]
    content = json.loads(study.budget_path.read_text())
    assert (content["trials"], content["failed"], content["seconds"]) == (4, 1, 10.0)
    assert content["best"] == {"trial": 3, "score": 0.4, "values": {"training.l2": 0.1 * 3}}
    assert content["space"]["training.item_step"] == "0.01..2.0:log"
    (budget,) = budgets(tmp_path)
    assert (budget.config, budget.trials, budget.sampler) == ("small.yaml", 4, "TPE")


def test_another_process_keeps_its_study(config: Path, tmp_path: Path) -> None:
    with (
        Study.open(plan(config), tmp_path),
        pytest.raises(RunError, match="another process is writing this study"),
    ):
        Study.open(plan(config), tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        '{"trial": 0, "values": [], "score": 1, "figures": {}, "seconds": 1, "commit": ""}',
        '{"trial": 0, "values": {}, "score": "1", "figures": {}, "seconds": 1, "commit": ""}',
    ],
)
def test_a_file_of_another_kind_is_refused(config: Path, tmp_path: Path, line: str) -> None:
    path = tmp_path / f"{plan(config).name}.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RunError, match=r"line 1: not a trial"):
        Study.open(plan(config), tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(RunError, match=r"other\.json: not the budget of a study"):
        budgets(tmp_path)


def test_a_study_does_not_go_on_with_other_data(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file was changed under its name, of which the study's name knows nothing."""
    rows = [f"{user},{(7 * user + 3 * k) % 40},{k}" for user in range(20) for k in range(8)]
    own = ["user,item,time", *rows]
    words = ["data.dataset=csv", "data.csv.path=own.csv", "data.csv.time=time"]
    command = ["tune", "small.yaml", *words, "data.csv.min_interactions=3", "training.l2=0.1,0.2"]
    command += ["--rounds", "2", "--out", "a"]
    Path("own.csv").write_text("\n".join(own) + "\n")
    assert main(command) == main(command) == 0
    (budget,) = Path("a").glob("*.json")
    before = [path.read_bytes() for path in sorted(Path("a").iterdir())]
    Path("own.csv").write_text("\n".join(own[:-1]) + "\n")
    capsys.readouterr()
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "its trials were made on data" in told
    assert told.count("\n") == 1
    assert [path.read_bytes() for path in sorted(Path("a").iterdir())] == before
    earlier = json.loads(budget.read_text())  # of a version that did not tell
    del earlier["data"]
    budget.write_text(json.dumps(earlier))
    assert main(command) == 0


# --- trials --------------------------------------------------------------------------------------


def test_the_same_seed_tries_and_scores_the_same(config: Path) -> None:
    first, again, other = tuned("a"), tuned("b"), tuned("c", seed=1)
    assert first == again
    assert [each.point for each in first] != [each.point for each in other]
    assert len({each.score for each in first}) > 2


def test_a_study_that_is_interrupted_goes_on_as_if_it_had_not_been(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in its thirteenth trial, where TPE has begun to learn, it loses that one alone."""
    made = 0

    def killed(*arguments: object, **named: object) -> dict[str, float]:
        nonlocal made
        made += 1
        if made == 13:
            raise KeyboardInterrupt
        return real(*arguments, **named)  # type: ignore[arg-type]

    from bfedrec.sweeps.tuning import score as real

    monkeypatch.setattr("bfedrec.sweeps.trials.score", killed)
    command = ["tune", "small.yaml", *WORDS, "--rounds", "3", "--out", "a", "--trials", "16"]
    assert main(command) == 130
    assert "the same command continues" in capsys.readouterr().err
    (path,) = Path("a").glob("*.jsonl")
    assert len(recorded(path)) == 12
    assert main(command) == 0
    assert "12 of 16 trials have been made already" in capsys.readouterr().out
    assert made == 13 + 4
    assert recorded(path) == tuned("b", trials=16)
    scored = [(each.point, each.score) for each in recorded(path) if each.score is not None]
    assert scored[12][0] == propose(parse(WORDS), 0, 12, scored[:12])
    assert tuned("a", trials=10) == recorded(path)  # fewer than there are: nothing to do


def test_a_killed_command_leaves_whole_trials(config: Path) -> None:
    """SIGKILL, when at least two trials are on the disk."""
    words = [sys.executable, "-m", "bfedrec", "tune", "small.yaml", *WORDS, "--out", "a"]
    process = subprocess.Popen([*words, "--trials", "500"], stdout=subprocess.DEVNULL)
    try:
        while sum(len(path.read_bytes().splitlines()) for path in Path("a").glob("*.jsonl")) < 3:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (path,) = Path("a").glob("*.jsonl")
    before = path.read_text().rpartition("\n")[0].splitlines()
    assert main(["tune", "small.yaml", *WORDS, "--out", "a", "--trials", str(len(before) + 1)]) == 0
    after = path.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_a_proposal_knows_what_is_running(config: Path, tmp_path: Path) -> None:
    with Study.open(plan(config), tmp_path) as study:
        for number in range(12):
            point = propose(study.plan.space, 7, number, [])
            study.append(replace(trial(number, number / 10), point=point))
        alone, beside = (_task(study, 12, running, 1, False) for running in ((), [point] * 5))
    assert alone.point == propose(study.plan.space, 0, 12, study.scored()) != beside.point
    words = [f"{key}={value}" for key, value in alone.point.items()]
    assert alone.configs == (load(config, [*words, "seed=0"]),)


def test_several_at_a_time_make_every_trial_once(config: Path) -> None:
    with Study.open(plan(config, *WORDS, "rounds=3"), Path("a")) as study:
        told: list[str] = []
        run(study, 3, Processes(2), None, told.append)
    assert sorted(each.number for each in study.trials) == [0, 1, 2]
    assert len({str(each.point) for each in study.trials}) == 3
    assert told[-1].startswith("[3/3] ")
    alone = tuned("b", trials=1)
    assert next(each.score for each in study.trials if each.number == 0) == alone[0].score


def test_a_process_that_dies_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bfedrec.sweeps.callers._serve", os._exit)
    with (
        Study.open(plan(config), Path("a")) as study,
        pytest.raises(
            RunError, match=r"trial [01]: its process died 3 times, the last time with status 1"
        ),
    ):
        run(study, 2, Processes(2), None, lambda line: None)
    assert study.trials == []


def test_choices_alone_may_have_all_their_combinations(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Optuna; what diverges or disagrees is a failed trial, the best is listed first."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    words = ["training.item_step=0.001,1,1e30", "model.dimension=8,2", "model.rank=2,4"]
    assert main(["tune", "small.yaml", *words, "--out", "a", "--metric", "hr"]) == 0
    (path,) = Path("a").glob("*.jsonl")
    found = {tuple(each.point.values()): each for each in recorded(path)}
    assert len(found) == 12
    assert "round 1: client" in found["1e30", "8", "2"].failed
    assert "rank" in found["1", "2", "4"].failed
    assert all((each.score is None) == bool(each.failed) for each in found.values())
    listed = capsys.readouterr().out.split("best first:\n")[1].splitlines()
    best = max(each.score for each in found.values() if each.score is not None)
    assert listed[0].endswith(f"  {best:.4f}")
    (budget,) = budgets(Path("a"))
    assert (budget.trials, budget.sampler) == (12, "all combinations")
    assert budget.failed == sum(each.score is None for each in found.values())
    assert budget.objective == "validation_hr@10"


def test_a_study_without_any_score_is_a_failed_check(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["training.item_step=1e20,1e30", "--rounds", "3", "--out", "a"]
    assert main(["tune", "small.yaml", *words]) == 1
    output, errors = capsys.readouterr()
    assert "best first" not in output
    assert errors.endswith("bfedrec: no trial has a score: every one failed\n")
    (budget,) = budgets(Path("a"))
    assert (budget.trials, budget.failed) == (2, 2)


def test_a_study_of_scoring_alone_selects_by_ordered_metrics(config: Path) -> None:
    fixed = [*ORDERED[:-1], "rounds=2"]
    words = ["evaluation.recency_weight=0.1,50", "evaluation.l2=0.001,0.3"]
    command = ["tune", "small.yaml", *fixed, *words, "--out", "a", "--metric", "ordered_ndcg"]
    assert main(command) == 0
    (budget,) = budgets(Path("a"))
    assert budget.objective == "validation_ordered_ndcg@10"
    (path,) = Path("a").glob("*.jsonl")
    found = recorded(path)
    assert len({each.score for each in found}) == 2  # by the weight, not by the order-blind l2
    assert len({each.figures["validation_full_ndcg@10"] for each in found}) == 2
    space = parse([*fixed, *words])
    assert set(tunable()) <= {
        name.removeprefix("validation_").partition("@")[0] for name in found[0].figures
    }
    alone = Plan(config, space.checked(config), space, "ordered_ndcg", "TPE", 0, (0,))
    assert alone.scores_alone
    assert alone.better == 1
    assert not plan(config, *words, "training.l2=0.1,0.2").scores_alone


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["training.stepp=0.1..1", "--trials", "3"], "training.stepp: unknown key"),
        (["training.l2=1..0.1", "--trials", "3"], "LOW below HIGH"),
        (["training.l2=0..0.1:log", "--trials", "3"], "a LOW above 0"),
        (["training.l2=0..0.1"], "a range needs --trials"),
        (["rounds=3", "--trials", "3"], "--trials needs an option to search"),
        (["training.l2=0..0.1", "--trials", "0"], "--trials 0: expected int >= 1"),
        (["--jobs", "0"], "--jobs 0: expected int >= 1"),
        (["--rounds", "0"], "--rounds 0: expected int >= 1"),
        (["--threads", "-1"], "--threads -1: expected int >= 1"),
        (["--seed", "-1"], "--seed -1: expected int >= 0"),
        (["--seeds", "2-0"], "--seeds '2-0'"),
        (["rounds=3", "--rounds", "3"], "rounds: given twice"),
        (["data.validation=train", "training.l2=0,0.1"], "leaves no validation items"),
        (["--metric", "mrr"], "--metric"),
        (["--metric", "ordered_hr"], "evaluation.recency: false: expected true"),
    ],
)
def test_bad_input_ends_in_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], why: str
) -> None:
    assert main(["tune", "small.yaml", "--out", "a", *words]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
    assert not Path("a").exists()
