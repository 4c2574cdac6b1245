"""Speed of training and aggregation at ML-1M's size: `pytest tests/bench --benchmark-only`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from bfedrec.aggregation.registry import AGGREGATORS, aggregator_named
from bfedrec.aggregation.rules.robust import Robust
from bfedrec.compression.exchange import Exchange
from bfedrec.compression.registry import codec_named
from bfedrec.learning.basis import basis
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.lowrank import merge
from bfedrec.learning.methods.ials import ImplicitAls
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates
from tests.helpers.learning_data import csr
from tests.helpers.payloads import aggregate, check_payload, encode_update

M, N, D, R = 60, 3706, 64, 4
CLIENTS_PER_SECOND = 5_000
#: Other work on the machine shows less in the processor time of the thread than in the wall clock.
PROCESSOR = pytest.mark.benchmark(timer=time.thread_time)
SETTINGS = TrainingSettings(local_epochs=2, user_epochs=0, negatives=4, batch_size=256)


def world() -> tuple[Any, ...]:
    """P, Q, B and interactions with ML-1M's spread: a mean of 164 a client, a long tail."""
    rng = np.random.default_rng(0)
    sizes = np.clip(rng.lognormal(4.5, 1.05, M), 18, 2300).astype(int)
    lists = [np.sort(rng.choice(N, size, replace=False)).tolist() for size in sizes]
    P, Q = initial_factors(M, D, 1.0, rng), initial_factors(N, D, 1.0, rng)
    return P, Q, basis("seeded", D, R, b"bench"), *csr(lists)


def updates() -> LocalUpdates:
    P, Q, B, indptr, indices = world()
    return train_cohort(TrainingTask(Q, B, indptr, indices, SETTINGS, 1), np.arange(M), P)


def test_training_reaches_its_clients_per_second(benchmark: Any) -> None:
    P, Q, B, indptr, indices = world()
    clients = np.arange(M)
    benchmark.pedantic(
        lambda: train_cohort(TrainingTask(Q, B, indptr, indices, SETTINGS, 1), clients, P),
        rounds=40,
        warmup_rounds=2,
    )
    speed = M / benchmark.stats["min"]  # other work on the machine only ever slows it down
    benchmark.extra_info["clients_per_second"] = round(speed)
    assert speed >= CLIENTS_PER_SECOND


@PROCESSOR
def test_aggregation_of_sixty_payloads(benchmark: Any) -> None:
    update = updates()
    counts = update.samples.tolist()
    pairs = zip(update.A, update.touched, strict=True)
    payloads = [encode_update(A, touched, "per_item") for A, touched in pairs]
    benchmark(lambda: aggregate(payloads, counts, R, N, "per_item"))
    assert benchmark.stats["median"] <= 0.003


@PROCESSOR
@pytest.mark.parametrize(
    "rule", [name for name, kind in AGGREGATORS.items() if issubclass(kind, Robust)]
)
def test_robust_aggregation_of_sixty_payloads(benchmark: Any, rule: str) -> None:
    update = updates()
    counts = update.samples.tolist()
    # A fifth sends numbers for all items, as an attack may: the most that can come.
    touched = update.touched.copy()
    touched[::5] = True
    payloads = [encode_update(A, mask, rule) for A, mask in zip(update.A, touched, strict=True)]
    benchmark.pedantic(lambda: aggregate(payloads, counts, R, N, rule), rounds=20, warmup_rounds=1)
    assert benchmark.stats["min"] <= 0.05  # half of it on an idle machine


def test_check_of_a_payload(benchmark: Any) -> None:
    update = updates()
    payload = encode_update(update.A[0], update.touched[0], "per_item")
    benchmark(lambda: check_payload(payload, R, N, "per_item"))
    assert benchmark.stats["median"] <= 1e-4


def test_merge_of_a_model(benchmark: Any) -> None:
    _, Q, B, *_ = world()
    A = updates().A[0]
    benchmark(lambda: merge(Q, B, A))


# -- implicit ALS at the settings of ml-1m-ials.yaml -----------------------------------------------

IALS, ALS_TERNARY = ImplicitAls(), codec_named("ternary", D, N, 4)


def als_task() -> TrainingTask:
    _, Q, _, indptr, indices = world()
    settings = TrainingSettings(method="ials", unobserved=0.3, l2=0.004)
    return TrainingTask(Q, basis("hadamard", D, D, b"bench"), indptr, indices, settings, 1)


@PROCESSOR
def test_implicit_als_trains_and_encodes_sixty_clients(benchmark: Any) -> None:
    P, clients = np.zeros((M, D), np.float32), np.arange(M)
    train = IALS.unwritten_trainer(1)
    benchmark.pedantic(
        lambda: ALS_TERNARY.encode_unwritten(train(als_task(), clients, P), b"", 1),
        rounds=20,
        warmup_rounds=1,
    )
    assert benchmark.stats["min"] <= 0.06


@PROCESSOR
def test_sixty_ternary_updates_are_added_up(benchmark: Any) -> None:
    P = np.zeros((M, D), np.float32)
    updates = IALS.unwritten_trainer(1)(als_task(), np.arange(M), P)
    payloads = ALS_TERNARY.encode_unwritten(updates, b"", 1)
    exchange = Exchange(aggregator_named("uniform"), ALS_TERNARY, ALS_TERNARY)
    benchmark.pedantic(
        lambda: exchange.aggregate(payloads, [1] * M, b""), rounds=20, warmup_rounds=1
    )
    assert benchmark.stats["min"] <= 0.025


@PROCESSOR
def test_users_are_solved_to_be_scored(benchmark: Any) -> None:
    task = als_task()
    benchmark.pedantic(lambda: IALS.factors(task, task.Q[:M], 1), rounds=20, warmup_rounds=1)
    assert M / benchmark.stats["min"] >= 5_000
