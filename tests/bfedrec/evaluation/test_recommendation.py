"""Lists of recommendations against full ranking, and against sorting in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.data.settings import DataSettings
from bfedrec.evaluation import recommendation
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.evaluation.ranking import evaluate
from bfedrec.evaluation.recommendation import Lists, recommend

K = 10


@pytest.fixture(scope="module")
def data() -> Dataset:
    synthetic = {"users": 90, "items": 70, "interactions_per_user": 12}
    return prepare(DataSettings.model_validate({"dataset": "synthetic", "synthetic": synthetic}))


def factors(data: Dataset, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((data.users, 5), np.float32),
        rng.standard_normal((data.items, 5), np.float32),
    )


def lists(data: Dataset, P: np.ndarray, Q: np.ndarray, k: int = K) -> Lists:
    """The lists of all users in one piece."""
    found = list(recommend(P, Q, data, np.arange(data.users), k, threads=2))
    parts = ("users", "items", "scores", "lengths")
    return Lists(*(np.concatenate([getattr(each, part) for each in found]) for part in parts))


def offered(data: Dataset, user: int) -> np.ndarray:
    """The items that may be in the user's list, ascending."""
    own = slice(data.touched_indptr[user], data.touched_indptr[user + 1])
    known = set(data.touched_indices[own].tolist()) - {int(data.test[user])}
    return np.array([item for item in range(data.items) if item not in known])


def test_a_list_is_the_best_of_what_the_user_does_not_know(data: Dataset) -> None:
    P, Q = factors(data)
    found = lists(data, P, Q)
    exact = np.round(P.astype(np.float64) @ Q.T.astype(np.float64), 4)
    for user in range(data.users):
        items = offered(data, user)
        assert np.isin(found.items[user], items).all()
        assert len(set(found.items[user].tolist())) == K
        best = np.sort(exact[user, items])[::-1][:K]
        np.testing.assert_allclose(found.scores[user], best, atol=2e-4)
        np.testing.assert_allclose(exact[user, found.items[user]], best, atol=2e-4)
    validation = data.validation[data.validation >= 0]
    assert len(validation) == data.users
    assert not (found.items == validation[:, None]).any()
    assert (found.items == data.test[:, None]).any()


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_a_list_holds_the_test_item_where_full_ranking_puts_it(data: Dataset, k: int) -> None:
    P, Q = factors(data, k)
    ranks = evaluate(P, Q, data, "test", k).full_rank
    assert ranks is not None
    place = np.argmax(lists(data, P, Q, k).items == data.test[:, None], axis=1)
    within = (lists(data, P, Q, k).items == data.test[:, None]).any(axis=1)
    assert (within == (ranks < k)).all()
    assert (place[within] == ranks[within]).all()
    assert 0 < within.sum() < data.users


def test_equal_scores_are_ordered_by_item(data: Dataset) -> None:
    P = np.ones((data.users, 1), np.float32)
    Q = np.repeat(np.float32([1, 3, 2]), [30, 20, data.items - 50])[:, None]
    found = lists(data, P, Q)
    for user in range(data.users):
        items = offered(data, user)
        order = np.lexsort((items, -Q[items, 0]))
        assert (found.items[user] == items[order][:K]).all()
    zero = lists(data, 0 * P, Q)
    assert (zero.items == [offered(data, user)[:K] for user in range(data.users)]).all()


def test_a_list_ends_where_the_catalogue_does(data: Dataset) -> None:
    P, Q = factors(data)
    found = lists(data, P, Q, 1000)
    assert found.items.shape == (data.users, data.items)
    for user in range(data.users):
        length = found.lengths[user]
        assert sorted(found.items[user, :length]) == offered(data, user).tolist()
        assert (found.items[user, length:] == -1).all()


def test_users_come_in_blocks_and_as_asked(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    P, Q = factors(data)
    whole = lists(data, P, Q)
    monkeypatch.setattr(recommendation, "ROWS", 7 * K + 3)
    users = np.array([5, 3, 89, *range(20, 40)])
    found = list(recommend(P, Q, data, users, K, threads=1))
    assert [len(each.users) for each in found] == [7, 7, 7, 2]
    assert (np.concatenate([each.users for each in found]) == users).all()
    assert (np.concatenate([each.items for each in found]) == whole.items[users]).all()
    assert (np.concatenate([each.scores for each in found]) == whole.scores[users]).all()


def test_what_is_not_finite_has_no_lists(data: Dataset) -> None:
    P, Q = factors(data)
    with pytest.raises(NotFinite, match="scores of NaN or infinity"):
        lists(data, P * np.float32(1e30), Q * np.float32(1e30))
    with pytest.raises(NotFinite, match="NaN"):
        lists(data, P, np.full_like(Q, np.nan))
    with pytest.raises(ValueError, match="do not fit"):
        lists(data, P[1:], Q)
