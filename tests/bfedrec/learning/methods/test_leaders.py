"""PFedRec, FedNCF and FedRAP: their steps against autograd, their scores, and what must not move
them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bfedrec.learning.fedncf_kernels import network, sizes
from bfedrec.learning.method import METHODS, TrainingMethod
from bfedrec.learning.private_training import drawn
from bfedrec.learning.sections import TrainingSection
from bfedrec.learning.settings import ModelSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Diverged, LocalUpdates
from tests.helpers.learning_data import csr, random_clients

USERS, ITEMS, D = 7, 40, 12
LEADERS = {
    "pfedrec": {"user_epochs": 2, "local_epochs": 2},
    "fedncf": {"local_epochs": 2, "network_step": 0.3},
    "fedrap": {"local_epochs": 2, "private_step": 0.2, "difference": 0.02, "sparsity": 0.03},
}
COMMON = {"batch_size": 16, "negatives": 3, "l2": 0.02, "item_step": 0.3, "user_step": 0.4}
each_leader = pytest.mark.parametrize("name", LEADERS)


def world(name: str, **changes: float | str) -> tuple[TrainingMethod, TrainingTask, np.ndarray]:
    """A method, a round's task, and the private numbers of all clients, none of them 0."""
    settings = TrainingSection(method=name, **COMMON, **LEADERS[name], **changes)
    method, rng = METHODS.named(name)(), np.random.default_rng(5)
    model = ModelSettings(dimension=D, init_scale=2.0)
    P = method.initial_factors(model, USERS, ITEMS, rng)
    P += 0.3 * rng.standard_normal(P.shape).astype(np.float32)
    Q = rng.standard_normal((ITEMS, D)).astype(np.float32)
    shared = method.initial_shared(D, rng)
    shared += 0.1 * rng.standard_normal(shared.shape).astype(np.float32)
    data = random_clients(rng, USERS, ITEMS)
    Q = np.concatenate([Q, shared])
    B = np.eye(D, dtype=np.float32)
    return method, TrainingTask(Q, B, *data, settings, -7, step_scale=0.5, progress=0.1), P


def train(name: str, clients: list[int], threads: int | None = None) -> LocalUpdates:
    method, task, P = world(name)
    return method.trainer("cpu", threads)(task, np.array(clients), P[clients])


def assert_same(one: LocalUpdates, two: LocalUpdates) -> None:
    for field in ("A", "touched", "P", "samples", "loss"):
        assert np.array_equal(getattr(one, field), getattr(two, field)), field


# -- the equations of the modules, for autograd ---------------------------------------------------

Scores = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps private numbers, Q and items to scores."""


def pfedrec_scores(private: torch.Tensor, Q: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    return Q[items] @ private[:D] + private[D]


def fedrap_scores(private: torch.Tensor, Q: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    p, a = private[:D], private[D:]
    return (Q[items] + a[items, None] * p) @ p


def fedncf_scores(private: torch.Tensor, Q: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    k, h, theta = D // 2, D // 4, Q[ITEMS:].ravel()
    shapes = [(k,), (k, 2 * k), (k,), (h, k), (h,), (h,), ()]
    counts = [int(np.prod(shape)) for shape in shapes]
    w, W1, b1, W2, b2, m, b = (
        part.view(shape)
        for part, shape in zip(theta[: sum(counts)].split(counts), shapes, strict=True)
    )
    q, p = Q[items], private
    u = torch.relu(torch.cat([p[k:].expand(len(items), k), q[:, k:]], 1) @ W1.T + b1)
    v = torch.relu(u @ W2.T + b2)
    return (w * p[:k] * q[:, :k]).sum(1) + v @ m + b


SCORES: dict[str, Scores] = {
    "pfedrec": pfedrec_scores,
    "fedncf": fedncf_scores,
    "fedrap": fedrap_scores,
}


def penalty(name: str, task: TrainingTask, private: torch.Tensor, q: torch.Tensor, a: torch.Tensor):  # type: ignore[no-untyped-def]
    """All terms of L but the cross-entropy, for the batch's item factors and own numbers a_i."""
    settings, n, p = task.settings, len(q), private[:D]
    total = settings.l2 / 2 * ((p**2).sum() + (q**2).sum() / n)
    if name == "fedrap":
        grown = np.tanh(10 * task.progress)
        apart = ((a[:, None] * p - q) ** 2).sum()
        total = total + settings.l2 / 2 * (a**2).sum() / n
        total = total - settings.difference * grown / 2 * apart / n
        total = total + settings.sparsity * grown * q.abs().sum() / n
    return total


def by_autograd(
    name: str, task: TrainingTask, client: int, P: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The private numbers and Q after a round, and the loss, by autograd in float64."""
    settings = task.settings
    private = torch.tensor(P[client], dtype=torch.float64, requires_grad=True)
    Q = torch.tensor(task.Q, dtype=torch.float64, requires_grad=True)
    loss = 0.0
    for number, epoch in enumerate(drawn(task, client, ITEMS)):
        loss = 0.0
        for first in range(0, len(epoch.items), settings.batch_size):
            items = torch.tensor(epoch.items[first : first + settings.batch_size]).long()
            labels = torch.tensor(epoch.labels[first : first + settings.batch_size]).double()
            n = len(items)
            scores = SCORES[name](private, Q, items)
            entropy = binary_cross_entropy_with_logits(scores, labels)
            own = private[D:][items] if name == "fedrap" else private[:n]
            whole = entropy + penalty(name, task, private, Q[items], own)
            in_private, in_Q = torch.autograd.grad(whole, (private, Q))
            with torch.no_grad():
                trains_items = name != "pfedrec" or number >= settings.user_epochs
                if name != "pfedrec" or not trains_items:
                    private[: D + 1 if name == "pfedrec" else D] -= (
                        task.user_step * in_private[: D + 1 if name == "pfedrec" else D]
                    )
                if name == "fedrap":
                    private[D:] -= settings.private_step * task.step_scale * n * in_private[D:]
                if trains_items:
                    Q[:ITEMS] -= task.item_step * n * in_Q[:ITEMS]
                    Q[ITEMS:] -= settings.network_step * task.step_scale * in_Q[ITEMS:]
            loss += entropy.item() * n / len(epoch.items)
    return private.detach().numpy(), Q.detach().numpy(), loss


@each_leader
@pytest.mark.parametrize("flipped", [False, True])
def test_it_steps_along_the_gradients_of_its_loss(name: str, flipped: bool) -> None:
    method, task, P = world(name)
    task = replace(task, flipped=flipped)
    update = method.trainer("cpu", None)(task, np.arange(USERS), P)
    for u in range(USERS):
        private, Q, loss = by_autograd(name, task, u, P)
        assert update.P[u] == pytest.approx(private, abs=2e-5)
        assert update.A[u] == pytest.approx((Q - task.Q).T, abs=2e-5)
        assert update.loss[u] == pytest.approx(loss, abs=1e-5)
        moved = np.unique(np.concatenate([e.items for e in drawn(task, u, ITEMS)[-2:]]))
        assert np.array_equal(np.flatnonzero(update.touched[u][:ITEMS]), moved)
        assert (update.touched[u][ITEMS:] == (len(moved) > 0)).all()
    assert np.abs(update.A).max() > 0.01
    assert np.abs(update.P - P).max() > 0.01


@each_leader
def test_scores_are_those_of_the_equations(name: str) -> None:
    method, task, P = world(name)
    scorer = method.scorer(task, P)
    assert scorer is not None
    users = np.array([2, 5])
    for row, u in zip(scorer(users), users, strict=True):
        Q = torch.tensor(task.Q, dtype=torch.float64)
        if name == "pfedrec":  # by the item factors that the client tunes for itself
            tuned = train_items_alone(task, int(u), P)
            assert np.abs(tuned - task.Q).max() > 0.01
            Q = torch.tensor(tuned, dtype=torch.float64)
        private = torch.tensor(P[u], dtype=torch.float64)
        expected = SCORES[name](private, Q, torch.arange(ITEMS)).numpy()
        assert row == pytest.approx(expected, abs=2e-5)
    assert np.array_equal(scorer(users[:1])[0], scorer(users)[0])


def train_items_alone(task: TrainingTask, client: int, P: np.ndarray) -> np.ndarray:
    """Q after a client's passes on the items, under the score function that it has."""
    Q, settings = task.Q.astype(np.float64), task.settings
    w, b = P[client, :D].astype(np.float64), float(P[client, D])
    for epoch in drawn(task, client, ITEMS)[settings.user_epochs :]:
        for first in range(0, len(epoch.items), settings.batch_size):
            items = epoch.items[first : first + settings.batch_size]
            slopes = (
                1 / (1 + np.exp(-(Q[items] @ w + b))) - epoch.labels[first : first + len(items)]
            )
            rows = slopes[:, None] * w + settings.l2 * Q[items]
            np.subtract.at(Q, items, task.item_step * rows)
    return Q


@each_leader
def test_neither_threads_nor_the_cohort_change_a_bit(name: str) -> None:
    whole = train(name, list(range(USERS)))
    assert_same(whole, train(name, list(range(USERS)), threads=1))
    turned = train(name, list(range(USERS))[::-1], threads=3)
    for field in ("A", "touched", "P", "samples", "loss"):
        assert np.array_equal(getattr(turned, field)[::-1], getattr(whole, field)), field
    alone = train(name, [4])
    assert np.array_equal(alone.A[0], whole.A[4])
    assert np.array_equal(alone.P[0], whole.P[4])


@each_leader
def test_the_arguments_stay_as_they_are(name: str) -> None:
    method, task, P = world(name)
    Q, kept = task.Q.copy(), P.copy()
    method.trainer("cpu", None)(task, np.arange(USERS), P)
    scorer = method.scorer(task, P)
    assert scorer is not None
    scorer(np.arange(USERS))
    assert np.array_equal(task.Q, Q)
    assert np.array_equal(P, kept)


@each_leader
def test_excluded_items_are_never_trained_as_negatives(name: str) -> None:
    method, task, P = world(name)
    held_out = np.array([30, 35, 39])
    indptr, indices = csr([list(range(u, u + 9)) for u in range(USERS)])
    task = replace(task, indptr=indptr, indices=indices)
    sets = [np.union1d(task.positives(u), held_out).astype(np.int32) for u in range(USERS)]
    excluded = np.cumsum([0, *map(len, sets)]), np.concatenate(sets)
    seen = []
    for one in (task, replace(task, excluded=excluded)):
        update = method.trainer("cpu", None)(one, np.arange(USERS), P)
        seen.append(update.touched[:, held_out].any())
    assert seen == [True, False]


@each_leader
def test_who_has_no_data_sends_nothing(name: str) -> None:
    method, task, P = world(name)
    indptr, indices = csr([[], [1, 2]])
    task = replace(task, indptr=indptr, indices=indices)
    update = method.trainer("cpu", None)(task, np.array([0, 1]), P[:2])
    assert not update.touched[0].any()
    assert not update.A[0].any()
    assert np.array_equal(update.P[0], P[0])
    assert update.loss[0] == 0.0 < update.loss[1]


@each_leader
def test_divergence_names_the_client(name: str) -> None:
    method, task, P = world(name)
    P[3] = np.float32(3e38)
    with pytest.raises(Diverged, match="client 3's factors"):
        method.trainer("cpu", None)(task, np.arange(USERS), P)


@each_leader
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    method, task, P = world(name)
    with pytest.raises(ValueError, match="do not fit"):
        method.trainer("cpu", None)(task, np.arange(2), P[:3])
    short = replace(task, Q=task.Q[: ITEMS - 1])
    with pytest.raises(ValueError, match=r"rows, .* of them items"):
        method.trainer("cpu", None)(short, np.arange(USERS), P)
    with pytest.raises(ValueError, match="client ids"):
        method.trainer("cpu", None)(task, np.array([USERS]), P[:1])


@pytest.mark.parametrize("d", [2, 4, 6, 32, 64])
def test_the_rows_after_the_items_hold_the_weights(d: int) -> None:
    method = METHODS.named("fedncf")()
    shared = method.initial_shared(d, np.random.default_rng(0))
    assert shared.shape == (method.shared_rows(d), d)
    _, count = sizes(d // 2)
    assert 0 <= shared.size - count < d
    assert not shared.ravel()[count:].any()
    theta = shared.ravel().copy()
    for part in network(theta, d // 2):
        part[:] = 7
    assert (theta == 7).sum() == count
