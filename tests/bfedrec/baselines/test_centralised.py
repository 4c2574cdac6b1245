"""The centralised methods: what they learn, how they are scored, what their run folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from bfedrec.baselines import centralised, item_knn
from bfedrec.cli.main import main
from bfedrec.config.centralised import CentralisedSettings
from bfedrec.config.load import load
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.evaluation.ranking import evaluate, evaluate_blocks
from bfedrec.runs.folder import read_metrics
from tests.helpers.commands import fork_runs
from tests.helpers.learning_data import held_out

SMALL = """
name: small
data: {dataset: synthetic, synthetic: {users: 150, items: 240, interactions_per_user: 20}}
"""
GMF = ["method=gmf", "model.dimension=8", "centralised.epochs=6", "centralised.step=0.1"]
BPR = ["method=bpr", "model.dimension=8", "centralised.epochs=6", "centralised.step=0.1"]
WALL = ("wall_seconds", "samples_per_second")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def lasting(summary: dict[str, float]) -> dict[str, float]:
    """What must not differ between two runs of one seed."""
    return {key: value for key, value in summary.items() if key not in WALL}


def full_ndcg(config: Path, *overrides: str) -> float:
    """Full-ranking NDCG@10 of a method on the validation items."""
    read = load(config, overrides)
    data = prepare(read.data)
    model = centralised.learn(read, data)
    return model.evaluate(data, "validation", 10, full=True).means()["full_ndcg@10"]


# --- popularity and what every method must bear -----------------------------------------------


def test_popularity_counts_training_interactions_alone() -> None:
    dataset = held_out(4, [[0, 1], [0], [0, 2], []], [3, 3, 3, 3], [[1, 2]] * 4)
    model = centralised.popularity(dataset)
    assert model.Q[:, 0].tolist() == [3, 1, 1, 0]  # item 3 is held out by everybody
    found = model.evaluate(dataset, "test", 10, full=True)
    assert found.rank.tolist() == [2, 2, 2, 2]


ODD = held_out(
    6,
    # Nobody trained on item 5; user 0 has nothing, user 1 every item, user 3 a repeated one.
    [[], [0, 1, 2, 3, 4, 5], [0, 1], [0, 0, 2], [1, 2]],
    [1, -1, 5, 4, 3],
    [[2, 3], [], [2, 3], [1, 3], [0, 4]],
)


@pytest.mark.parametrize("method", ["popularity", "item_knn", "gmf", "bpr"])
def test_empty_users_full_users_and_unseen_items_are_borne(method: str) -> None:
    extra = ["centralised.epochs=3"] if method in ("gmf", "bpr") else []
    model = centralised.learn(load(None, [f"method={method}", *extra]), ODD)
    found = model.evaluate(ODD, "test", 10, full=True)
    assert found.users.tolist() == [0, 2, 3, 4]
    assert (found.rank >= 0).all()
    if method == "item_knn":  # a user without anything scores all alike: ties count against
        assert found.rank[0] == 2


def test_no_data_at_all_leaves_the_factors_as_they_were() -> None:
    dataset = held_out(3, [[], []], [1, 2], [[0], [1]])
    for method in ("gmf", "bpr"):
        first, last = (
            centralised.learn(load(None, [f"method={method}", f"centralised.epochs={n}"]), dataset)
            for n in (1, 3)
        )
        assert np.array_equal(first.tensors()["Q"], last.tensors()["Q"])


# --- item_knn -----------------------------------------------------------------------------------


def plain_scores(dataset: Dataset, chosen: CentralisedSettings) -> np.ndarray:
    """Item-kNN as its definition reads, float64[M, N]."""
    X = np.zeros((dataset.users, dataset.items))
    for u in range(dataset.users):
        X[u, dataset.indices[dataset.indptr[u] : dataset.indptr[u + 1]]] = 1.0
    count, common = X.sum(axis=0), X.T @ X
    W = np.zeros((dataset.items, dataset.items))
    for i in range(dataset.items):
        similar = {}
        for j in range(dataset.items):
            if j != i and common[i, j]:
                below = count[i] ** chosen.asymmetry * count[j] ** (1 - chosen.asymmetry)
                similar[j] = common[i, j] / (below + chosen.shrink)
        best = sorted(similar, key=lambda j: (-similar[j], j))[: chosen.similar_items]
        for j in best:
            W[i, j] = similar[j]
    return X @ W.T


@given(
    st.integers(0, 2**32),
    st.integers(1, 25),
    st.integers(2, 20),
    st.integers(1, 30),
    st.sampled_from([0.0, 3.5]),
    st.sampled_from([0.5, 0.0, 1.0, 0.3]),
)
@settings(max_examples=40, deadline=None)
def test_item_knn_is_what_its_definition_says(
    seed: int, users: int, items: int, neighbours: int, shrink: float, asymmetry: float
) -> None:
    rng = np.random.default_rng(seed)
    training = [
        sorted(rng.integers(0, items, rng.integers(0, 2 * items)).tolist()) for _ in range(users)
    ]
    dataset = held_out(items, training, [-1] * users, [[]] * users)
    chosen = CentralisedSettings(similar_items=neighbours, shrink=shrink, asymmetry=asymmetry)
    found = item_knn.fit(dataset, chosen, threads=2)
    scores = item_knn.Scorer(found, dataset)(np.arange(users))
    assert scores == pytest.approx(plain_scores(dataset, chosen), rel=1e-12)
    assert np.array_equal(found.neighbours, item_knn.fit(dataset, chosen, 1).neighbours)
    assert ((found.neighbours >= 0) == (found.similarity > 0)).all()


def test_blocks_of_scores_rank_as_factors_do() -> None:
    rng = np.random.default_rng(4)
    users, items = 90, 70
    P, Q = (rng.integers(-2, 3, (n, 3)).astype(np.float32) for n in (users, items))  # many ties
    training = [np.flatnonzero(rng.random(items) < 0.3).tolist() for _ in range(users)]
    test = rng.integers(-1, items, users).tolist()
    negatives = [rng.permutation(items)[: rng.integers(0, 60)].tolist() for _ in range(users)]
    dataset = held_out(items, training, test, negatives)
    by_factors = evaluate(P, Q, dataset, "test", k=5)
    by_blocks = evaluate_blocks(lambda who: P[who] @ Q.T, dataset, "test", k=5, threads=2)
    assert np.array_equal(by_factors.users, by_blocks.users)
    assert np.array_equal(by_factors.rank, by_blocks.rank)
    assert np.array_equal(by_factors.full_rank, by_blocks.full_rank)
    assert by_factors.means() == by_blocks.means()
    assert evaluate_blocks(lambda who: P[who] @ Q.T, dataset, "test", full=False).full_rank is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_scorer_that_is_not_finite_is_an_error_never_a_score(broken: float) -> None:
    with pytest.raises(NotFinite, match="NaN or infinity"):
        evaluate_blocks(lambda who: np.full((len(who), 6), broken), ODD, "test")


# --- gmf and bpr ---------------------------------------------------------------------------------


def test_matrix_factorisation_beats_popularity(config: Path) -> None:
    popular = full_ndcg(config, "method=popularity")
    for method in (GMF, BPR):
        assert full_ndcg(config, *method, "centralised.epochs=20") > popular + 0.05


def test_item_knn_beats_popularity(config: Path) -> None:
    assert full_ndcg(config, "method=item_knn") > full_ndcg(config, "method=popularity") + 0.05


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "tensors", "lines"),
    [
        (["method=popularity"], {"P", "Q"}, 1),
        (["method=item_knn"], {"neighbours", "similarity"}, 1),
        ([*GMF, "evaluation.every=4"], {"P", "Q"}, 2),
        ([*BPR, "evaluation.every=1"], {"P", "Q"}, 6),
    ],
)
def test_a_run_leaves_everything_but_a_chain(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    tensors: set[str],
    lines: int,
) -> None:
    out = tmp_path / "run"
    assert main(["run", str(config), *words, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        "config.yaml", "manifest.json", "metrics.jsonl",
        "ranks.npz", "summary.json", "model.safetensors",
        "curves.png", "log.txt", "lock",
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert {"hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"} <= summary.keys()
    assert summary["users_scored"] == 150
    metrics = read_metrics(out)
    assert len(metrics) == lines
    assert metrics[-1]["height"] == summary["epochs"]
    assert metrics[-1]["split"] == "validation"
    assert set(load_file(out / "model.safetensors")) == tensors
    capsys.readouterr()
    assert main(["audit", str(out)]) == 2
    assert "no chain to audit" in capsys.readouterr().err


@pytest.mark.parametrize("method", [GMF, BPR, ["method=item_knn"]])
def test_same_seed_same_figures_and_a_resume_begins_anew(
    config: Path, tmp_path: Path, method: list[str]
) -> None:
    words = ["run", str(config), *method, "evaluation.every=2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out in (whole, cut):
        assert main([*words, "--out", str(out)]) == 0
    (cut / "summary.json").unlink()  # as if it had been killed before its end
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"height": 4, "torn')
    assert main([*words, "--out", str(cut), "--resume"]) == 0
    ends = [json.loads((out / "summary.json").read_text()) for out in (whole, cut)]
    assert lasting(ends[0]) == lasting(ends[1])
    assert [[lasting(line) for line in read_metrics(out)] for out in (whole,)] == [
        [lasting(line) for line in read_metrics(out)] for out in (cut,)
    ]
    models = [(out / "model.safetensors").read_bytes() for out in (whole, cut)]
    assert models[0] == models[1]
    assert "begins anew" in (cut / "log.txt").read_text()


def test_another_seed_learns_something_else(config: Path) -> None:
    assert full_ndcg(config, *GMF) != full_ndcg(config, *GMF, "seed=1")


def test_steps_that_are_too_large_end_a_run_with_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(config), *GMF, "centralised.step=1e20", "--out", str(tmp_path / "run")]
    assert main(words) == 1
    errors = capsys.readouterr().err
    assert "epoch 1: the factors are no longer finite numbers; lower centralised.step" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=gmff"], "did you mean 'gmf'?"),
        (["method=gmf", "rounds=50"], "rounds: 50: expected 1000, as method gmf does not read it"),
        (["method=gmf", "servers.malicious=1/3"], "servers.malicious"),
        (["method=gmf", "training.negatives=4"], "training.negatives: 4: expected 6, as method"),
        (
            ["method=gmf", "centralised.similar_items=9"],
            "centralised.similar_items: 9: expected 100",
        ),
        (["method=bpr", "centralised.output_weights=ones"], "method bpr does not read it"),
        (["method=popularity", "model.dimension=8"], "model.dimension: 8: expected 64"),
        (["method=item_knn", "centralised.step=0.1"], "method item_knn does not read it"),
        (["centralised.epochs=3"], "centralised.epochs: 3: expected 20, as method federated"),
        (["method=gmf", "centralised.step=0"], "centralised.step: 0: expected float > 0"),
    ],
)
def test_an_option_that_the_method_does_not_read_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["run", str(config), *words]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_a_sweep_tabulates_methods_beside_each_other(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_runs(monkeypatch)
    words = ["sweep", str(config), "method=popularity,item_knn", "--seeds", "0,1"]
    record = tmp_path / "record"
    assert main([*words, "--out", str(tmp_path / "runs"), "--record", str(record)]) == 0
    table = json.loads((tmp_path / "runs" / "sweep.json").read_text())["settings"]
    assert [row["overrides"] for row in table] == [["method=popularity"], ["method=item_knn"]]
    for row in table:
        assert row["figures"]["hr@10"]["n"] == 2
        assert row["figures"]["hr@10"]["low"] == row["figures"]["hr@10"]["high"]  # no draws
    assert len(list(record.rglob("summary.json"))) == 4


# --- MovieLens-1M --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ml_1m(data_folder: Path, prepared: Path) -> Dataset:
    return prepare("ml-1m", data_folder, prepared, download=False)


def test_popularity_on_movielens_is_what_others_report(ml_1m: Dataset) -> None:
    means = centralised.popularity(ml_1m).evaluate(ml_1m, "test", 10, full=True).means()
    assert means["hr@10"] == pytest.approx(0.4531, abs=0.002)  # Ferrari Dacrema et al., 2019
    assert means["ndcg@10"] == pytest.approx(0.2542, abs=0.002)


def test_item_knn_on_movielens_is_near_what_others_report(ml_1m: Dataset) -> None:
    model = centralised.learn(load(None, ["method=item_knn"]), ml_1m)
    means = model.evaluate(ml_1m, "test", 10, full=True).means()
    assert means["hr@10"] > 0.64
    assert means["ndcg@10"] > 0.375
