"""The compiled steps of GMF and BPR against their gradients, and those against the losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bfedrec.baselines.mf_sgd import Trainer, bpr_gradients, gmf_gradients
from bfedrec.config.centralised import CentralisedSettings
from bfedrec.data.dataset import Dataset
from bfedrec.learning.negative_sampling import client_state, draw_absent
from bfedrec.learning.upload import Diverged
from bfedrec.streams import Streams
from tests.helpers.learning_data import held_out

L2, STEP = 0.03, 0.2


def numeric(loss: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """The gradient of `loss` by central differences."""
    found = np.empty_like(at)
    for k in range(at.size):
        shift = np.zeros_like(at)
        shift[k] = 1e-6
        found[k] = (loss(at + shift) - loss(at - shift)) / 2e-6
    return found


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_gmf_gradients_are_those_of_its_loss(label: float) -> None:
    rng = np.random.default_rng(1)
    d = 3
    x = rng.normal(size=3 * d + 1)

    def loss(x: np.ndarray) -> float:
        p, q, h, b = x[:d], x[d : 2 * d], x[2 * d : -1], x[-1]
        z = h @ (p * q) + b
        entropy = np.logaddexp(0.0, -z if label else z)
        return float(entropy + L2 / 2 * (p @ p + q @ q + b * b))

    gradients = gmf_gradients(x[:d], x[d : 2 * d], x[2 * d : -1], x[-1], label, L2)
    assert np.hstack(gradients) == pytest.approx(numeric(loss, x), abs=1e-8)


def test_bpr_gradients_are_those_of_its_loss() -> None:
    rng = np.random.default_rng(2)
    d = 3
    x = rng.normal(size=3 * d + 2)

    def loss(x: np.ndarray) -> float:
        p, qi, qj, bi, bj = x[:d], x[d : 2 * d], x[2 * d : -2], x[-2], x[-1]
        entropy = np.logaddexp(0.0, -(p @ (qi - qj) + bi - bj))
        return float(entropy + L2 / 2 * (x @ x))

    gradients = bpr_gradients(x[:d], x[d : 2 * d], x[2 * d : -2], x[-2], x[-1], L2)
    assert np.hstack(gradients) == pytest.approx(numeric(loss, x), abs=1e-8)


def clients() -> Dataset:
    """Users with nothing, every item, one item, a repeated item, and some."""
    rng = np.random.default_rng(5)
    rows = [[], list(range(12)), [3], [1, 1, 4]]
    rows += [sorted(rng.choice(12, 6, replace=False).tolist()) for _ in range(8)]
    return held_out(12, rows, [-1] * len(rows), [[]] * len(rows))


def trainer(pairwise: bool, **options: object) -> Trainer:
    chosen = CentralisedSettings(epochs=2, step=STEP, l2=L2, negatives=3, **options)  # type: ignore[arg-type]
    return Trainer(pairwise, clients(), chosen, 5, 1.0, Streams(7))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("weights", ["learned", "ones"])
def test_an_epoch_of_gmf_is_a_step_along_every_gradient(weights: str, bias: bool) -> None:
    one = trainer(False, output_weights=weights, item_bias=bias)
    P, Q, h, b = (part.astype(np.float64) for part in vars(one.factors).values())
    data = one.dataset
    order = one.streams.generator("training", 1).permutation(one.usable)
    state = np.uint64(client_state(one.streams.integer("training", 1), 0))
    losses = []
    for sample in order:
        u = one.user[sample]
        row = data.indices[data.indptr[u] : data.indptr[u + 1]]
        for draw in range(4):
            i, label = data.indices[sample], 1.0
            if draw:
                i, state = draw_absent(np.uint64(state), row, data.items)
                label = 0.0
                assert i not in row
            z = h @ (P[u] * Q[i]) + b[i]
            losses.append(np.logaddexp(0.0, -z if label else z))
            in_p, in_q, in_h, in_b = gmf_gradients(P[u], Q[i], h, b[i], label, L2)
            P[u] -= STEP * in_p
            Q[i] -= STEP * in_q
            h -= STEP * in_h * (weights == "learned")
            b[i] -= STEP * in_b * bias
    loss = one.play_epoch()
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert len(losses) == one.samples
    for found, expected in zip(vars(one.factors).values(), (P, Q, h, b), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_an_epoch_of_bpr_is_a_step_along_every_gradient(bias: bool) -> None:
    one = trainer(True, item_bias=bias)
    P, Q, _, b = (part.astype(np.float64) for part in vars(one.factors).values())
    data = one.dataset
    order = one.streams.generator("training", 1).permutation(one.usable)
    state = np.uint64(client_state(one.streams.integer("training", 1), 0))
    losses = []
    for sample in order:
        u, i = one.user[sample], data.indices[sample]
        row = data.indices[data.indptr[u] : data.indptr[u + 1]]
        for _ in range(3):
            j, state = draw_absent(np.uint64(state), row, data.items)
            losses.append(np.logaddexp(0.0, -(P[u] @ (Q[i] - Q[j]) + b[i] - b[j])))
            in_p, in_i, in_j, in_bi, in_bj = bpr_gradients(P[u], Q[i], Q[j], b[i], b[j], L2)
            P[u] -= STEP * in_p
            Q[i] -= STEP * in_i
            Q[j] -= STEP * in_j
            b[i] -= STEP * in_bi * bias
            b[j] -= STEP * in_bj * bias
    loss = one.play_epoch()
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert len(losses) == one.samples
    for found, expected in zip(vars(one.factors).values(), (P, Q, np.ones(5), b), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_negatives_are_uniform_over_what_is_not_in_training() -> None:
    present = np.array([0, 2, 2, 5], np.int32)
    state, counts = np.uint64(1), np.zeros(8, np.int64)
    for _ in range(8000):
        item, state = draw_absent(np.uint64(state), present, 8)
        counts[item] += 1
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert np.abs(counts[[1, 3, 4, 6, 7]] - 1600).max() < 200  # five standard deviations


def test_the_step_falls_to_its_share_in_the_last_epoch() -> None:
    chosen = CentralisedSettings(epochs=5, step=0.4, final_step=0.25)
    assert [chosen.step_at(epoch) for epoch in (1, 3, 5)] == pytest.approx([0.4, 0.25, 0.1])
    assert CentralisedSettings(epochs=1, step=0.4, final_step=0.25).step_at(1) == 0.4


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    first, second = trainer(False), trainer(False)
    for _ in range(2):
        first.play_epoch()
        second.play_epoch()
    assert np.array_equal(first.factors.P, second.factors.P)
    assert first.samples == 4 * (1 + 3 + 8 * 6)  # the user with every item stays out


@pytest.mark.parametrize("pairwise", [True, False])
def test_a_loss_that_no_figure_can_tell_is_divergence(pairwise: bool) -> None:
    settings = CentralisedSettings(step=1e-30, l2=0.0)
    great = Trainer(pairwise, clients(), settings, 5, 1.0, Streams(7))
    great.factors.P[:], great.factors.Q[:] = 1e12, 1e12 * np.arange(-6, 6)[:, None]
    with pytest.raises(Diverged, match=r"epoch 1: the mean loss is .*; lower centralised\.step"):
        great.play_epoch()
