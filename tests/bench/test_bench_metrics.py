"""Speed of scoring at ML-1M's size: `pytest tests/bench --benchmark-only`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from bfedrec.data.dataset import Dataset
from bfedrec.evaluation.ranking import evaluate
from bfedrec.learning.factorization import initial_factors
from tests.helpers.learning_data import held_out

#: On one core, whose processor time shows less of other work on the machine than the wall clock.
pytestmark = pytest.mark.benchmark(timer=time.thread_time)
M, N, D = 6040, 3706, 64


def world() -> tuple[np.ndarray, np.ndarray, Dataset]:
    rng = np.random.default_rng(0)
    training = [rng.integers(0, N, 164).tolist() for _ in range(M)]
    test = rng.integers(0, N, M).tolist()
    negatives = [rng.integers(0, N, 99).tolist() for _ in range(M)]
    dataset = held_out(N, training, test, negatives)
    return initial_factors(M, D, 1.0, rng), initial_factors(N, D, 1.0, rng), dataset


def test_sampled_ranking(benchmark: Any) -> None:
    P, Q, dataset = world()
    benchmark.pedantic(
        lambda: evaluate(P, Q, dataset, "validation", full=False, threads=1),
        rounds=10,
        warmup_rounds=1,
    )
    assert benchmark.stats["median"] <= 0.06


def test_full_ranking(benchmark: Any) -> None:
    P, Q, dataset = world()
    benchmark.pedantic(
        lambda: evaluate(P, Q, dataset, "test", threads=1), rounds=5, warmup_rounds=1
    )
    assert benchmark.stats["median"] <= 0.6
