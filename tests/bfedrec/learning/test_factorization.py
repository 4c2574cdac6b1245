"""The loss and its gradients, which every implementation of a client's training follows."""

import numpy as np
import pytest

from bfedrec.learning.factorization import batch_gradients, batch_loss, initial_factors


def test_initial_factors_have_the_asked_spread_and_follow_the_generator() -> None:
    factors = initial_factors(4000, 64, 0.5, np.random.default_rng(3))
    assert factors.shape == (4000, 64)
    assert factors.dtype == np.float32
    assert factors.std() == pytest.approx(0.5 / 8, rel=0.01)
    assert np.array_equal(factors, initial_factors(4000, 64, 0.5, np.random.default_rng(3)))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_gradients_are_the_slopes_of_the_loss(l2: float) -> None:
    rng = np.random.default_rng(0)
    d, r, N = 5, 2, 7
    p, A, Q, B = (rng.standard_normal(shape) for shape in ((d,), (r, N), (N, d), (d, r)))
    items = np.array([1, 3, 3, 6])  # item 3 twice: its gradients add up
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    in_p, in_A = batch_gradients(p, A, Q, B, items, labels, l2)

    def slope(array: np.ndarray, place: tuple[int, ...]) -> float:
        kept, values = array[place], []
        for change in (1e-5, -1e-5):
            array[place] = kept + change
            values.append(batch_loss(p, A, Q, B, items, labels, l2))
        array[place] = kept
        return (values[0] - values[1]) / 2e-5

    assert in_p == pytest.approx([slope(p, (j,)) for j in range(d)], abs=1e-8)
    for k in range(r):
        assert in_A[k] == pytest.approx([slope(A, (k, i)) for i in range(N)], abs=1e-8)
    assert not in_A[:, [0, 2, 4, 5]].any()


def test_loss_stays_finite_where_the_sigmoid_saturates() -> None:
    p, Q = np.array([1000.0]), np.array([[1.0]])
    A, B = np.zeros((1, 1)), np.ones((1, 1))
    wrong = batch_loss(p, A, Q, B, np.array([0]), np.array([0.0]), 0.0)
    assert wrong == pytest.approx(1000.0)
