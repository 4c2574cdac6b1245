"""Every inference attack on updates that a test has made: it finds what is planted, and nothing in
noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bfedrec.privacy.assessment import Assessment, Truth
from bfedrec.privacy.inference import (
    INFERENCES,
    Attribute,
    AttributeAttack,
    InferenceAttack,
    MembershipAttack,
    inference,
)
from bfedrec.privacy.inferences.attributes import _figures
from bfedrec.privacy.observation import Observation, PublicSetting, main_direction
from bfedrec.privacy.registry import INFERENCES as REGISTERED

USERS, N, D, R, OWN = 60, 200, 8, 3, 12
NEGATIVES = 4


class Made:
    """A made-up federation of users, whose updates follow from one gradient step each."""

    def __init__(self, seed: int = 0, squared: bool = False) -> None:
        self.generator = np.random.default_rng(seed)
        self.Q = self.generator.standard_normal((N, D)).astype(np.float32)
        self.P = self.generator.standard_normal((USERS, D)).astype(np.float32)
        scores = self.P @ self.Q.T
        self.own = np.argsort(-scores - 2 * self.generator.random(scores.shape), axis=1)[:, :OWN]
        self.squared = squared

    @property
    def truth(self) -> Truth:
        members = np.sort(self.own, axis=1).astype(np.int32).ravel()
        return Truth(np.arange(USERS + 1) * OWN, members, np.full((USERS, 1), -1, np.int64))

    @property
    def public(self) -> PublicSetting:
        return PublicSetting(USERS, N, D, 0.1 if self.squared else None)

    def round(self, height: int, clients: np.ndarray, noise: float = 0.0) -> Observation:
        """A round of these clients. ``noise``: deviation of what is added to every number."""
        B = np.linalg.qr(self.generator.standard_normal((D, R)))[0].astype(np.float32)
        A = np.zeros((len(clients), R, N), np.float32)
        for place, user in enumerate(clients.tolist()):
            labels, drawn = np.zeros(N, np.float32), np.zeros(N, np.bool_)
            labels[self.own[user]] = 1.0
            rest = np.flatnonzero(labels == 0)
            drawn[self.own[user]] = True
            drawn[self.generator.choice(rest, NEGATIVES * OWN, replace=False)] = True
            predicted = 1 / (1 + np.exp(-self.Q @ self.P[user]))
            slopes = (labels - predicted) * drawn
            if self.squared:
                own = self.Q @ self.P[user] / 20
                slopes = np.where(labels > 0, 1 - own, -0.1 * own)
            A[place] = np.outer(B.T @ self.P[user], slopes)
        A += noise * self.generator.standard_normal(A.shape).astype(np.float32)
        samples = np.full(len(clients), OWN)
        aggregate = A.mean(axis=0)
        # Masks that hide nothing: what an attack on them finds in the clear.
        public = (self.Q, B, aggregate.astype(np.float32))
        return Observation(height, clients, samples, A, A.any(axis=1), *public, masked=A)


def areas(made: Made, names: list[str], rounds: int, noise: float = 0.0) -> dict[str, float]:
    """The area under the curve of attacks over some rounds of all users."""
    attacks = [INFERENCES[name](made.public) for name in names]
    assessment = Assessment(attacks, made.truth)
    for height in range(1, rounds + 1):
        assessment.add(made.round(height, np.arange(USERS), noise))
    return {name: each.means()["auc"] for name, each in assessment.memberships.items()}


MEMBERSHIP = [name for name, kind in REGISTERED.items() if issubclass(kind, MembershipAttack)]


def test_planted_signals_are_found() -> None:
    found = areas(Made(), MEMBERSHIP, rounds=6)
    assert found["sign"] > 0.99
    assert found["imia"] > 0.99
    assert found["masks"] > 0.99  # six draws of a quarter of the items
    assert found["rank_one"] > 0.85  # as good as the factors themselves
    assert found["sign"] > found["popularity"] + 0.2
    assert found["masked"] == found["sign"]


def test_what_a_round_does_not_show_is_not_attacked() -> None:
    made = Made()
    whole = made.round(1, np.arange(4))
    for less, able in (
        (whole, set(MEMBERSHIP)),
        (replace(whole, masked=None), set(MEMBERSHIP) - {"masked"}),
        (replace(whole, masked=None, A=None), {"aggregate", "popularity"}),
    ):
        assert {name for name in MEMBERSHIP if REGISTERED[name].able(less)} == able


@pytest.mark.parametrize("name", ["sign", "imia", "rank_one", "aggregate", "masked"])
def test_updates_too_large_to_be_squared_are_attacked_like_others(name: str) -> None:
    """Sums of squares and cubes overflow a float32 above about 1e12; NaN then had loops that
    compare scores never end."""
    made = Made()
    seen = made.round(1, np.arange(4))
    large = np.ldexp(seen.A, 90)
    wild = replace(seen, A=large, masked=large, aggregate=np.ldexp(seen.aggregate, 90))
    found = []
    for each in (seen, wild):
        assessment = Assessment([INFERENCES[name](made.public)], made.truth)
        assessment.add(each)
        found.append(assessment.memberships[name].means())
    assert found[1] == pytest.approx(found[0], abs=0.01)


def test_noise_hides_everything_that_is_of_a_single_client() -> None:
    found = areas(Made(), ["sign", "masks", "imia", "rank_one"], rounds=2, noise=1e4)
    for name, area in found.items():
        assert area == pytest.approx(0.5, abs=0.06), name


def test_squared_losses_are_attacked_as_such() -> None:
    made = Made(squared=True)
    assert areas(made, ["sign", "imia"], rounds=2) == pytest.approx(
        {"sign": 1.0, "imia": 1.0}, abs=0.02
    )


@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_the_side_of_fewer_items_is_taken_for_the_positives(sense: float) -> None:
    along = np.array([3.0, 2.0, -1.0, -1.0, -1.5, -0.5, 0.0, 0.0])
    A = (sense * np.outer([0.6, 0.8], along)).astype(np.float32)[None]
    direction, found = main_direction(A)
    assert found[0] == pytest.approx(along, abs=1e-5)
    assert direction[0] == pytest.approx([0.6 * sense, 0.8 * sense], abs=1e-5)


@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_where_every_item_moves_to_sides_alike_the_third_moment_decides(sense: float) -> None:
    along = np.array([4.0, *[0.2] * 5, *[-1.0] * 5])
    A = (sense * np.outer([0.6, 0.8], along)).astype(np.float32)[None]
    assert main_direction(A)[1][0] == pytest.approx(along, abs=1e-5)


def test_an_update_of_nothing_is_no_error() -> None:
    made = Made()
    seen = made.round(1, np.arange(4))
    assert seen.A is not None
    nothing = np.zeros_like(seen.A)
    empty = replace(seen, A=nothing, touched=np.zeros((4, N), np.bool_), masked=nothing)
    for name in MEMBERSHIP:
        attack = REGISTERED[name](made.public)
        assert isinstance(attack, MembershipAttack)
        scores = attack.scores(empty)
        assert scores.shape == (4, N)
        assert np.isfinite(scores).all()


def test_masks_are_intersected_by_client() -> None:
    made = Made()
    seen = made.round(1, np.array([7, 3]))
    attack = REGISTERED["masks"](made.public)
    assert isinstance(attack, MembershipAttack)
    first = np.zeros((2, N), np.bool_)
    first[0, [1, 2, 3]] = first[1, [5, 6]] = True
    second = np.zeros((1, N), np.bool_)
    second[0, [2, 3, 4, 5]] = True
    attack.scores(replace(seen, touched=first))
    again = made.round(2, np.array([7]))
    assert np.flatnonzero(attack.scores(replace(again, touched=second))[0]).tolist() == [2, 3]


def test_factors_of_several_participations_add_up() -> None:
    """Of one round R of D coordinates are known, and more with each basis."""
    one, many = (areas(Made(), ["rank_one"], rounds)["rank_one"] for rounds in (1, 8))
    assert many > one + 0.05


def test_only_so_many_of_a_round_are_attacked_by_shadows() -> None:
    made = Made()
    assessment = Assessment([REGISTERED["imia"](made.public)], made.truth)
    assessment.add(made.round(1, np.arange(USERS)))
    ((height, count, _),) = assessment.memberships["imia"].rounds
    assert (height, count) == (1, 8)


def attribute_attack(made: Made) -> AttributeAttack:
    attack = REGISTERED["attributes"](made.public)
    assert isinstance(attack, AttributeAttack)
    return attack


def test_attributes_are_guessed_where_interactions_tell_them() -> None:
    made = Made(1)
    attack = attribute_attack(made)
    for height in (1, 2):
        attack.observe(made.round(height, np.arange(USERS)))
    told = (made.P[:, 0] > 0).astype(np.int64)
    told[:3] = -1  # not known of everybody
    coin = made.generator.integers(0, 2, USERS)
    found = attack.conclude(
        {
            "taste": Attribute(("low", "high"), told),
            "coin": Attribute(("head", "tail"), coin),
            "constant": Attribute(("same",), np.zeros(USERS, np.int64)),
        }
    )
    assert set(found) == {"taste", "coin"}
    assert found["taste"]["auc"] > 0.85
    assert found["taste"]["accuracy"] > found["taste"]["majority"] + 0.15
    assert found["taste"]["users"] == USERS - 3
    assert 0.2 < found["coin"]["auc"] < 0.8


def test_features_that_tell_nothing_of_an_attribute_have_half_of_the_area() -> None:
    """Over many draws of an attribute with rare values, of which one half has more."""
    generator = np.random.default_rng(0)
    areas = []
    for _ in range(200):
        told = generator.choice(8, 60, p=[0.5, 0.2, 0.1, *[0.04] * 5])
        areas.append(_figures(generator.normal(size=(60, 4)), told, 8)["auc"])
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas) / np.sqrt(len(areas)) < 0.02


def test_attributes_need_updates_and_values() -> None:
    made = Made()
    assert (
        attribute_attack(made).conclude({"x": Attribute(("a",), np.zeros(USERS, np.int64))}) == {}
    )
    assessment = Assessment([attribute_attack(made)], made.truth)
    assessment.add(made.round(1, np.arange(USERS)))
    assert assessment.attributes() == {}


def test_an_attack_of_ones_own_is_registered_under_its_name() -> None:
    with INFERENCES.restored():

        @inference("always")
        class Always(MembershipAttack):
            meaning = "everything"

            def scores(self, seen: Observation) -> np.ndarray:
                return np.ones((len(seen.clients), self.public.items), np.float32)

        assert areas(Made(), ["always"], 1) == {"always": 0.5}
        with pytest.raises(ValueError, match="'always' is registered twice"):
            inference("always")(Always)
    with pytest.raises(ValueError, match=r"inference attack 'sing' .*did you mean 'sign'"):
        INFERENCES.named("sing")


def test_every_attack_says_what_it_is() -> None:
    for name, kind in REGISTERED.items():
        assert issubclass(kind, InferenceAttack)
        assert kind.name == name
        assert kind.meaning
    assert [name for name, kind in REGISTERED.items() if kind.guess] == ["popularity"]
