"""Recorded runs scored user by user: a method's mean score, and its lead over another method, with
an uncertainty that covers both users and seeds (`bfedrec.evaluation.statistics`).
"""

from __future__ import annotations

import numpy as np

from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.metrics import compared, ordered_name
from bfedrec.evaluation.statistics import Estimate, Scores, crossed_difference, crossed_mean
from bfedrec.report.artefact import Runs

K = 10
METRICS = {name: f"{metric.label}@{K}" for name, metric in compared().items()}
"""The compared metrics' names and headings."""


def mean_score(runs: Runs, metric: str, ordered: bool = False) -> Interval | None:
    """The mean of `metric` (a key of METRICS) over users and seeds, with the number of seeds as its
    `n`; None if no run has finished. ``ordered``: of users scored with recency.

    No bounds with one seed, which tells nothing of others, nor where ranks lack.
    """
    name = ordered_name(f"{metric}@{K}") if ordered else f"{metric}@{K}"
    means = [float(run.summary[name]) for run in runs.finished if name in run.summary]
    if not means:
        return None
    scores = _by_user(runs, metric, ordered)
    if scores is None or len(means) < 2:
        return Interval(len(means), t_interval(means).mean, None, None)
    found = crossed_mean(scores[:, _scored(scores)]).interval()
    return Interval(len(means), found.mean, found.low, found.high)


Scored = tuple[Runs, bool]
"""Runs, and whether their users are scored with recency."""


def compare_users(one: Scored, other: Scored, metric: str) -> Estimate | None:
    """The lead of `one` over `other` by `metric` (a key of METRICS), over the users that both have
    tested; None if ranks lack, the data differ, or fewer than two users are left."""
    ours, theirs = (_by_user(runs, metric, ordered) for runs, ordered in (one, other))
    if ours is None or theirs is None or one[0].config.data != other[0].config.data:
        return None
    if ours.shape[1] != theirs.shape[1]:  # of more or fewer files of the same data set
        return None
    both = _scored(ours) & _scored(theirs)
    return crossed_difference(ours[:, both], theirs[:, both]) if both.sum() > 1 else None


def _by_user(runs: Runs, metric: str, ordered: bool) -> Scores | None:
    """float64[S, M]: the score of every user in each of S finished runs, NaN for a user without a
    test item; None where ranks lack, or are not of the same users."""
    found = []
    for run in runs.finished:
        ranks = None if run.ranks is None else run.ranks.ordered_rank if ordered else run.ranks.rank
        if ranks is None:
            return None
        scores, scored = np.full(len(ranks), np.nan), ranks >= 0
        scores[scored] = compared()[metric].of(ranks[scored], K)
        found.append(scores)
    return np.stack(found) if len({scores.size for scores in found}) == 1 else None


def _scored(scores: Scores) -> np.ndarray:
    """bool[M]: the users that have a score under every seed."""
    return np.asarray(~np.isnan(scores).any(axis=0))
