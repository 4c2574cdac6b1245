"""The success of inference attacks, by the truth that the data set has and no attack sees.

For every attacked participation of a client all items of the catalogue are ranked by the attack's
scores: members are the client's training interactions, the others are those that it never touched;
the items that evaluation holds out are left out, as they are interactions of which no update tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bfedrec.parts import PartError, array_of
from bfedrec.privacy.inference import Attribute, AttributeAttack, InferenceAttack, MembershipAttack
from bfedrec.privacy.observation import Observation
from bfedrec.threads import in_threads, thread_count

FALSE_SHARE = 0.01
"""False positive rate at which the true positive rate is told."""
REACH = 25
"""Places by popularity, on either side of a member, of the others that are like it."""
FIGURES = (
    "auc",
    "precision",
    "recall",
    "f1",
    "tpr_at_1_percent_fpr",
    "auc_touched",
    "auc_matched",
)
"""The figures of a membership attack: over the catalogue; for an attack on one update, the area
under the curve among the items that the update touched; and the area where each member is compared
with others of like popularity alone (`bfedrec.privacy.kernels.areas_matched`)."""


@dataclass(frozen=True)
class Truth:
    """The interactions of all users, from the data set."""

    indptr: np.ndarray
    """int64[M + 1]: the members of user u are ``members[indptr[u]:indptr[u + 1]]``."""
    members: np.ndarray
    """int32[nnz]: the items of the users' training interactions."""
    left_out: np.ndarray
    """int64[M, k]: items of each user that are not asked for; -1 for none."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """The known attributes of the users, by name; empty where none is known."""

    def by_popularity(self, items: int) -> np.ndarray:
        """The ``items`` of the catalogue by the number of users that interacted with them, the most
        popular first, int64[N]."""
        if "_order" not in self.__dict__:
            counts = np.bincount(self.members, minlength=items)
            self.__dict__["_order"] = np.argsort(-counts, kind="stable")
        order: np.ndarray = self.__dict__["_order"]
        return order


@dataclass
class Membership:
    """The results of one membership attack."""

    sums: np.ndarray
    """float64[M, figures]: each user's figures, summed over its participations; those of the last
    one for an attack that accumulates."""
    counts: np.ndarray
    """int64[M, figures]: the number of terms."""
    rounds: list[tuple[int, int, list[float]]] = field(default_factory=list)
    """Height, attacked updates, and the figures' means over the attacked clients of each round."""

    @property
    def by_user(self) -> np.ndarray:
        """float64[M, figures]: each user's mean; NaN for one that was not attacked."""
        with np.errstate(invalid="ignore"):
            return np.where(self.counts > 0, self.sums / self.counts, np.nan)

    def means(self) -> dict[str, float]:
        """The means over the users that were attacked, of every figure that somebody has."""
        by_user = self.by_user
        return {
            name: float(column[known].mean())
            for name, column in zip(FIGURES, by_user.T, strict=True)
            if (known := ~np.isnan(column)).any()
        }


class Assessment:
    """Attacks on a run, round by round, and how right they are."""

    def __init__(self, attacks: Sequence[InferenceAttack], truth: Truth) -> None:
        self.attacks = attacks
        self.truth = truth
        shape = (len(truth.indptr) - 1, len(FIGURES))
        self.memberships = {
            attack.name: Membership(np.zeros(shape), np.zeros(shape, np.int64))
            for attack in attacks
            if isinstance(attack, MembershipAttack)
        }
        """The results of the membership attacks so far, by name."""

    def add(self, seen: Observation) -> None:
        """Run all attacks on a round; those are passed over that need what it does not show."""
        for attack in self.attacks:
            if not attack.able(seen):
                continue
            if isinstance(attack, AttributeAttack):
                attack.observe(seen)
            elif isinstance(attack, MembershipAttack):
                self._compare(attack, _first(seen, attack.per_round))

    def _compare(self, attack: MembershipAttack, seen: Observation) -> None:
        if not len(seen.clients):
            return
        scores = _scores(attack, seen)
        of_one = attack.needs_updates and not attack.accumulates
        found = figures_of(scores, seen.touched if of_one else None, seen.clients, self.truth)
        result = self.memberships[attack.name]
        known = ~np.isnan(found)
        if attack.accumulates:
            result.sums[seen.clients] = np.where(known, found, 0.0)
            result.counts[seen.clients] = known
        else:
            result.sums[seen.clients] += np.where(known, found, 0.0)
            result.counts[seen.clients] += known
        number = known.sum(axis=0)
        means = np.where(known, found, 0.0).sum(axis=0) / np.maximum(1, number)
        result.rounds.append((seen.height, int(known[:, 0].sum()), means.tolist()))

    def attributes(self) -> dict[str, dict[str, float]]:
        """The figures of the attribute attacks, by ``ATTACK_ATTRIBUTE``; empty where the attributes
        are not known."""
        if not self.truth.attributes:
            return {}
        return {
            f"{attack.name}_{name}": figures
            for attack in self.attacks
            if isinstance(attack, AttributeAttack)
            for name, figures in attack.conclude(self.truth.attributes).items()
        }


def _scores(attack: MembershipAttack, seen: Observation) -> np.ndarray:
    """The scores that an attack gives, float32[m, N]. Raises PartError where they are not one for
    each item of each client, or NaN, which has no place in an order."""
    told, shape = f"inference attack {attack.name!r}: scores()", (len(seen.clients), len(seen.Q))
    scores = np.ascontiguousarray(array_of(told, attack.scores(seen), shape), np.float32)
    if np.isnan(scores).any():
        raise PartError(f"{told} returned NaN at height {seen.height}")
    return scores


def _first(seen: Observation, most: int | None) -> Observation:
    """A round whose cohort is its first ``most`` clients."""
    if most is None or len(seen.clients) <= most or seen.A is None or seen.touched is None:
        return seen
    few = slice(most)
    directions, along = seen.main_direction
    first = replace(
        seen,
        clients=seen.clients[few],
        samples=seen.samples[few],
        A=seen.A[few],
        touched=seen.touched[few],
        masked=None if seen.masked is None else seen.masked[few],
    )
    first.__dict__["main_direction"] = directions[few], along[few]  # not to be found once more
    return first


def figures_of(
    scores: np.ndarray, touched: np.ndarray | None, clients: np.ndarray, truth: Truth
) -> np.ndarray:
    """`FIGURES` of each row of ``scores`` (float32[m, N]), float64[m, figures]; NaN for a client
    without members or others. ``touched``: bool[m, N]; None leaves ``auc_touched`` NaN."""
    from bfedrec.privacy.kernels import areas_inside, areas_matched, compare_rows

    results, matched = np.empty((len(clients), len(FIGURES) - 2)), np.empty(len(clients))
    areas, order = np.full(len(clients), np.nan), truth.by_popularity(scores.shape[1])
    known = (truth.indptr, truth.members, truth.left_out)
    parts = np.array_split(np.arange(len(clients)), min(thread_count(), max(1, len(clients))))
    slices = [slice(part[0], part[-1] + 1) for part in parts if part.size]
    in_threads(
        compare_rows,
        [(scores[at], clients[at], *known, FALSE_SHARE, results[at]) for at in slices],
    )
    in_threads(
        areas_matched,
        [(scores[at], order, REACH, clients[at], *known, matched[at]) for at in slices],
    )
    if touched is not None and touched.all():
        areas = results[:, 0]
    elif touched is not None:
        in_threads(
            areas_inside,
            [(scores[at], touched[at], clients[at], *known, areas[at]) for at in slices],
        )
    return np.column_stack([results, areas, matched])
