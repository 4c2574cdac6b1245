"""The figures of an attack: equal to slow twins, exact where scores are equal, honest on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bfedrec.parts import PartError
from bfedrec.privacy.assessment import FALSE_SHARE, FIGURES, REACH, Assessment, Truth, figures_of
from bfedrec.privacy.inference import MembershipAttack
from bfedrec.privacy.kernels import LEFT_OUT, MEMBER, OTHER, compare
from bfedrec.privacy.observation import Observation, PublicSetting

ITEMS = 24


def naive_area(members: np.ndarray, others: np.ndarray) -> float:
    """The share of all pairs in which the member scores higher; half where both score alike."""
    wins = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    return float(np.mean(wins))


def naive_named(members: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 of the n best items above 0, the mean over all orders of equals:
    each item of the group that is cut has the same chance."""
    scores = np.concatenate([members, others])
    is_member = np.arange(len(scores)) < len(members)
    above = scores > 0
    n = len(members)
    named = min(n, int(above.sum()))
    hits = 0.0
    for value in np.unique(scores[above]):
        before = int((scores > value).sum())
        group = scores == value
        share = min(1.0, max(0.0, (n - before) / group.sum()))
        hits += share * (group & is_member).sum()
    precision = hits / named if named else 0.0
    return precision, hits / n, 2 * hits / (named + n)


def naive_found(members: np.ndarray, others: np.ndarray) -> float:
    """The ROC curve at `FALSE_SHARE`: straight through every group of equal scores, and upright
    where no other item is passed, of which the upper end counts."""
    x, y = [0.0], [0.0]
    for value in np.unique(np.concatenate([members, others]))[::-1]:
        x.append(float((others >= value).mean()))
        y.append(float((members >= value).mean()))
    last = max(place for place, each in enumerate(x) if each <= FALSE_SHARE)
    if last == len(x) - 1:
        return y[last]
    inside = (FALSE_SHARE - x[last]) / (x[last + 1] - x[last])
    return y[last] + inside * (y[last + 1] - y[last])


SCORES = arrays.arrays(
    np.float32, ITEMS, elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0])
)
KINDS = arrays.arrays(np.uint8, ITEMS, elements=st.sampled_from([OTHER, MEMBER, LEFT_OUT]))


@given(SCORES, KINDS)
def test_figures_equal_those_of_slow_twins(scores: np.ndarray, kinds: np.ndarray) -> None:
    result = np.empty(5)
    members, others = scores[kinds == MEMBER], scores[kinds == OTHER]
    known = compare(scores, kinds, FALSE_SHARE, result)
    assert known == bool(len(members) and len(others))
    if not known:
        assert np.isnan(result).all()
        return
    wanted = [naive_area(members, others), *naive_named(members, others)]
    assert result[:4] == pytest.approx(wanted)
    assert result[4] == pytest.approx(naive_found(members, others))


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_found_at_a_false_share_equals_the_twin_among_many(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 40, 600).astype(np.float32)
    kinds = np.full(600, OTHER, np.uint8)
    kinds[:count] = MEMBER
    result = np.empty(5)
    assert compare(scores, kinds, FALSE_SHARE, result)
    assert result[4] == pytest.approx(naive_found(scores[:count], scores[count:]))


def truth(users: int, members: int, generator: np.random.Generator) -> Truth:
    """Users of `ITEMS * 40` items, each with so many members and two left out."""
    drawn = [generator.permutation(ITEMS * 40)[: members + 2] for _ in range(users)]
    items = np.concatenate([np.sort(each[:members]) for each in drawn]).astype(np.int32)
    left_out = np.stack([each[members:] for each in drawn]).astype(np.int64)
    return Truth(np.arange(users + 1, dtype=np.int64) * members, items, left_out)


def test_noise_finds_nothing_and_the_truth_everything() -> None:
    generator = np.random.default_rng(3)
    known, clients = truth(200, 30, generator), np.arange(200)
    noise = generator.standard_normal((200, ITEMS * 40)).astype(np.float32)
    figures = figures_of(noise, None, clients, known).mean(axis=0)
    assert figures[0] == pytest.approx(0.5, abs=0.02)
    assert figures[1] == pytest.approx(30 / (ITEMS * 40), abs=0.02)
    assert figures[4] == pytest.approx(FALSE_SHARE, abs=0.01)
    planted = noise.copy()
    for user in clients:
        own = known.members[known.indptr[user] : known.indptr[user + 1]]
        planted[user, own] += 100.0
        planted[user, known.left_out[user]] += 200.0  # interactions too, but not asked for
    planted -= 50.0
    assert (figures_of(planted, None, clients, known)[:, :5] == 1.0).all()


def test_equal_scores_are_worth_a_guess() -> None:
    generator = np.random.default_rng(5)
    known = truth(3, 10, generator)
    figures = figures_of(np.ones((3, ITEMS * 40), np.float32), None, np.arange(3), known)
    share = 10 / (ITEMS * 40 - 2)
    assert figures[:, 0] == pytest.approx(np.full(3, 0.5))
    assert figures[:, 1] == pytest.approx(np.full(3, share))
    assert figures[:, 4] == pytest.approx(np.full(3, FALSE_SHARE))


def test_the_area_among_touched_items_leaves_out_all_others() -> None:
    known = Truth(np.array([0, 2]), np.array([0, 1], np.int32), np.array([[-1, -1]]))
    scores = np.array([[3.0, 1.0, 2.0, 0.0, 0.0, 0.0]], np.float32)
    touched = np.array([[True, True, True, False, False, False]])
    figures = dict(zip(FIGURES, figures_of(scores, touched, np.array([0]), known)[0], strict=True))
    assert figures["auc"] == pytest.approx(7 / 8)
    assert figures["auc_touched"] == pytest.approx(1 / 2)
    untold = dict(zip(FIGURES, figures_of(scores, None, np.array([0]), known)[0], strict=True))
    assert np.isnan(untold["auc_touched"])


def test_the_matched_area_equals_its_slow_twin() -> None:
    generator = np.random.default_rng(11)
    known, clients = truth(20, 60, generator), np.arange(20)
    items = ITEMS * 40
    scores = generator.integers(0, 9, (20, items)).astype(np.float32)
    counts = np.bincount(known.members, minlength=items)
    order = sorted(range(items), key=lambda item: (-counts[item], item))
    matched = figures_of(scores, None, clients, known)[:, FIGURES.index("auc_matched")]
    for user in clients.tolist():
        own = known.members[known.indptr[user] : known.indptr[user + 1]].tolist()
        others = set(range(items)) - set(own) - set(known.left_out[user].tolist())
        shares = []
        for item in own:
            place = order.index(item)
            beside = min(REACH, place, items - 1 - place)
            like = [each for each in order[place - beside : place + beside + 1] if each in others]
            if like:
                shares.append(naive_area(scores[user, [item]], scores[user, like]))
        assert matched[user] == pytest.approx(np.mean(shares))


def test_a_guess_by_popularity_finds_nothing_beyond_it() -> None:
    """Users who like items by their place alone: the area is high, and 0.5 where it is matched."""
    generator = np.random.default_rng(12)
    items, users = 900, 300
    chance = 0.6 * np.exp(-np.arange(items) / 200)
    own = [np.flatnonzero(generator.random(items) < chance) for _ in range(users)]
    indptr = np.cumsum([0, *map(len, own)]).astype(np.int64)
    nothing = np.full((users, 1), -1, np.int64)
    known = Truth(indptr, np.concatenate(own).astype(np.int32), nothing)
    popularity = np.bincount(known.members, minlength=items).astype(np.float32)
    found = figures_of(np.tile(popularity, (users, 1)), None, np.arange(users), known)
    means = dict(zip(FIGURES, found.mean(axis=0), strict=True))
    assert means["auc"] > 0.75
    assert means["auc_matched"] == pytest.approx(0.5, abs=0.03)


class Fixed(MembershipAttack):
    """Scores that a test has made."""

    name = "fixed"

    def __init__(self, scores: list[np.ndarray], accumulates: bool) -> None:
        super().__init__(PublicSetting(2, 4, 2))
        self._left = list(scores)
        self.accumulates = accumulates  # type: ignore[misc]

    def scores(self, seen: Observation) -> np.ndarray:
        return self._left.pop(0)


@pytest.mark.parametrize(("accumulates", "area"), [(False, 0.5), (True, 1.0)])
def test_a_user_counts_once_by_its_mean_or_by_its_last_result(
    accumulates: bool, area: float
) -> None:
    """User 0 is attacked twice, first in vain; user 1 once, with success."""
    known = Truth(np.array([0, 1, 2]), np.array([0, 0], np.int32), np.array([[-1], [-1]]))
    wrong, right = (np.array([row], np.float32) for row in ([0, 1, 1, 1], [1, 0, 0, 0]))
    attack = Fixed([wrong, np.concatenate([right, right])], accumulates)
    assessment = Assessment([attack], known)
    for height, clients in ((1, [0]), (2, [0, 1])):
        assessment.add(observation(height, np.array(clients), 4))
    result = assessment.memberships["fixed"]
    assert result.by_user[:, 0] == pytest.approx([area, 1.0])
    assert result.means()["auc"] == pytest.approx((area + 1.0) / 2)
    assert [(height, count) for height, count, _ in result.rounds] == [(1, 1), (2, 2)]
    assert [figures[0] for _, _, figures in result.rounds] == [0.0, 1.0]


def observation(height: int, clients: np.ndarray, items: int) -> Observation:
    """A round of these clients in which all updates are ones."""
    A = np.ones((len(clients), 2, items), np.float32)
    samples = np.ones(len(clients), np.int64)
    touched = np.ones((len(clients), items), np.bool_)
    Q, B = np.ones((items, 2), np.float32), np.eye(2, dtype=np.float32)
    return Observation(height, clients, samples, A, touched, Q, B, A[0])


def test_attacks_on_updates_are_passed_over_where_there_are_none() -> None:
    known = Truth(np.array([0, 1]), np.array([0], np.int32), np.array([[-1]]))
    attack = Fixed([], False)
    seen = observation(1, np.array([0]), 4)
    public = Observation(1, seen.clients, seen.samples, None, None, seen.Q, seen.B, seen.aggregate)
    assessment = Assessment([attack], known)
    assessment.add(public)
    assert assessment.memberships["fixed"].rounds == []
    assert assessment.memberships["fixed"].means() == {}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (np.zeros((2, ITEMS - 1), np.float32), r"float32\[2, 23\], and not float32\[2, 24\]"),
        (np.zeros((1, ITEMS), np.float32), r"float32\[1, 24\], and not"),
        (None, "NoneType, and not an array"),
        (np.full((2, ITEMS), np.nan), "NaN at height 1"),
    ],
)
def test_scores_that_are_not_one_for_each_item_are_refused(found: object, told: str) -> None:
    """Compiled loops read beyond the end of fewer scores, and NaN had them never end."""

    class Own(MembershipAttack):
        name, needs_updates = "own", False

        def scores(self, seen):  # type: ignore[no-untyped-def]
            return found

    left_out = np.full((2, 0), -1, np.int64)
    truth = Truth(np.array([0, 2, 4], np.int64), np.array([0, 1, 2, 3], np.int32), left_out)
    seen = Observation(
        height=1,
        clients=np.array([0, 1], np.int64),
        samples=np.array([2, 2], np.int64),
        A=None,
        touched=None,
        Q=np.zeros((ITEMS, 3), np.float32),
        B=np.eye(3, 2, dtype=np.float32),
        aggregate=np.zeros((2, ITEMS), np.float32),
    )
    assessment = Assessment([Own(PublicSetting(2, ITEMS, 3))], truth)
    with pytest.raises(PartError, match=rf"inference attack 'own': scores\(\) returned {told}"):
        assessment.add(seen)
