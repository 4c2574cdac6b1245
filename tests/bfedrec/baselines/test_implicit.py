"""The centralised methods of the library implicit: against ours, and in runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

import bfedrec as bf
from bfedrec.baselines import centralised, implicit
from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.learning.implicit_als import solve
from bfedrec.learning.upload import Diverged
from tests.bfedrec.baselines.test_centralised import ODD, SMALL, WALL

pytest.importorskip("implicit", reason="the library implicit is not installed")

ALS = ["method=implicit_als", "model.dimension=8", "centralised.epochs=5", "centralised.l2=1"]
BPR = ["method=implicit_bpr", "model.dimension=8", "centralised.epochs=5", "centralised.step=0.1"]
BOTH = pytest.mark.parametrize("words", [ALS, BPR], ids=["als", "bpr"])


# -- against ours ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    N=st.integers(2, 30),
    d=st.integers(1, 8),
    alpha=st.floats(0.05, 2.0),
    l2=st.floats(0.005, 1.0),
)
def test_a_users_factors_are_those_of_our_ials_but_for_a_scale(
    seed: int, N: int, d: int, alpha: float, l2: float
) -> None:
    """As the module's text has it: theirs = (1 + alpha) ours."""
    from implicit.cpu.als import AlternatingLeastSquares

    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((N, d)).astype(np.float32)
    own = np.flatnonzero(rng.random(N) < 0.4)
    ours = solve(Q.astype(np.float64), own, np.ones(len(own)), alpha, l2)
    model = AlternatingLeastSquares(
        factors=d,
        regularization=l2 * (len(own) / alpha + N),
        alpha=1 + 1 / alpha,
        num_threads=1,
        dtype=np.float64,
    )
    model.item_factors = Q.astype(np.float64)
    row = csr_matrix((np.ones(len(own)), own, [0, len(own)]), shape=(1, N), dtype=np.float32)
    theirs = model.recalculate_user(0, row)
    assert theirs == pytest.approx((1 + alpha) * ours, rel=1e-4, abs=1e-5)


@pytest.mark.data
def test_on_movielens_100k_its_als_is_as_good_as_our_ials(tmp_path: Path) -> None:
    """Within 0.03 of each other, our clients solving 250 rounds of 60, and far above popularity.
    Its BPR draws popular negatives and so falls short of ours, by less than 0.2."""
    data = ["data={dataset: ml-100k}"]
    size = "model={dimension: 32, rank: 32, basis: hadamard, init_scale: 0.5}"
    run = bf.learn(
        "quickstart.yaml",
        *data,
        size,
        "training={method: ials, unobserved: 0.3, l2: 0.01}",
        "optimizer={kind: row_adaptive}",
        "aggregation={rule: uniform}",
        "compression={kind: dense, size: 32}",
        "clients={per_round: 60}",
        "rounds=250",
        "evaluation={every: 250}",
        out=tmp_path / "ials",
        progress=False,
    )
    ours = run.summary["hr@10"]
    found = {}
    for method, words in {
        "implicit_als": ["centralised={epochs: 10, l2: 20, confidence: 4.33}"],
        "implicit_bpr": ["centralised={epochs: 50, step: 0.02, l2: 0.003}"],
        "bpr": ["centralised={epochs: 30, step: 0.03, l2: 0.01, item_bias: true}"],
        "popularity": [],
    }.items():
        sized = ["model.dimension=32"] if words else []
        config = load(None, [*data, f"method={method}", *sized, *words])
        read = prepare(config.data)
        scored = centralised.learn(config, read, 1).evaluate(read, "test", 10, full=False)
        found[method] = scored.means()["hr@10"]
    assert abs(found["implicit_als"] - ours) < 0.03
    assert found["popularity"] + 0.1 < found["implicit_bpr"]
    assert found["bpr"] - 0.2 < found["implicit_bpr"] < found["bpr"]


# -- runs -----------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@BOTH
def test_a_seed_gives_the_same_run_again(config: Path, tmp_path: Path, words: list[str]) -> None:
    summaries = []
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        out = tmp_path / name
        assert main(["run", str(config), *words, f"seed={seed}", "--out", str(out)]) == 0
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        summaries.append({key: value for key, value in summary.items() if key not in WALL})
    assert summaries[0] == summaries[1] != summaries[2]
    assert summaries[0]["epochs"] == 5
    assert summaries[0]["full_hr@10"] > 2 * 10 / 240, "twice what chance would"


@BOTH
def test_repeats_count_once_and_odd_users_are_borne(words: list[str]) -> None:
    read = load(None, words)
    found = centralised.learn(read, ODD)
    scored = found.evaluate(ODD, "test", 10, full=True)
    assert scored.users.tolist() == [0, 2, 3, 4]
    assert all(np.isfinite(each).all() for each in found.tensors().values())


def test_epochs_go_on_from_each_other() -> None:
    """Five epochs one by one are the library's five at once."""
    from implicit.cpu.als import AlternatingLeastSquares

    read = load(None, [*ALS, "centralised.confidence=4"])
    *_, (P, Q) = implicit.epochs(read, ODD)
    from bfedrec.baselines.item_knn import distinct
    from bfedrec.streams import Streams

    indptr, indices = distinct(ODD)
    model = AlternatingLeastSquares(
        8,
        1.0,
        4.0,
        use_cg=False,
        iterations=5,
        num_threads=1,
        random_state=Streams(0).generator("initial", 0),
    )
    ones = np.ones(len(indices), np.float32)
    model.fit(csr_matrix((ones, indices, indptr), shape=(ODD.users, ODD.items)), False)
    assert np.array_equal(P, model.user_factors)
    assert np.array_equal(Q, model.item_factors)


def test_what_diverges_is_told() -> None:
    words = ["method=implicit_bpr", "centralised.epochs=30", "centralised.step=1e30"]
    with pytest.raises(Diverged, match=r"raise centralised\.l2, or lower centralised\.step"):
        centralised.learn(load(None, words), ODD)


def test_options_that_a_method_does_not_read_are_refused() -> None:
    for words, key in (
        (["method=implicit_als", "centralised.step=0.5"], "centralised.step"),
        (["method=implicit_bpr", "centralised.confidence=3"], "centralised.confidence"),
        (["method=bpr", "centralised.confidence=3"], "centralised.confidence"),
        (["method=implicit_als", "clients.per_round=9"], "clients.per_round"),
    ):
        with pytest.raises(ConfigError, match=f"{key}.*does not read it"):
            load(None, words)


def test_without_the_library_it_is_refused_in_one_line(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(implicit, "find_spec", lambda name: None)
    assert main(["run", str(config), *ALS, "--out", str(tmp_path / "out")]) == 2
    told = "method: 'implicit_als': this needs implicit: pip install 'bfedrec[implicit]'\n"
    assert capsys.readouterr().err.endswith(told)
