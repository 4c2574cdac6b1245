"""Recorded runs compared user by user: whether one method ranks test items higher than another.

A user's score is the mean over the seeds of a method's runs; users are what is resampled.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from bfedrec.evaluation.metrics import compared
from bfedrec.evaluation.statistics import Paired, paired_bootstrap
from bfedrec.report.artefact import Runs
from bfedrec.streams import Streams

K = 10
METRICS = {name: f"{metric.label}@{K}" for name, metric in compared().items()}
"""The compared metrics' names and headings."""


def compare_users(one: Runs, other: Runs, metric: str, place: tuple[str, ...]) -> Paired | None:
    """The lead of `one` over `other` by `metric` (a key of METRICS), over the users that both have
    tested; None if ranks lack, or the data differ.

    Draws depend on `place`, the comparison's name: another comparison in a table leaves them as
    they are.
    """
    scores = _same_users(one, other, metric)
    if scores is None:
        return None
    which = zlib.crc32("/".join(place).encode())
    return paired_bootstrap(*scores, Streams(0).generator("bootstrap", which))


def _same_users(
    one: Runs, other: Runs, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The scores of the users that both have tested; None where ranks lack, or the data differ."""
    scores = [_per_user(runs, metric) for runs in (one, other)]
    if scores[0] is None or scores[1] is None or one.config.data != other.config.data:
        return None
    if scores[0].shape != scores[1].shape:  # of more or fewer files of the same data set
        return None
    both = ~np.isnan(scores[0]) & ~np.isnan(scores[1])
    return scores[0][both], scores[1][both]


def _per_user(runs: Runs, metric: str) -> NDArray[np.float64] | None:
    """float64[M]: each user's score, the mean over seeds; NaN for a user without a test item."""
    ranks = [run.ranks for run in runs.finished]
    if not ranks:
        return None
    total = np.zeros(1)
    for found in ranks:
        if found is None:
            return None
        scores = np.full(len(found.rank), np.nan)
        scores[found.scored] = compared()[metric].of(found.rank[found.scored], K)
        total = total + scores
    return total / len(ranks)
