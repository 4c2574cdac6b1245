"""Merging of an update Delta Q' = B A into Q (equation 6)."""

from __future__ import annotations

import numpy as np
from numba import njit


def merge(Q: np.ndarray, B: np.ndarray, A: np.ndarray) -> np.ndarray:
    """The merged item factors Q + (B A)': a new float32[N, d] from Q, B (d, r) and A (r, N).

    Computed term by term in a fixed order, so that all clients that merge the same A in the same
    order have the same Q, byte for byte. Raises ValueError on a wrong shape.
    """
    if B.shape[0] != Q.shape[1] or A.shape != (B.shape[1], Q.shape[0]):
        raise ValueError(f"Q {Q.shape}, B {B.shape} and A {A.shape} do not fit together")
    merged = np.array(Q, np.float32, order="C")
    _add_product(merged, np.ascontiguousarray(B.T, np.float32), A.astype(np.float32, copy=False))
    return merged


@njit(nogil=True, cache=True)
def _add_product(Q, BT, A):  # type: ignore[no-untyped-def]
    """Add (B A)' to Q in place, one rank after the other, four in one pass over a row of Q."""
    r, d = BT.shape
    whole = r - r % 4
    for i in range(Q.shape[0]):
        row = Q[i]
        for k in range(0, whole, 4):
            a, b, c, e = BT[k], BT[k + 1], BT[k + 2], BT[k + 3]
            of_a, of_b, of_c, of_e = A[k, i], A[k + 1, i], A[k + 2, i], A[k + 3, i]
            for j in range(d):
                row[j] = (((row[j] + of_a * a[j]) + of_b * b[j]) + of_c * c[j]) + of_e * e[j]
        for k in range(whole, r):
            a, of_a = BT[k], A[k, i]
            for j in range(d):
                row[j] += of_a * a[j]
