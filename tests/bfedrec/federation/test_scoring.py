"""The factors by which users are scored, order-blind and with recency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.federation.scoring import by_length, scored, scoring_of
from bfedrec.federation.unledgered import learner_alone, rounds_of
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


def test_users_are_scored_with_constants_of_their_own() -> None:
    """`evaluation.unobserved` and `evaluation.l2` against the readable solve; the ordered scores
    have constants of their own and stay."""
    own = ("evaluation.unobserved=0.7", "evaluation.l2=0.05")
    config, plain = load(None, (*ORDERED, *own)), load(None, ORDERED)
    data = prepare(config.data)
    Q = np.random.default_rng(3).standard_normal((data.items, config.model.dimension))
    Q = Q.astype(np.float32)
    P = np.zeros((data.users, config.model.dimension), np.float32)
    found, usual = scoring_of(config, data, Q, P), scoring_of(plain, data, Q, P)
    for user in range(0, data.users, 7):
        items = data.indices[data.indptr[user] : data.indptr[user + 1]]
        exact, weights = Q.astype(np.float64), np.ones(len(items))
        p = implicit_als.solve(exact, items, weights, 0.7, 0.05)
        assert np.allclose(found.P[user], p, rtol=1e-4, atol=1e-6)
    assert not np.allclose(found.P, usual.P)
    assert found.ordered is not None
    assert usual.ordered is not None
    assert np.array_equal(found.ordered.P, usual.ordered.P)
    training = plain.training
    same = (f"evaluation.unobserved={training.unobserved}", f"evaluation.l2={training.l2}")
    assert np.array_equal(scoring_of(load(None, (*ORDERED, *same)), data, Q, P).P, usual.P)


@pytest.mark.parametrize("key", ["unobserved", "l2"])
def test_constants_of_a_solve_are_refused_where_clients_keep_their_factors(key: str) -> None:
    with pytest.raises(ConfigError, match=f"evaluation.{key}.*expected null.*method sgd"):
        load(None, (*SMALL, f"evaluation.{key}=0.1"))
    with pytest.raises(ConfigError, match=f"evaluation.{key}"):
        load(None, (*ORDERED, f"evaluation.{key}=-1"))


def test_a_score_is_divided_by_a_power_of_the_items_length() -> None:
    Q = np.array([[3, 4], [0.3, -0.4], [0, 0], [1e-30, 0], [0, -3e38]], np.float32)
    items = by_length(Q, 0.5)
    assert items.dtype == np.float32
    root = np.sqrt([5.0, 0.5, np.inf, 1e-30, 3e38])[:, None]
    assert items == pytest.approx(Q / root, rel=1e-6)
    assert np.linalg.norm(by_length(Q, 1.0), axis=1) == pytest.approx([1, 1, 0, 1, 1])
    small = Q[:4]
    assert by_length(small, -0.2)[:2] == pytest.approx(small[:2] * root[:2] ** 0.4, rel=1e-6)
    assert not by_length(small, -0.2)[2].any()
    assert by_length(Q, 0.0) is Q
    broken = by_length(np.array([[np.inf, 1]], np.float32), 0.5)
    assert not np.isfinite(broken).all(), "an evaluation is to see that Q is not finite"


def test_order_blind_scores_have_a_power_of_their_own() -> None:
    """`evaluation.norm` against scores by hand; the factors and the ordered scores stay."""
    config, plain = load(None, (*ORDERED, "evaluation.norm=-0.5")), load(None, ORDERED)
    data = prepare(config.data)
    Q = np.random.default_rng(4).standard_normal((data.items, config.model.dimension))
    Q = (Q * np.linspace(0.1, 2.0, data.items)[:, None]).astype(np.float32)
    P = np.zeros((data.users, config.model.dimension), np.float32)
    found, usual = scoring_of(config, data, Q, P), scoring_of(plain, data, Q, P)
    assert np.array_equal(found.P, usual.P)
    assert found.ordered is not None
    assert usual.ordered is not None
    assert np.array_equal(found.ordered.Q, usual.ordered.Q)
    ranks = found.evaluate("test", 10, full=True).blind
    assert ranks.full_rank is not None
    for at, user in enumerate(ranks.users):
        score = (Q @ usual.P[user]) * np.sqrt(np.linalg.norm(Q, axis=1))
        own = data.touched_indices[data.touched_indptr[user] : data.touched_indptr[user + 1]]
        others = np.setdiff1d(np.arange(data.items), own)
        assert ranks.full_rank[at] == (score[others] >= score[data.test[user]]).sum()
    targets = [3, 7]
    exposed = [each.exposure(targets, 10, np.ones(data.users, np.bool_)) for each in (found, usual)]
    assert exposed[0] != exposed[1]


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


def test_a_sample_of_users_is_scored_where_that_is_asked_for() -> None:
    """The same users at every scoring, with the ranks that they have among all."""
    words = (*SMALL, "rounds=2", "data.synthetic.users=80")
    data = prepare(load(None, words).data)
    learner = learner_alone(load(None, words), data)
    few = learner_alone(load(None, [*words, "evaluation.users=30"]), data)
    assert learner.scored is learner.data
    for _ in zip(rounds_of(learner), rounds_of(few), strict=True):
        pass
    whole, part = (each.scoring().evaluate("test", 10, True).blind for each in (learner, few))
    again = few.scoring().evaluate("validation", 10, True).blind
    assert len(part.users) == 30
    assert np.array_equal(part.users, again.users)
    assert not np.array_equal(part.users, np.arange(30))
    assert np.array_equal(whole.rank[np.isin(whole.users, part.users)], part.rank)
    assert whole.full_rank is not None
    assert part.full_rank is not None
    assert np.array_equal(whole.full_rank[np.isin(whole.users, part.users)], part.full_rank)
    assert np.array_equal(np.flatnonzero(few.asked), part.users)
    assert learner.asked.all()
    assert few.scored.digest == data.digest
    other = learner_alone(load(None, [*words, "evaluation.users=30", "seed=1"]), data)
    assert not np.array_equal(other.scored.test, few.scored.test)


def test_users_without_a_test_item_come_last_into_a_sample() -> None:
    config = load(None, [*SMALL, "data.synthetic.users=80", "evaluation.users=70"])
    data = prepare(config.data)
    test = data.test.copy()
    test[:20] = -1
    found = scored(config, replace(data, test=test))
    assert (found.test[20:] >= 0).all()
    assert (found.validation >= 0).sum() == 70
    assert scored(load(None, [*SMALL, "evaluation.users=80"]), data) is data
