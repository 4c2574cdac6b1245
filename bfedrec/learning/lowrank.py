"""The low-rank structure of an update: the basis B, and merging Delta = B A into Q (equation 6).

Every client of a round must hold the same B, or the mean of their A means nothing; B therefore
follows from what all of them have: the height's beacon, or the merged Q.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import numpy as np
from numba import njit

Basis = Literal["seeded", "svd", "fixed", "identity"]


def basis(kind: Basis, d: int, r: int, beacon: bytes, Q: np.ndarray | None = None) -> np.ndarray:
    """This round's B: float32[d, r], orthogonal columns of length sqrt(d/r).

    `seeded` draws it anew from `beacon`, the seed of the height. `fixed` is the same draw from
    whatever the caller hands over at every height (the beacon of the first). `svd` takes the top
    r right singular vectors of Q (float32[N, d]), the paper's "update B from Q"; the signs are
    fixed so that each column's largest entry is positive. `identity` is I, for updates of the whole
    Q (r = d): B A is A, and a step on it is a step on Q.

    The length makes E[B B'] = I under `seeded`: B A then stands for a full-rank update on average.
    Raises ValueError for an unknown kind, a rank outside 1 ... d, `svd` without Q, or `identity`
    with another rank than d.
    """
    if not 1 <= r <= d:
        raise ValueError(f"rank {r} is not between 1 and the dimension {d}")
    if kind == "identity":
        if r != d:
            raise ValueError(f"the identity basis has rank {d}, not {r}")
        return np.eye(d, dtype=np.float32)
    if kind == "svd":
        if Q is None or Q.shape[1] != d:
            raise ValueError(f"the svd basis needs Q with {d} columns")
        # Eigenvectors of Q'Q are Q's right singular vectors, at d x d instead of N x d.
        Q64 = Q.astype(np.float64)
        columns = np.linalg.eigh(Q64.T @ Q64)[1][:, : -r - 1 : -1]
        columns = columns * np.where(_leading(columns) < 0, -1.0, 1.0)
    elif kind in ("seeded", "fixed"):
        columns = _orthonormal(d, r, beacon)
    else:
        raise ValueError(f"basis {kind!r} is not one of seeded, svd, fixed, identity")
    return np.ascontiguousarray(columns * math.sqrt(d / r), np.float32)


def merge(Q: np.ndarray, B: np.ndarray, A: np.ndarray) -> np.ndarray:
    """The merged item factors Q + (B A)': a new float32[N, d] from Q, B (d, r) and A (r, N).

    Computed term by term in a fixed order, so that every client arrives at the same Q, byte for
    byte, as long as it merges the same A in the same order. Raises ValueError on a wrong shape.
    """
    if B.shape[0] != Q.shape[1] or A.shape != (B.shape[1], Q.shape[0]):
        raise ValueError(f"Q {Q.shape}, B {B.shape} and A {A.shape} do not fit together")
    merged = np.array(Q, np.float32, order="C")
    _add_product(merged, np.ascontiguousarray(B.T, np.float32), A.astype(np.float32, copy=False))
    return merged


@njit(nogil=True, cache=True)
def _add_product(Q, BT, A):  # type: ignore[no-untyped-def]
    """Add (B A)' to Q in place, one rank after the other."""
    for i in range(Q.shape[0]):
        for k in range(BT.shape[0]):
            for j in range(Q.shape[1]):
                Q[i, j] += A[k, i] * BT[k, j]


def _leading(columns: np.ndarray) -> np.ndarray:
    """The entry of largest magnitude of each column."""
    return columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])]


def _orthonormal(d: int, r: int, beacon: bytes) -> np.ndarray:
    """A uniformly distributed orthonormal d x r matrix (float64), drawn from `beacon`.

    Gaussian columns, made orthonormal by Gram-Schmidt, twice for accuracy; written out because a
    library's QR may sum in an order that depends on the machine.
    """
    digest = hashlib.sha256(b"bfedrec basis" + beacon).digest()
    generator = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], "<u8")))
    columns = generator.standard_normal((r, d))
    for k in range(r):
        for _ in range(2):
            for earlier in columns[:k]:
                columns[k] -= math.fsum(columns[k] * earlier) * earlier
        columns[k] /= math.sqrt(math.fsum(columns[k] ** 2))
    return columns.T
