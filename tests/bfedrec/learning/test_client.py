"""The readable client, the compiled cohort and the device's cohort compute the same update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.learning.basis import basis
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Diverged
from tests.helpers.learning_data import csr, random_clients

torch = pytest.importorskip("torch")
from bfedrec.learning.client import train_client  # noqa: E402
from bfedrec.learning.cohort_torch import MOST_PADDING, steps, train_cohort_on  # noqa: E402

LOSSES = st.sampled_from([("bce", 0.0), ("bce", 0.7), ("bce", 3.0), ("softmax", 0.0)])
TRAINING = st.builds(
    lambda loss, **others: TrainingSettings(loss=loss[0], virtual_share=loss[1], **others),
    loss=LOSSES,
    local_epochs=st.integers(1, 3),
    user_epochs=st.integers(0, 2),
    batch_size=st.integers(1, 40),
    negatives=st.integers(1, 5),
    item_step=st.floats(0.01, 1.0),
    item_gradient=st.sampled_from(["sum", "mean"]),
    user_step=st.floats(0.01, 1.0),
    l2=st.sampled_from([0.0, 0.01, 0.3]),
)


@given(
    training=TRAINING,
    d=st.integers(1, 20),
    rank=st.floats(0, 1),
    kind=st.sampled_from(["seeded", "svd"]),
    seed=st.integers(0, 2**63 - 1),
    step_scale=st.floats(0.1, 1.0),
    flipped=st.booleans(),
    predicts=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_all_three_agree_on_the_same_draws(
    training: TrainingSettings,
    d: int,
    rank: float,
    kind: str,
    seed: int,
    step_scale: float,
    flipped: bool,
    predicts: bool,
) -> None:
    rng = np.random.default_rng(seed)
    M, N, r = 4, int(rng.integers(2, 25)), 1 + int(rank * (d - 1))
    P, Q = initial_factors(M, d, 1.0, rng), initial_factors(N, d, 1.0, rng)
    B = basis(kind, d, r, b"beacon", Q) if d <= N else basis("seeded", d, r, b"beacon")
    indptr, indices = random_clients(rng, M, N)
    task = TrainingTask(Q, B, indptr, indices, training, seed, step_scale, flipped, predicts)
    fast = train_cohort(task, np.arange(M), P)
    device = train_cohort_on("cpu", task, np.arange(M), P)
    tolerance = {"rtol": 1e-3, "atol": 2e-5}
    assert np.array_equal(fast.touched, device.touched)
    assert np.array_equal(fast.samples, device.samples)
    np.testing.assert_allclose(fast.A, device.A, **tolerance)
    np.testing.assert_allclose(fast.P, device.P, **tolerance)
    np.testing.assert_allclose(fast.loss, device.loss, **tolerance)
    for u in range(M):
        one = train_client(task, u, P[u])
        assert np.array_equal(one.touched, fast.touched[u])
        np.testing.assert_allclose(one.A, fast.A[u], **tolerance)
        np.testing.assert_allclose(one.p, fast.P[u], **tolerance)
        np.testing.assert_allclose(one.loss, fast.loss[u], **tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 16, "l2": 0.02},
        {"batch_size": 500, "user_epochs": 2},
        {"batch_size": 20, "loss": "softmax", "l2": 0.02},
        {"batch_size": 16, "virtual_share": 1.5},
        {"batch_size": 16, "item_gradient": "mean"},
    ],
    ids=str,
)
def test_a_device_trains_clients_of_very_different_sizes_alike(options: dict[str, Any]) -> None:
    """Also a client without data and one with every item, whose passes have other lengths."""
    rng = np.random.default_rng(1)
    sizes = [0, 200, *np.clip(rng.lognormal(2.5, 1.2, 28), 1, 150).astype(int)]
    indptr, indices = csr([sorted(rng.choice(200, size, replace=False)) for size in sizes])
    P, Q = initial_factors(30, 8, 1.0, rng), initial_factors(200, 8, 1.0, rng)
    training = TrainingSettings(negatives=3, item_step=0.1, user_step=0.1, **options)
    predicts = training.virtual_share > 0
    task = TrainingTask(
        Q, basis("seeded", 8, 3, b""), indptr, indices, training, 5, predicts=predicts
    )
    clients = rng.permutation(30)
    fast, device = train_cohort(task, clients, P), train_cohort_on("cpu", task, clients, P)
    assert np.array_equal(fast.touched, device.touched)
    assert np.array_equal(fast.samples, device.samples)
    for name in ("A", "P", "loss"):
        one, two = getattr(fast, name), getattr(device, name)
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=2e-5)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 400), st.booleans())
@settings(max_examples=200, deadline=None)
def test_steps_hold_every_sample_once_and_little_padding(
    sizes: list[int], size: int, descends: bool
) -> None:
    lengths = np.array(sorted(sizes, reverse=True) if descends else sizes, np.int64)
    held = np.zeros((len(lengths), 301), np.int64)
    begun, cells = np.zeros(len(lengths), np.int64), 0
    for first, bucket, width in steps(lengths, size):
        assert first % size == 0
        assert 1 <= width <= size
        # A client's steps follow each other.
        assert (first >= begun[bucket]).all()
        begun[bucket] = first + width
        held[bucket, first : first + width] += 1
        cells += (bucket.stop - bucket.start) * width
    for m, length in enumerate(lengths):
        assert (held[m, :length] == 1).all()
    assert held.max() <= 1
    assert (1 - MOST_PADDING) * cells <= lengths.sum()


def test_clients_of_one_size_take_one_computation_a_step() -> None:
    assert list(steps(np.full(5, 130), 64)) == [
        (0, slice(0, 5), 64),
        (64, slice(0, 5), 64),
        (128, slice(0, 5), 2),
    ]


def test_an_empty_cohort_on_a_device_is_an_empty_update() -> None:
    rng = np.random.default_rng(0)
    Q, (indptr, indices) = initial_factors(9, 4, 1.0, rng), csr([[0, 1]])
    task = TrainingTask(Q, basis("seeded", 4, 2, b""), indptr, indices, TrainingSettings(), 0)
    update = train_cohort_on("cpu", task, [], np.empty((0, 4), np.float32))
    assert update.A.shape == (0, 2, 9)
    assert update.P.shape == (0, 4)


def test_an_item_that_counts_several_times_is_trained_each_time() -> None:
    # lfm-2k `rows`: an artist once per tag, so that one batch holds the same positive repeatedly.
    rng = np.random.default_rng(0)
    P, Q, B = initial_factors(1, 4, 1.0, rng), initial_factors(6, 4, 1.0, rng), np.eye(4)[:, :2]
    B = B.astype(np.float32)
    indptr, indices = csr([[2, 2, 2, 5]])
    training = TrainingSettings(batch_size=32, l2=0.1)
    task = TrainingTask(Q, B, indptr, indices, training, 3)
    fast, one = train_cohort(task, [0], P), train_client(task, 0, P[0])
    assert fast.samples[0] == 4
    np.testing.assert_allclose(one.A, fast.A[0], atol=1e-6)
    np.testing.assert_allclose(one.p, fast.P[0], atol=1e-6)


def test_on_a_device_bad_input_and_divergence_are_told_alike() -> None:
    rng = np.random.default_rng(0)
    P, Q = initial_factors(2, 4, 1.0, rng), initial_factors(9, 4, 1.0, rng)
    B = basis("seeded", 4, 2, b"")
    indptr, indices = csr([[0, 1], [2, 5]])
    with pytest.raises(ValueError, match="do not fit"):
        train_cohort_on("cpu", TrainingTask(Q, B, indptr, indices, TrainingSettings(), 0), [0], P)
    huge = TrainingSettings(item_step=1e30, user_step=1e30)
    with pytest.raises(Diverged, match="client 0"):
        train_cohort_on("cpu", TrainingTask(Q, B, indptr, indices, huge, 0), [0, 1], P)


def test_the_readable_client_leaves_its_arguments() -> None:
    rng = np.random.default_rng(0)
    p, Q, B = initial_factors(1, 4, 1.0, rng)[0], initial_factors(9, 4, 1.0, rng), np.eye(4, 2)
    copies = p.copy(), Q.copy()
    task = TrainingTask(Q, B.astype(np.float32), *csr([[1, 2]]), TrainingSettings(), 0)
    train_client(task, 0, p)
    assert np.array_equal(p, copies[0])
    assert np.array_equal(Q, copies[1])
