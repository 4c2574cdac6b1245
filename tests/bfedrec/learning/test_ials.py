"""Implicit ALS: the compiled form against the readable one, and that against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.config.load import load
from bfedrec.config.yaml_core import ConfigError
from bfedrec.learning import ials_kernels, implicit_als
from bfedrec.learning.basis import basis
from bfedrec.learning.method import METHODS
from bfedrec.learning.recency import Recency
from bfedrec.learning.sections import TrainingSection
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Diverged, LocalUpdates
from tests.helpers.learning_data import csr, random_clients

IALS = METHODS["ials"]()


def task(
    seed: int, r: int, *, users: int = 9, N: int = 30, d: int = 6, flipped: bool = False
) -> TrainingTask:
    """A round on random data; r = 0 stands for B = I."""
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((N, d)).astype(np.float32)
    B = basis("seeded", d, r, b"b") if r else np.eye(d, dtype=np.float32)
    training = TrainingSettings(method="ials", unobserved=0.3, l2=0.05)
    return TrainingTask(Q, B, *random_clients(rng, users, N), training, 0, flipped=flipped)


def train(given_task: TrainingTask, clients: list[int], threads: int | None = None) -> LocalUpdates:
    P = np.zeros((len(clients), given_task.Q.shape[1]), np.float32)
    return IALS.trainer("cpu", threads)(given_task, np.array(clients), P)


@settings(deadline=None, max_examples=25)  # the first call compiles
@given(seed=st.integers(0, 2**32), r=st.integers(0, 6), flipped=st.booleans())
def test_the_compiled_form_is_the_readable_one(seed: int, r: int, flipped: bool) -> None:
    round_ = task(seed, r, flipped=flipped)
    update = train(round_, list(range(9)))
    for client in range(9):
        told = implicit_als.train_client(round_, client)
        assert update.P[client] == pytest.approx(told.p, rel=1e-4, abs=1e-5)
        assert update.A[client] == pytest.approx(told.A, rel=1e-4, abs=1e-4)
        assert update.loss[client] == pytest.approx(told.loss, rel=1e-4, abs=1e-6)
    assert update.touched.all()
    assert update.samples.tolist() == np.diff(round_.indptr).tolist()


@pytest.mark.parametrize("flipped", [False, True])
def test_the_readable_form_is_the_stated_objective(flipped: bool) -> None:
    """p minimises L, and A is minus the gradient of L in Q: both by autograd in float64."""
    round_ = task(3, 0, flipped=flipped)
    alpha, l2, N = 0.3, 0.05, 30
    target, catalogue = (0.0, 1.0) if flipped else (1.0, 0.0)
    for client in range(2, 9):
        told = implicit_als.train_client(round_, client)
        own = torch.as_tensor(round_.positives(client)).long()
        Q = torch.tensor(round_.Q, dtype=torch.float64, requires_grad=True)
        p = torch.tensor(told.p, dtype=torch.float64, requires_grad=True)
        x = Q @ p
        loss = ((x[own] - target) ** 2).sum() / 2 + alpha / 2 * ((x - catalogue) ** 2).sum()
        loss += l2 / 2 * (len(own) + alpha * N) * (p**2).sum()
        loss += l2 / 2 * ((Q[own] ** 2).sum() + alpha * (Q**2).sum())
        in_Q, in_p = torch.autograd.grad(loss, (Q, p))
        assert in_p.abs().max().item() < 1e-4
        assert pytest.approx(-in_Q.numpy(), abs=1e-4) == told.A.T


def test_repeats_count_as_often_as_they_occur() -> None:
    once, twice = csr([[1, 2]]), csr([[1, 2, 2]])
    Q = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    training = TrainingSettings(method="ials")
    B = np.eye(3, dtype=np.float32)
    first = train(TrainingTask(Q, B, *once, training, 0), [0])
    second = train(TrainingTask(Q, B, *twice, training, 0), [0])
    assert not np.allclose(first.P, second.P)
    told = implicit_als.train_client(TrainingTask(Q, B, *twice, training, 0), 0)
    assert second.A[0] == pytest.approx(told.A, abs=1e-5)


def test_neither_threads_nor_company_change_a_bit() -> None:
    for r in (0, 4):
        round_ = task(5, r)
        whole = train(round_, list(range(9)), threads=1)
        again = train(round_, list(range(9)), threads=4)
        assert whole.A.tobytes() == again.A.tobytes()
        assert whole.P.tobytes() == again.P.tobytes()
        for client in range(9):
            alone = train(task(5, r), [client])
            assert alone.A.tobytes() == whole.A[[client]].tobytes()


@pytest.mark.parametrize("d", [1, 3, 4, 8, 13])
def test_a_solution_has_the_bits_of_the_plain_order(d: int) -> None:
    """Column after column, each taken off all of those behind it: recorded runs depend on it."""
    rng = np.random.default_rng(d)
    half = rng.standard_normal((d, d))
    matrix, right = half @ half.T + np.eye(d), rng.standard_normal(d)
    found = right.copy()
    ials_kernels._solve(matrix.copy(), found)
    left, told = matrix.copy(), right.copy()
    for j in range(d):
        left[j:, j] /= np.sqrt(left[j, j])
        left[j + 1 :, j + 1 :] -= np.outer(left[j + 1 :, j], left[j + 1 :, j])
    for j in range(d):
        told[j] /= left[j, j]
        told[j + 1 :] -= left[j + 1 :, j] * told[j]
    for j in reversed(range(d)):
        told[j] /= left[j, j]
        told[:j] -= left[j, :j] * told[j]
    assert found.tobytes() == told.tobytes()
    assert found == pytest.approx(np.linalg.solve(matrix, right))


def test_a_matrix_that_is_not_positive_definite_has_no_solution() -> None:
    found = np.ones(2)
    ials_kernels._solve(np.array([[1.0, 2.0], [2.0, 1.0]]), found)
    assert np.isnan(found).all()


def test_former_factors_do_not_matter() -> None:
    round_ = task(6, 0)
    P = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    again = IALS.trainer("cpu", 1)(round_, np.arange(9), P)
    assert again.A.tobytes() == train(round_, list(range(9))).A.tobytes()


def test_numbers_that_are_not_finite_are_told_with_the_client() -> None:
    round_ = task(7, 0)
    round_.Q[4] = np.inf
    with pytest.raises(Diverged, match=r"client 3's factors .*lower optimizer\.step_ppm"):
        train(round_, [3, 4])


def test_users_are_scored_by_their_solution_on_the_last_q() -> None:
    round_ = task(8, 0)
    P = IALS.factors(round_, np.zeros((9, 6), np.float32), threads=2)
    assert P.tobytes() == train(round_, list(range(9))).P.tobytes()


def test_recency_weighs_the_latest_most() -> None:
    round_ = task(9, 0)
    counts = np.diff(round_.indptr)
    places = np.concatenate([np.arange(n)[::-1] for n in counts]).astype(np.int32)
    recency = Recency(weight=5.0, places=2.0, unobserved=0.4, l2=0.03)
    P = IALS.ordered_factors(round_, places, recency, threads=2)
    for user in range(9):
        span = slice(round_.indptr[user], round_.indptr[user + 1])
        own, late = round_.indices[span], places[span]
        weights = 1 + 5.0 * np.exp(-late / 2.0)
        told = implicit_als.solve(round_.Q.astype(np.float64), own, weights, 0.4, 0.03)
        assert P[user] == pytest.approx(told, rel=1e-4, abs=1e-5)


def test_a_place_that_is_not_known_weighs_1() -> None:
    recency = Recency(weight=50.0, places=5.0, unobserved=1.0, l2=0.014)
    weights = recency.weights(np.array([0, 5, -1, 1_000_000], np.int32))
    assert weights == pytest.approx([51, 1 + 50 / np.e, 1, 1])


def test_weights_may_fall_as_a_power_of_the_place() -> None:
    recency = Recency(weight=100.0, places=3.0, unobserved=4.0, l2=0.014, power=1.5)
    weights = recency.weights(np.array([0, 3, 9, -1, 1_000_000], np.int32))
    assert weights == pytest.approx([101, 1 + 100 / 2**1.5, 1 + 100 / 8, 1, 1], abs=1e-6)


def test_only_sgd_keeps_a_clients_factors() -> None:
    round_ = task(10, 0)
    P = np.ones((9, 6), np.float32)
    assert METHODS["sgd"]().factors(round_, P) is P
    with pytest.raises(NotImplementedError):
        METHODS["sgd"]().ordered_factors(round_, P, Recency(1, 1, 1, 1))


def test_the_work_of_a_round_grows_with_data_and_catalogue() -> None:
    settings_ = TrainingSettings(method="ials")
    few, many = IALS.samples(settings_, np.array([10, 100]), 500, 64)
    assert 250 < few < many
    assert IALS.samples(settings_, np.array([10]), 5000, 64)[0] > few
    sgd = TrainingSettings(local_epochs=2, user_epochs=1, negatives=4)
    assert METHODS["sgd"]().samples(sgd, np.array([10]), 500, 64).tolist() == [10 * 5 * 3]


# --- options --------------------------------------------------------------------------------------


def test_every_setting_is_read_by_a_method() -> None:
    read = set().union(*(method.reads for method in METHODS.values()))
    assert read == set(TrainingSettings.model_fields) - {"method"}
    assert TrainingSection(method="ials").chosen == IALS


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["training.method=ials", "training.negatives=3"], "as training.method ials does not read"),
        (["training.unobserved=0.5"], "as training.method sgd does not read it"),
        (["training.method=isal"], "sgd | ials"),
        (["training.unobserved=0"], "training.unobserved: 0"),
        (["evaluation.recency=true"], "false, as training.method is sgd"),
        (["training.method=ials", "evaluation.recency_weight=2"], "as evaluation.recency is false"),
        (
            ["training.method=ials", "evaluation.recency_norm=0.4"],
            "expected 0.0, as evaluation.recency is",
        ),
        (
            ["training.method=ials", "evaluation.recency=true", "evaluation.recency_norm=1.5"],
            "evaluation.recency_norm: 1.5",
        ),
        (["training.method=ials", "evaluation.norm=-1.5"], "evaluation.norm: -1.5"),
        (
            ["evaluation.norm=-0.2"],
            "evaluation.norm: -0.2: expected 0.0, as training.method sgd solves no factors",
        ),
        (["evaluation.neighbours=-1"], "evaluation.neighbours: -1"),
        (["evaluation.neighbours_power=8"], "expected 4, as evaluation.neighbours is 0"),
        (
            ["training.method=fedncf", "compression.kind=dense", "evaluation.neighbours=1"],
            "expected 0.0, as training.method fedncf scores by no products",
        ),
        (["method=gmf", "evaluation.neighbours=1"], "evaluation.neighbours"),
        (
            ["model.basis=identity"],
            "rank 4 in 64 dimensions (identity: I, for",
        ),
        (["optimizer.step_ppm=5"], "optimizer.step_ppm: 5: expected 20000"),
        (["optimizer.kind=adaptive"], "row_adaptive"),
    ],
)
def test_what_has_no_effect_or_does_not_fit_is_refused(options: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
