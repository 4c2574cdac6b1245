"""The compiled step of `bfedrec.learning.optimizer.RowAdaptive`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SMALLEST = 1e-8
"""Added to an item's root mean square, as Adam does."""


@njit(nogil=True, cache=True)
def _kept(share, steps):  # type: ignore[no-untyped-def]
    """share^steps by repeated multiplication: a library's power may differ in the last bit."""
    kept = 1.0
    for _ in range(steps):
        kept *= share
        if kept == 0.0:
            break
    return kept


@njit(nogil=True, cache=True)
def advance(Q, V, s, Z, step, momentum, memory, height):  # type: ignore[no-untyped-def]
    """Move Q, V (float32[N, d]) and s (float32[N]) by the update Z (float32[N, d]), in place; each
    number is computed in float64 and rounded once."""
    N, d = Q.shape
    length = step / (1.0 - _kept(momentum, height))
    warm = 1.0 - _kept(memory, height)
    for i in range(N):
        square = 0.0
        for k in range(d):
            z = np.float64(Z[i, k])
            square += z * z
            V[i, k] = np.float32(momentum * V[i, k] + (1.0 - momentum) * z)
        s[i] = np.float32(memory * s[i] + (1.0 - memory) * (square / d))
        scale = length / (math.sqrt(s[i] / warm) + SMALLEST)
        for k in range(d):
            Q[i, k] = np.float32(Q[i, k] + scale * V[i, k])
