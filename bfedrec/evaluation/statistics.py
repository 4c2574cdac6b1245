"""Statistics of measured scores: crossed random effects of users and seeds, and a correction for
many comparisons.

A method's runs with S seeds score the same U users. The score of user u under seed s is modelled as

    y_us = mu + a_u + b_s + e_us,

with independent random effects of users, of seeds and of what is left, of the variances v_a, v_b
and v_e (Searle, Casella and McCulloch, 1992, chapter 4; Baayen, Davidson and Bates, 2008, for
subjects crossed with items). The mean of all scores, the estimate of mu, has the variance

    v_a / U + v_b / S + v_e / (U S),

so that another draw of users, or of seeds, is allowed for by one interval. The variances follow
from the mean squares in closed form (the method of moments), and a negative estimate counts as 0.
Degrees of freedom are Satterthwaite's (1946): V^2 / sum of (c M)^2 / f, for an estimated variance
V that is a sum of multiples c of mean squares M with f degrees of freedom each.

Simulated with five seeds, 94 to 97 % of the 95 % intervals hold mu, whatever the variances are;
with three seeds 91 to 97 %, with two 87 to 97 %, least where seeds cause most of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from bfedrec.evaluation.intervals import Interval

Scores = NDArray[np.float64]
"""A method's scores, float64[S, U]: a row for each seed, a column for each user."""


@dataclass(frozen=True)
class Estimate:
    """A mean score, or the difference of two, with its uncertainty over users and seeds."""

    users: int
    mean: float
    error: float
    """Standard error: the root of the estimated variance of the mean."""
    degrees: float
    """Degrees of freedom of Student's t, Satterthwaite's; infinite where nothing varies."""

    def interval(self, confidence: float = 0.95) -> Interval:
        """Student's t interval of the mean; its `n` is the number of users. Raises ValueError for a
        confidence outside of (0, 1)."""
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"a confidence lies inside (0, 1), got {confidence}")
        half = float(stdtrit(self.degrees, (1.0 + confidence) / 2.0)) * self.error
        return Interval(self.users, self.mean, self.mean - half, self.mean + half)

    @property
    def p(self) -> float:
        """Two-sided p-value: probability of a mean at least as far from 0 if the true one is 0.

        From the tail of Student's t, which unlike a count among resamples has no least value.
        """
        if not self.error:
            return 1.0 if not self.mean else 0.0
        return 2.0 * float(stdtr(self.degrees, -abs(self.mean) / self.error))


@dataclass(frozen=True)
class _Squares:
    """The mean squares of one method's scores under two seeds or more."""

    seeds: int
    between: float
    """Of the seeds' means: its expectation is v_e + U v_b."""
    within: float
    """Of the residuals: its expectation is v_e."""

    @classmethod
    def of(cls, scores: Scores) -> _Squares:
        seeds, users = scores.shape
        by_seed, by_user = scores.mean(axis=1), scores.mean(axis=0)
        between = users * float(((by_seed - by_seed.mean()) ** 2).sum()) / (seeds - 1)
        left = scores - by_user - by_seed[:, None] + scores.mean()
        return cls(seeds, between, float((left**2).sum()) / ((users - 1) * (seeds - 1)))


def crossed_mean(scores: Scores) -> Estimate:
    """The mean score of one method over users and seeds, as the module's model has it.

    With one seed its effect cannot be told from the mean: the interval is then over users alone.
    Raises ValueError for fewer than two users, or scores that are not finite.
    """
    _check(scores)
    return _estimate(_mean(scores), scores.mean(axis=0), [scores])


def crossed_difference(ours: Scores, theirs: Scores) -> Estimate:
    """The mean lead of `ours` over `theirs`, scores of the same users in the same order.

    Users are paired, a_u is the user's effect on the difference; seeds of the two methods are
    independent, and need not be as many. The variance of the difference is

        v_a / U + sum over both methods of v_b / S + v_e / (U S),

    with v_b, v_e and S of the method. The seeds' effect of a method that has one seed counts as 0:
    right for a method that draws nothing, too small for others.
    Raises ValueError for scores of different users, of fewer than two, or that are not finite.
    """
    if ours.shape[-1:] != theirs.shape[-1:]:
        raise ValueError(f"scores of shapes {ours.shape} and {theirs.shape} are of no same users")
    for scores in (ours, theirs):
        _check(scores)
    by_user = ours.mean(axis=0) - theirs.mean(axis=0)
    return _estimate(_mean(ours) - _mean(theirs), by_user, [ours, theirs])


def _check(scores: Scores) -> None:
    """Raise ValueError for scores of which no variance follows."""
    if scores.ndim != 2 or not scores.shape[0] or scores.shape[1] < 2:
        raise ValueError(f"scores of shape {scores.shape}: expected seeds x users, two users")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")


def _mean(scores: Scores) -> float:
    """The mean of all scores: of the seeds' means, as a table of single runs has it."""
    means = [float(row.mean()) for row in scores]
    return math.fsum(means) / len(means)


def _estimate(mean: float, by_user: Scores, methods: Sequence[Scores]) -> Estimate:
    """The estimate whose users' scores, means over seeds, are `by_user` (float64[U])."""
    users = by_user.size
    spread = float(((by_user - by_user.mean()) ** 2).sum()) / (users - 1)
    found = [_Squares.of(scores) for scores in methods if len(scores) > 1]
    # The expectation of `spread` is v_a + sum of v_e / S; one seed alone tells no v_e.
    users_vary = spread > sum(each.within / each.seeds for each in found)
    terms = [(spread / users, users - 1)] if users_vary else []
    for each in found:
        seeds_vary = each.between > each.within
        scale = 1.0 / (users * each.seeds)
        if seeds_vary:
            terms.append((scale * each.between, each.seeds - 1))
        # Once for v_e itself, if `spread` does not stand for it; once off to have v_b alone.
        times = (not users_vary) - seeds_vary
        terms.append((times * scale * each.within, (users - 1) * (each.seeds - 1)))
    variance = max(0.0, math.fsum(value for value, _ in terms))
    satterthwaite = math.fsum(value**2 / degrees for value, degrees in terms)
    degrees = variance**2 / satterthwaite if satterthwaite else math.inf
    return Estimate(users, mean, math.sqrt(variance), degrees)


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for multiple comparisons, in the same order (Holm, 1979): all differences
    whose corrected value is below alpha hold together with probability 1 - alpha. Raises ValueError
    for a number outside of [0, 1]."""
    if not all(0.0 <= value <= 1.0 for value in p):
        raise ValueError(f"p-values lie in [0, 1], got {list(p)}")
    corrected, least = [0.0] * len(p), 0.0
    for place, which in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - place) * p[which]))
        corrected[which] = least
    return corrected
