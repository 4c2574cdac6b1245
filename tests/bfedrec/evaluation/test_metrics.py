"""Ranks of held-out items: ties, padding, broken models, and the figures made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.evaluation.metrics import Gain, HitRate, NotFinite
from bfedrec.evaluation.ranking import evaluate, expose
from tests.helpers.learning_data import held_out


def scores_of(*rows: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """P and Q whose products are these scores: one factor for each user."""
    return np.eye(len(rows), dtype=np.float32), np.array(rows, np.float32).T.copy()


def test_rank_counts_negatives_that_score_at_least_as_high() -> None:
    P, Q = scores_of([9, 5, 7, 5, 1], [1, 2, 3, 4, 5])
    dataset = held_out(5, [[0], [0]], [1, 4], [[2, 3, 4], [1, 2, 3]])
    found = evaluate(P, Q, dataset, "test")
    assert found.rank.tolist() == [2, 0]  # 7 above and 5 tied; item 0, touched, does not count
    assert found.full_rank is not None
    assert found.full_rank.tolist() == [2, 0]


def test_a_constant_scorer_hits_nothing() -> None:
    dataset = held_out(60, [[0]] * 20, [1] * 20, [list(range(2, 40))] * 20)
    for P, Q in (
        (np.zeros((20, 5)), np.ones((60, 5))),
        (np.full((20, 5), 0.1), np.full((60, 5), 0.7)),  # no product or sum of them is exact
    ):
        found = evaluate(P.astype(np.float32), Q.astype(np.float32), dataset, "test")
        assert (found.rank == 38).all()
        assert found.means() == dict.fromkeys(("hr@10", "ndcg@10", "full_hr@10", "full_ndcg@10"), 0)


def test_the_positive_among_its_negatives_does_not_beat_itself() -> None:
    P, Q = scores_of([1, 9, 2, 3])
    found = evaluate(P, Q, held_out(4, [[0]], [1], [[1, 2, 3]]), "test")
    assert found.rank.tolist() == [0]


def test_users_without_a_held_out_item_are_left_out() -> None:
    P, Q = scores_of([1, 2, 3], [3, 2, 1], [1, 3, 2])
    found = evaluate(P, Q, held_out(3, [[0], [0], [0]], [1, -1, 1], [[2], [], [2]]), "validation")
    assert found.users.tolist() == [0, 2]
    assert found.rank.tolist() == [1, 0]


def test_padding_counts_for_nothing() -> None:
    P, Q = scores_of([0, 1, 9])  # -1 would be the last item, if it were one
    assert evaluate(P, Q, held_out(3, [[2]], [1], [[0]]), "test").rank.tolist() == [0]
    assert evaluate(P, Q, held_out(3, [[2]], [1], [[]]), "test").rank.tolist() == [0]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["P", "Q"])
def test_a_model_that_is_not_finite_is_an_error_never_a_score(broken: float, where: str) -> None:
    P, Q = scores_of([1, 2, 3], [3, 2, 1])
    (P if where == "P" else Q)[1, 0] = broken
    with pytest.raises(NotFinite, match="NaN or infinity"):
        evaluate(P, Q, held_out(3, [[0], [0]], [1, 1], [[2], [2]]), "test", full=False)


@pytest.mark.parametrize("full", [False, True])
def test_scores_that_overflow_are_an_error(full: bool) -> None:
    P, Q = np.full((1, 2), 3e38, np.float32), np.full((3, 2), 3e38, np.float32)
    with pytest.raises(NotFinite, match="overflow"):
        evaluate(P, Q, held_out(3, [[0]], [1], [[2]]), "test", full=full)


def test_what_does_not_fit_is_refused() -> None:
    P, Q = scores_of([1, 2, 3])
    dataset = held_out(3, [[0]], [1], [[2]])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate(P, Q[:2], dataset, "test")
    with pytest.raises(ValueError, match="not one of validation, test"):
        evaluate(P, Q, dataset, "training")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no user has a test item"):
        evaluate(P, Q, held_out(3, [[0]], [-1], [[]]), "test")


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 60), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_ranks_are_those_of_a_plain_count(seed: int, users: int, items: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: every score is exact, and ties are common.
    P = rng.integers(-2, 3, (users, d)).astype(np.float32)
    Q = rng.integers(-2, 3, (items, d)).astype(np.float32)
    training = [np.flatnonzero(rng.random(items) < 0.3).tolist() for _ in range(users)]
    test = [int(rng.integers(items)) for _ in range(users)]
    negatives = [
        [i for i in rng.permutation(items)[:99].tolist() if i not in {*row, item}]
        for row, item in zip(training, test, strict=True)
    ]
    found = evaluate(P, Q, held_out(items, training, test, negatives), "test")
    one_thread = evaluate(P, Q, held_out(items, training, test, negatives), "test", threads=1)
    assert np.array_equal(found.rank, one_thread.rank)
    assert found.full_rank is not None
    for u in range(users):
        scores = Q @ P[u]
        own = scores[test[u]]
        untouched = np.setdiff1d(np.arange(items), [*training[u], test[u]])
        assert found.rank[u] == (scores[negatives[u]] >= own).sum() if negatives[u] else True
        assert found.full_rank[u] == (scores[untouched] >= own).sum()


def test_hit_and_gain_of_a_rank() -> None:
    ranks = np.array([0, 1, 9, 10, 98])
    assert HitRate().of(ranks, 10).tolist() == [1, 1, 1, 0, 0]
    assert Gain().of(ranks, 10) == pytest.approx([1, 1 / np.log2(3), 1 / np.log2(11), 0, 0])


def test_means_carry_the_names_of_the_summary() -> None:
    P, Q = scores_of([1, 2, 3])
    found = evaluate(P, Q, held_out(3, [[0]], [1], [[2]]), "test", k=5)
    gain_of_second = pytest.approx(1 / np.log2(3))
    assert found.means() == {
        "hr@5": 1.0,
        "ndcg@5": gain_of_second,
        "full_hr@5": 1.0,
        "full_ndcg@5": gain_of_second,
    }
    assert set(evaluate(P, Q, held_out(3, [[0]], [1], [[2]]), "test", full=False).means()) == {
        "hr@10",
        "ndcg@10",
    }


# --- exposure of targets --------------------------------------------------------------------------


def test_a_target_is_ranked_among_what_its_user_did_not_train_on() -> None:
    P, Q = scores_of([9, 5, 7, 5, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    # User 0 trained on item 0 and holds out 1; user 1 holds out 4; user 2 trained on the target.
    dataset = held_out(5, [[0], [0], [3]], [1, 4, 0], [[], [], []])
    found = expose(P, Q, dataset, [3], k=2)
    # 7 above and a tied 5, the held-out one, which may be recommended; then only a held-out 5.
    assert found.rank.tolist() == [[2, 1, -1]]
    assert found.er.tolist() == [0.5]
    assert found.means() == {"er@2": 0.5}


def test_users_with_the_target_held_out_are_not_asked_about() -> None:
    P, Q = scores_of([0, 9, 9], [0, 9, 9])
    dataset = held_out(3, [[0], [0]], [2, 1], [[1], [2]])
    found = expose(P, Q, dataset, [2, 1, 0], k=1, asked=np.array([True, False]))
    assert found.rank.tolist() == [[-1, -1], [1, -1], [-1, -1]]
    assert found.er.tolist() == [0.0, 0.0, 0.0]


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(2, 40))
@settings(max_examples=25, deadline=None)
def test_exposure_is_the_share_of_lists_that_hold_the_target(
    seed: int, users: int, items: int
) -> None:
    rng = np.random.default_rng(seed)
    training = [rng.choice(items, rng.integers(0, items), False).tolist() for _ in range(users)]
    dataset = held_out(items, training, [-1] * users, [[]] * users)
    P = rng.integers(-3, 4, (users, 3)).astype(np.float32)  # many ties, and every sum exact
    Q = rng.integers(-3, 4, (items, 3)).astype(np.float32)
    asked = rng.random(users) < 0.8
    targets = rng.choice(items, min(3, items), False)
    found = expose(P, Q, dataset, targets.tolist(), 5, asked, threads=2)
    for target, er in zip(targets, found.er, strict=True):
        lists = []
        for u in np.flatnonzero(asked):
            if target not in training[u]:
                others = [i for i in range(items) if i not in training[u] and i != target]
                lists.append(sum(P[u] @ Q[i] >= P[u] @ Q[target] for i in others) < 5)
        assert er == pytest.approx(np.mean(lists) if lists else 0.0)


def test_exposure_of_a_broken_model_or_of_no_item_is_an_error() -> None:
    dataset = held_out(4, [[0]] * 2, [1] * 2, [[2]] * 2)
    P, Q = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    for target in (-1, 4):
        with pytest.raises(ValueError, match="not all items from 0 to 3"):
            expose(P, Q, dataset, [target])
    with pytest.raises(ValueError, match="do not fit"):
        expose(P[:1], Q, dataset, [1])
    with pytest.raises(NotFinite, match="hold NaN"):
        expose(P * np.nan, Q, dataset, [1])
    with pytest.raises(NotFinite, match="overflow"):
        expose(P * np.float32(3e38), Q, dataset, [3])
