"""The factors by which users are scored, order-blind and with recency."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation.scoring import scoring_of
from bfedrec.learning import implicit_als
from tests.bfedrec.runs.test_simulation import SMALL

ORDERED = (*SMALL, "training.method=ials", "evaluation.recency=true", "evaluation.recency_norm=0.5")


@pytest.mark.parametrize("power", [0.0, 1.5])
def test_ordered_ranks_are_of_the_solved_factors_and_the_scaled_items(power: float) -> None:
    """Ranks of `Scoring` against the scores of the readable solve, p . q_i / sqrt(|q_i|)."""
    config = load(None, (*ORDERED, f"evaluation.recency_power={power}"))
    data, told = prepare(config.data), config.evaluation
    Q = np.random.default_rng(1).standard_normal((data.items, config.model.dimension))
    Q = (Q * np.linspace(0.1, 2.0, data.items)[:, None]).astype(np.float32)
    P = np.zeros((data.users, config.model.dimension), np.float32)
    scores = scoring_of(config, data, Q, P).evaluate("test", 10, full=True)
    assert scores.ordered is not None
    assert scores.ordered.full_rank is not None
    places, exact = data.places, Q.astype(np.float64)
    for at, user in enumerate(scores.ordered.users):
        own = slice(data.indptr[user], data.indptr[user + 1])
        late = np.where(places[own] < 0, np.inf, places[own])
        falling = (1 + late / told.recency_places) ** -power
        weights = 1 + told.recency_weight * (
            falling if power else np.exp(-late / told.recency_places)
        )
        p = implicit_als.solve(
            exact, data.indices[own], weights, told.recency_unobserved, told.recency_l2
        )
        score = exact @ p / np.sqrt(np.linalg.norm(exact, axis=1))
        lower = data.touched_indices[data.touched_indptr[user] : data.touched_indptr[user + 1]]
        others = np.setdiff1d(np.arange(data.items), lower)
        above = (score[others] >= score[data.test[user]]).sum()
        assert scores.ordered.full_rank[at] == above


def test_lengths_leave_the_order_blind_scores_alone() -> None:
    config, plain = load(None, ORDERED), load(None, (*ORDERED, "evaluation.recency_norm=0"))
    data = prepare(config.data)
    Q = np.random.default_rng(2).standard_normal((data.items, config.model.dimension))
    Q = (Q * np.linspace(0.1, 2.0, data.items)[:, None]).astype(np.float32)
    P = np.zeros((data.users, config.model.dimension), np.float32)
    with_lengths = scoring_of(config, data, Q, P).evaluate("test", 10, full=True)
    without = scoring_of(plain, data, Q, P).evaluate("test", 10, full=True)
    assert with_lengths.blind.rank.tolist() == without.blind.rank.tolist()
    assert with_lengths.ordered is not None
    assert without.ordered is not None
    assert with_lengths.ordered.means() != pytest.approx(without.ordered.means())
