"""The readable client, the compiled cohort and the device's cohort compute the same update."""

from __future__ import annotations

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
from bfedrec.learning.cohort_torch import train_cohort_on  # noqa: E402

LOSSES = st.sampled_from([("bce", 0.0), ("bce", 0.7), ("bce", 3.0), ("softmax", 0.0)])
TRAINING = st.builds(
    lambda loss, **others: TrainingSettings(loss=loss[0], virtual_share=loss[1], **others),
    loss=LOSSES,
    local_epochs=st.integers(1, 3),
    user_epochs=st.integers(0, 2),
    batch_size=st.integers(1, 40),
    negatives=st.integers(1, 5),
    item_step=st.floats(0.01, 1.0),
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
