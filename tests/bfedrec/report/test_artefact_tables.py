"""The paper's tables: what they say of data, of recorded runs, and of what is not there."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.data.catalogue import load_catalogue
from bfedrec.data.settings import DataSettings
from bfedrec.evaluation.intervals import t_interval
from bfedrec.evaluation.metrics import Evaluation, Gain, HitRate
from bfedrec.report import published
from bfedrec.report.artefact import Experiment, Request, Runs, find
from bfedrec.report.figures import accuracy
from bfedrec.report.message_sizes import Envelope
from bfedrec.report.table import MISSING, Column, Row, shown
from bfedrec.report.tables import table1, table2, table3
from bfedrec.report.tables.table2 import Entry
from bfedrec.runs.folder import read_json
from bfedrec.runs.ranks import FILE, Ranks
from bfedrec.sweeps.recorded import Recorded
from bfedrec.sweeps.sweep import parse_seeds
from tests.bfedrec.sweeps.test_recorded import TINY
from tests.conftest import ROOT
from tests.helpers.commands import fork_runs

# --- Table I -------------------------------------------------------------------------------------


def test_table1_says_which_data_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BFEDREC_DATA", raising=False)
    monkeypatch.setattr("bfedrec.data.prepare.default_cache", lambda: tmp_path / "cache")
    assert main(["table", "table1", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "| ml-1m | users | 6,040 | missing |" in told.out
    assert "table1: 3 data sets are not at hand" in told.err
    assert "  bfedrec data prepare pinterest" in told.err.splitlines()


@pytest.mark.data
def test_table1_of_the_real_data(
    data_folder: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BFEDREC_DATA", str(data_folder))
    monkeypatch.setattr("bfedrec.data.prepare.default_cache", lambda: prepared)
    made = table1.make(Request())
    assert not made.lacking
    assert not made.wrong
    verdicts = {(row["data"], row["figure"]): row["verdict"] for row in made.table.rows}
    assert len(verdicts) == 12
    for name in ("ml-1m", "lfm-2k"):
        assert {verdicts[name, figure] for figure in table1.FIGURES.values()} == {"equal"}
    assert {row["check"] for row in made.table.rows} == {"ok"}


def test_a_count_that_is_wrong_is_told() -> None:
    paper = load_catalogue()["lfm-2k"].published
    ours = paper.model_copy(update={"users": 1599})
    users, *others = table1._rows("lfm-2k", paper, ours, paper)
    assert (users["difference"], users["verdict"], users["check"]) == (-1, "fewer", "wrong")
    assert {row["check"] for row in others} == {"ok"}


# --- Table II ------------------------------------------------------------------------------------


def recorded(folder: Path, seed: int, ranks: list[int], *overrides: str) -> Recorded:
    """A run that ranked the users' test items so; -1 is a user without one."""
    config = load(None, [f"seed={seed}", *overrides])
    rank = np.array(ranks)
    users = np.flatnonzero(rank >= 0)
    place = folder / f"{len(list(folder.iterdir()))}"
    place.mkdir()
    found = Evaluation(users, rank[users], 3 * rank[users], 10)
    (place / FILE).write_bytes(Ranks.of(found, len(ranks)).encode())
    return Recorded(place, config, found.means())


def runs(*found: Recorded) -> Runs:
    return Runs((), {run.config.seed: run for run in found})


def entry(method: str, key: str | None = None, data: str = "ML-1M") -> Entry:
    cell = ("bfedrec.table2", "ml-1m", key) if key else None
    return Entry(data, method, Experiment(Path("x.yaml")), cell)


INTERVAL = Column("x", "x", 6, interval=True)


def by_metric(rows: Any) -> dict[tuple[str, str], Row]:
    return {(row["method"], row["metric"]): row for row in rows}


def test_table2_compares_means_over_seeds_with_the_paper(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    good = runs(*(recorded(tmp_path, seed, list(draws.integers(0, 12, 400))) for seed in range(3)))
    rows = by_metric(table2.table([entry("BFedRec", "bfedrec")], [good]).rows)
    row = rows["BFedRec", "HR@10"]
    each = [run.summary["hr@10"] for run in good.finished]
    assert str(row["paper"]) == "0.60"
    assert row["ours"] == pytest.approx(np.mean(each))
    assert row["difference"] == pytest.approx(np.mean(each) - 0.60)
    assert (row["verdict"], row["seeds"]) == ("above", 3)
    assert row["full"] == pytest.approx(
        np.mean([run.summary["full_hr@10"] for run in good.finished])
    )
    assert "lead" not in row  # nobody leads himself


def test_table2_has_intervals_over_seeds_and_users(tmp_path: Path) -> None:
    """Wider than over seeds that all agree, and none where ranks or other seeds lack."""
    ranks = np.random.default_rng(0).integers(0, 20, 300).tolist()
    alike = runs(*(recorded(tmp_path, seed, ranks) for seed in range(3)))
    once, bare = runs(recorded(tmp_path, 0, ranks)), runs(*alike.finished)
    for seed, run in bare.by_seed.items():
        bare.by_seed[seed] = replace(run, source=tmp_path)
    entries = [entry("BFedRec", "bfedrec"), entry("once", "fedmf"), entry("bare", "gmf")]
    rows = by_metric(table2.table(entries, [alike, once, bare]).rows)
    hits = t_interval([float(rank < 10) for rank in ranks])
    assert shown(rows["BFedRec", "HR@10"]["interval"], INTERVAL) == shown(hits, INTERVAL)
    for method, seeds in (("once", 1), ("bare", 3)):
        row = rows[method, "HR@10"]
        assert (row["seeds"], row["verdict"]) == (seeds, "open")
        assert row["ours"] == pytest.approx(hits.mean)
        assert shown(row["interval"], INTERVAL) == ""


def test_table2_compares_methods_user_by_user(tmp_path: Path) -> None:
    ranks = np.random.default_rng(0).integers(0, 20, 300)
    ranks[:5] = -1
    worse = np.where(ranks < 0, -1, np.minimum(ranks + 4, 99))
    one, two = ranks.tolist(), worse.tolist()
    first = runs(recorded(tmp_path, 0, one), recorded(tmp_path, 1, one))
    other = runs(recorded(tmp_path, 0, two))
    level = runs(recorded(tmp_path, 0, one))
    entries = [entry("BFedRec"), entry("worse"), entry("the same")]
    rows = by_metric(table2.table(entries, [first, other, level]).rows)
    for metric, of_rank in (("HR@10", HitRate().of), ("NDCG@10", Gain().of)):
        row, tested = rows["worse", metric], ranks >= 0
        lead = (of_rank(ranks[tested], 10) - of_rank(worse[tested], 10)).mean()
        assert row["lead"] == pytest.approx(lead)
        assert row["lead_interval"].n == 295  # type: ignore[union-attr]
        assert 0.0 < row["p"] < 1e-9  # type: ignore[operator]
        assert rows["the same", metric]["p"] == 1.0
    fewer = table2.table(entries[:2], [first, other]).rows
    again = by_metric(fewer)["worse", "HR@10"]
    assert again["lead_interval"] == rows["worse", "HR@10"]["lead_interval"]


def test_table2_compares_no_runs_on_other_data(tmp_path: Path) -> None:
    first = runs(recorded(tmp_path, 0, [1, 2, 3]))
    others = [
        runs(recorded(tmp_path, 0, [1, 2, 3], "data.seed=1")),
        runs(recorded(tmp_path, 0, [1, 2, 3, 4])),
        runs(replace(recorded(tmp_path, 0, [1, 2, 3]), source=tmp_path)),  # without ranks
        runs(),
    ]
    for other in others:
        rows = table2.table([entry("BFedRec"), entry("it")], [first, other]).rows
        assert all("lead" not in row for row in rows)


def test_table2_shows_what_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["table", "table2", "--from", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    told = capsys.readouterr()
    assert "| ML-1M | BFedRec | HR@10 | 0.60 | missing |" in told.out
    runs = sum(len(parse_seeds(each.experiment.seeds)) for each in table2.ENTRIES)
    assert f"{runs} of {runs} runs" in told.err
    for each in table2.ENTRIES:
        assert f"  {each.experiment.command(tmp_path)}" in told.err.splitlines()


def test_table2_tells_what_others_have_published() -> None:
    ours, pinterest = table2.table([], []).notes[-2:]
    assert ours.startswith("ML-1M, HR / NDCG by others: at size 4 ")
    assert "CoLR 0.607 / 0.345, FedMF 0.442 / 0.243" in ours
    assert "popularity 0.4531 / 0.2542, item-kNN 0.6596 / 0.3900" in ours
    assert pinterest.startswith("Pinterest, HR / NDCG by others: at size 1 ")
    assert "CoLR 0.813 / 0.488" in pinterest


def test_every_entrys_config_and_published_figures_are_there() -> None:
    for method in accuracy.METHODS:
        assert (ROOT / method.experiment.config).exists()
    for each in table2.ENTRIES:
        assert (ROOT / each.experiment.config).exists()
        assert each.published is None or published.scores(*each.published)


def test_federated_methods_are_compared_at_the_same_budget() -> None:
    ours: dict[str, tuple[DataSettings, int, int, int]] = {}
    for each in table2.ENTRIES:
        config = load(ROOT / each.experiment.config, each.experiment.grid)
        if config.method != "federated":
            continue
        size = config.compression.size_for(config.model.dimension, config.model.rank)
        budget = (config.data, config.clients.per_round, config.rounds, size)
        first = ours.setdefault(each.data, budget)
        if each.method.startswith(table2.IALS):  # at most the rounds and the bytes
            assert (budget[:2], budget[2] <= first[2], size <= first[3]) == (first[:2], True, True)
        else:
            assert budget == first, each
        assert (config.training.virtual_share > 0) == (each.method == "FedRec")


def test_yardsticks_stand_beside_ours_on_every_data_set() -> None:
    ours: dict[str, DataSettings] = {}
    seen: dict[str, set[str]] = {}
    for each in table2.ENTRIES:
        config = load(ROOT / each.experiment.config, each.experiment.grid)
        assert config.data == ours.setdefault(each.data, config.data), each
        if config.method != "federated":
            assert config.method == each.method.lower().replace("-k", "_k"), each
            assert (each.experiment.seeds == "0") == (config.method in ("item_knn", "popularity"))
            paper = each.data not in ("LFM-2K distinct", table2.TRAINED)
            in_paper = config.method in ("gmf", "bpr") and paper
            assert (each.published is not None) == in_paper, each
            seen.setdefault(each.data, set()).add(config.method)
    assert list(ours) == [
        "ML-1M", table2.TRAINED, "Pinterest", "LFM-2K rows", "LFM-2K distinct"
    ]  # fmt: skip
    assert seen.pop(table2.TRAINED) == {"gmf", "bpr"}
    assert all(each == {"gmf", "bpr", "item_knn", "popularity"} for each in seen.values())


def test_no_two_lines_of_the_accuracy_figure_look_alike() -> None:
    labels = {method.label for method in accuracy.METHODS}
    assert set(accuracy.LOOKS) == labels
    assert len(set(accuracy.LOOKS.values())) == len(labels)


# --- Table III -----------------------------------------------------------------------------------


def rows_of_table3(folder: Path, *overrides: str) -> dict[tuple[str, int], Any]:
    made = table3.make(Request(overrides, None, folder))
    return {(row["method"], row["size"]): row for row in made.table.rows}  # type: ignore[misc]


def test_two_published_rows_follow_from_payload_to_the_last_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    rows = rows_of_table3(tmp_path)
    assert len(rows) == 20
    for (method, size), row in rows.items():
        follows = method in ("BFedRec", "top-K")
        assert (row["verdict"] == "equal") == follows, (method, size)
        assert not follows or f"{row['ours']:.2f}" == str(row["paper"])
    slower = rows_of_table3(tmp_path, "clients.upload_mib_per_s=0.2")
    assert {row["verdict"] for row in slower.values()} > {"above"}


def test_table3_needs_to_know_how_many_items(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["table", "table3", "data.dataset=synthetic"]) == 2
    told = capsys.readouterr().err
    assert "table3: data.dataset: 'synthetic': expected a data set whose items are known" in told


def test_table3_says_what_the_other_rows_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    notes = [
        one for one in table3.make(Request((), None, tmp_path)).table.notes if "not expl" in one
    ]
    assert [note.partition(":")[0] for note in notes] == ["sparsification", "SVD"]
    for key in table3.GUESSES:
        each = [float(one.value) / size for size, one in published.minutes(key).items()]
        assert any(later > 1.05 * one for one, later in pairwise(each))
    # By hand: 1.495 and 2.09 minutes per unit of size are at least 17 % from any one number.
    assert "no cost proportional to the size comes nearer than 17 %" in notes[0]
    assert "no cost proportional to the size comes nearer than 11 %" in notes[1]


def test_messages_are_as_large_as_those_of_a_run(tmp_path: Path) -> None:
    """The bytes by arithmetic are those that a run counts, but for the digits of its integers."""
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    by_item = "aggregation.rule=per_item"
    assert main(["run", str(config), by_item, "--out", str(tmp_path / "run")]) == 0
    found, summary = load(config, [by_item]), read_json(tmp_path / "run" / "summary.json")
    N, d = load_file(tmp_path / "run" / "model.safetensors")["Q"].shape
    envelope = Envelope(found, N, 4)
    each = found.rounds * found.clients.per_round
    assert summary["uplink_bytes"] / each == pytest.approx(envelope.up(1), abs=2)
    first = 4 * N * d - envelope.down(1)  # then participants fetch Q(0) instead
    down = summary["downlink_bytes_broadcast"] / each - first / found.rounds
    assert down == pytest.approx(envelope.down(1), abs=6)
    assert envelope.up(2) - envelope.up(1) == envelope.down(2) - envelope.down(1) == 4 * N
    plain = Envelope(load(config, ["aggregation.rule=samples"]), N, 4)
    assert envelope.up(1) - plain.up(1) == (N + 7) // 8  # a bit for each item


def test_table3_has_minutes_of_the_recorded_bytes() -> None:
    """A participant that fetches 0.75 MiB and sends 0.25 MiB a round takes two seconds of each."""
    config = load(None, ["rounds=300", "clients.per_round=2"])
    mib = 2**20
    end = {
        "uplink_bytes": 300 * 2 * 0.25 * mib,
        "downlink_bytes_broadcast": 300 * 2 * 0.75 * mib,
        "downlink_bytes_catch_up": 300 * 2 * 7.5 * mib,
        "simulated_seconds": 900.0,
    }
    found = table3._measured(runs(Recorded(Path("by-hand"), config, end)), config)
    assert found == pytest.approx({"recorded": 10.0, "catch_up": 55.0, "clock": 15.0})
    assert set(table3._measured(runs(), config).values()) == {MISSING}


def test_clocks_in_table3_are_of_runs_that_train_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row's clock is of runs with the same training, whichever runs its bytes are of."""
    monkeypatch.chdir(ROOT)
    settings = find(table3.experiments(), tmp_path).settings
    *others, own, clock = (runs[0].config for runs in settings)
    assert all(one.training == clock.training for one in others)
    assert own.training != clock.training
    assert [runs.config.model.rank for runs in settings[-1]] == list(table3.SIZES)
    notes = table3.make(Request((), None, tmp_path)).table.notes
    (note,) = (one for one in notes if "its clock is that" in one)
    assert "train on 52 samples" in note
    assert "train on 21, as those of the other rows do (21)" in note


def test_the_command_that_is_told_fills_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From nothing: the missing runs are named, made by the command given, and in the table."""
    fork_runs(monkeypatch)
    monkeypatch.chdir(ROOT)
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    experiment = Experiment(config, ("rounds=4",), "0-1")
    monkeypatch.setattr(table2, "ENTRIES", (replace(entry("it"), experiment=experiment),))
    words = ["table", "table2", "--from", str(tmp_path / "reference"), "--out", str(tmp_path)]
    assert main(words) == 2
    command = capsys.readouterr().err.splitlines()[-2].split()
    assert main([*command[1:], "--out", str(tmp_path / "runs")]) == 0
    assert main(words) == 0
    with (tmp_path / "table2.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["metric"], row["seeds"]) == ("HR@10", "2")
    assert 0.0 <= float(row["ours"]) <= 1.0
    before = (tmp_path / "table2.tex").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "table2.tex").read_bytes() == before
