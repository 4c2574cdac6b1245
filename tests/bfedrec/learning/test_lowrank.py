"""The basis B and merging an update into Q."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.learning.basis import basis
from bfedrec.learning.lowrank import merge

DIMENSIONS = st.integers(1, 24).flatmap(lambda d: st.tuples(st.just(d), st.integers(1, d)))


@given(DIMENSIONS, st.binary(max_size=40))
def test_seeded_basis_is_orthogonal_with_columns_of_length_root_d_over_r(
    size: tuple[int, int], beacon: bytes
) -> None:
    d, r = size
    B = basis("seeded", d, r, beacon)
    assert B.shape == (d, r)
    assert B.dtype == np.float32
    assert np.allclose(B.T @ B, np.eye(r) * d / r, atol=1e-5 * d)


def test_seeded_basis_follows_the_beacon_alone() -> None:
    assert np.array_equal(basis("seeded", 8, 3, b"one"), basis("seeded", 8, 3, b"one"))
    assert not np.array_equal(basis("seeded", 8, 3, b"one"), basis("seeded", 8, 3, b"two"))
    assert np.array_equal(basis("fixed", 8, 3, b"one"), basis("seeded", 8, 3, b"one"))


def test_seeded_basis_stays_the_same_over_versions() -> None:
    # A chain's clients rebuild every B from its beacons: another draw is another protocol.
    B = basis("seeded", 3, 2, b"bfedrec")
    expected = [[-0.77412832, -0.29755858], [0.94673198, -0.32361895], [-0.06651244, -1.14312279]]
    assert pytest.approx(np.array(expected), abs=1e-7) == B


def test_seeded_update_is_a_full_rank_one_on_average() -> None:
    mean = (
        sum(B @ B.T for B in (basis("seeded", 6, 2, bytes([i, i // 256])) for i in range(256)))
        / 256
    )
    assert np.allclose(mean, np.eye(6), atol=0.35)


@given(st.integers(0, 5).flatmap(lambda k: st.tuples(st.just(2**k), st.integers(1, 2**k))))
def test_hadamard_basis_has_orthogonal_columns_of_one_magnitude(size: tuple[int, int]) -> None:
    d, r = size
    B = basis("hadamard", d, r, b"beacon").astype(np.float64)
    assert np.allclose(B.T @ B, np.eye(r) * d / r, atol=1e-5 * d)
    assert np.allclose(np.abs(B), np.sqrt(1 / r))


def test_hadamard_basis_follows_the_beacon_and_is_a_full_rank_one_on_average() -> None:
    def drawn(number: int) -> np.ndarray:
        return basis("hadamard", 8, 3, bytes([number % 256, number // 256]))

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))
    mean = sum(drawn(i) @ drawn(i).T for i in range(1024)) / 1024
    assert np.allclose(mean, np.eye(8), atol=0.2)


def test_hadamard_basis_stays_the_same_over_versions() -> None:
    signs = np.sign(basis("hadamard", 4, 3, b"bfedrec")).astype(int)
    assert signs.tolist() == [[-1, -1, -1], [1, -1, 1], [1, 1, -1], [-1, 1, 1]]


def test_svd_basis_spans_the_strongest_directions_of_q() -> None:
    rng = np.random.default_rng(1)
    Q = (rng.standard_normal((40, 6)) * [9, 5, 3, 1, 0.5, 0.1]).astype(np.float32)
    B = basis("svd", 6, 2, b"", Q)
    top = np.linalg.svd(Q.astype(np.float64))[2][:2]
    assert np.allclose(np.abs(top @ B), np.eye(2) * np.sqrt(3), atol=1e-5)
    assert (B[np.abs(B).argmax(axis=0), [0, 1]] > 0).all()


def test_merge_adds_the_product_and_leaves_its_arguments() -> None:
    rng = np.random.default_rng(2)
    Q, B, A = (rng.standard_normal(s).astype(np.float32) for s in ((9, 5), (5, 2), (2, 9)))
    before = Q.copy()
    assert merge(Q, B, A) == pytest.approx(Q + (B @ A).T, abs=1e-5)
    assert np.array_equal(Q, before)


@pytest.mark.parametrize(
    ("kind", "d", "r", "words"),
    [
        ("seeded", 4, 5, "rank 5"),
        ("seeded", 4, 0, "rank 0"),
        ("svd", 4, 2, "needs Q"),
        ("random", 4, 2, "seeded, svd, fixed"),
        ("hadamard", 6, 2, "no rank 2 in 6 dimensions"),
    ],
)
def test_what_cannot_be_a_basis_is_refused(kind: str, d: int, r: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        basis(kind, d, r, b"")


def test_merge_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        merge(np.zeros((9, 5)), np.zeros((5, 2)), np.zeros((9, 2)))


@pytest.mark.parametrize("r", [1, 3, 4, 9])
def test_a_merge_has_the_bits_of_one_rank_after_the_other(r: int) -> None:
    rng = np.random.default_rng(r)
    Q, B, A = (rng.standard_normal(shape).astype(np.float32) for shape in ((7, 5), (5, r), (r, 7)))
    told = Q.copy()
    for k in range(r):
        told += np.outer(A[k], B[:, k])
    assert merge(Q, B, A).tobytes() == told.tobytes()
