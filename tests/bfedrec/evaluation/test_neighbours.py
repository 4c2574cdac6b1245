"""Scores by the neighbours of a user's own items: the formula, by hand and in the evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.evaluation import neighbours
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.evaluation.neighbours import RIDGE, NeighbourScores, whitened
from bfedrec.federation.scoring import scoring_of
from tests.bfedrec.runs.test_simulation import SMALL
from tests.helpers.learning_data import csr

ITEMS, D = 30, 5
OWN = [[], [3], [3, 3, 7], list(range(ITEMS)), [0, 29, 4]]


def factors() -> tuple[np.ndarray, np.ndarray]:
    """P of some users and Q, one of whose items has factors 0."""
    rng = np.random.default_rng(2)
    P, Q = rng.standard_normal((len(OWN), D)), rng.standard_normal((ITEMS, D))
    Q *= np.linspace(0.1, 3.0, ITEMS)[:, None]
    Q[11] = 0
    return P.astype(np.float32), Q.astype(np.float32)


def by_hand(P: np.ndarray, Q: np.ndarray, strength: float, power: int) -> np.ndarray:
    """The formula of the module, item by item."""
    G = Q.T.astype(np.float64) @ Q / len(Q)
    M = np.linalg.inv(G + RIDGE * np.trace(G) / len(G) * np.eye(len(G)))
    scores = (P @ Q.T).astype(np.float64)
    for u, own in enumerate(OWN):
        for i in range(len(Q)):
            for j in own:
                lengths = np.sqrt((Q[i] @ M @ Q[i]) * (Q[j] @ M @ Q[j]))
                if i != j and lengths > 0:
                    cosine = Q[i] @ M @ Q[j] / lengths
                    scores[u, i] += strength / np.sqrt(len(own)) * max(cosine, 0) ** power
    return scores


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("strength", "power"), [(2.0, 1), (0.7, 4), (5.0, 9)])
def test_scores_are_those_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, kept: bool, strength: float, power: int
) -> None:
    if not kept:
        monkeypatch.setattr(neighbours, "MOST_KEPT", 4 * ITEMS * ITEMS - 1)
    P, Q = factors()
    scores = NeighbourScores(P, Q, Q, csr(OWN), strength, power, threads=3)
    users = np.array([4, 0, 2, 3, 1])
    expected = by_hand(P, Q, strength, power)[users]
    assert scores(users) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_threads_and_what_is_kept_move_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    (P, Q), users = factors(), np.arange(len(OWN))
    one, two = (NeighbourScores(P, Q, Q, csr(OWN), 2.0, 4, n)(users).tobytes() for n in (1, 4))
    assert one == two
    monkeypatch.setattr(neighbours, "MOST_KEPT", 0)
    assert NeighbourScores(P, Q, Q, csr(OWN), 2.0, 4)(users).tobytes() == one


def test_a_common_direction_makes_no_neighbours() -> None:
    """All items of half the catalogue lie along one direction, as popularity is; the plain cosine
    has all of them alike, the whitened one tells them apart."""
    rng = np.random.default_rng(0)
    Q = rng.standard_normal((200, 8)) * 0.3
    Q[:, 0] += 3.0
    unit = Q / np.linalg.norm(Q, axis=1, keepdims=True)
    white = whitened(Q.astype(np.float32))
    assert np.linalg.norm(white, axis=1) == pytest.approx(np.ones(200), rel=1e-5)
    assert np.median(unit @ unit.T) > 0.9
    assert abs(np.median(white @ white.T)) < 0.3


def test_a_model_that_is_not_finite_is_refused_by_the_evaluation() -> None:
    config = load(None, [*SMALL, "evaluation.neighbours=1"])
    data = prepare(config.data)
    P = np.zeros((data.users, config.model.dimension), np.float32)
    Q = np.zeros((data.items, config.model.dimension), np.float32)
    assert scoring_of(config, data, Q, P).evaluate("test", 10, True).blind.means()["hr@10"] == 0
    for bad in (np.nan, np.inf):
        Q[3, 0] = bad
        with pytest.raises(NotFinite):
            scoring_of(config, data, Q, P + 1).evaluate("test", 10, True)


def test_they_change_the_order_blind_scores_alone() -> None:
    words = [*SMALL, "training.method=ials", "evaluation.recency=true", "evaluation.norm=-0.3"]
    data = prepare(load(None, words).data)
    rng = np.random.default_rng(1)
    Q = rng.standard_normal((data.items, load(None, words).model.dimension)).astype(np.float32)
    P = np.zeros((data.users, Q.shape[1]), np.float32)
    plain = scoring_of(load(None, words), data, Q, P)
    near = scoring_of(load(None, [*words, "evaluation.neighbours=3"]), data, Q, P)
    assert near.scorer is not None
    with_them, without = near.evaluate("test", 10, True), plain.evaluate("test", 10, True)
    assert with_them.ordered is not None
    assert without.ordered is not None
    assert with_them.ordered.means() == without.ordered.means()
    assert with_them.blind.rank.tolist() != without.blind.rank.tolist()
    targets, everyone = [3, 7], np.ones(data.users, np.bool_)
    assert near.exposure(targets, 10, everyone) != plain.exposure(targets, 10, everyone)
    few = np.arange(5)
    assert plain.scorer is None
    score = near.scorer(few) - near.P[few] @ near.Q.T
    assert (score >= -1e-4).all(), "neighbours only add"
    assert score.max() > 0.1
