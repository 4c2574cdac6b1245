"""Numbers of a few bits: the compiled arithmetic of `bfedrec.compression.codecs.quantised`.

An item's r numbers share a step, their largest magnitude over L = 2^(b-1) - 1, and each is rounded
to the nearest multiple of it, from -L to L. The step is a bfloat16, the upper half of a float32:
its 8 significant bits and the at most 7 of a level make a product that a float32 holds exactly, so
that a decoded update encodes to the same bytes again.
"""

from __future__ import annotations

import numpy as np
from numba import njit

INFINITE = 0x7F80
"""Bits of a bfloat16 infinity; larger values are NaN or negative."""
LEAST = 0x0080
"""Bits of the least bfloat16 of 8 significant bits. With fewer, the level of an item's largest
number could be another than L."""


def quantise(A: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantise A, float32[r, N], at b = ``bits`` from 2 to 8; return steps (uint16[N], bits of
    bfloat16) and packed levels (uint8[N, ceil(r b / 8)]).

    A level is stored as level + L in b bits, the lowest first; unused bits are 0. An item whose
    numbers are too small for a step has step 0 and levels of 0; one with a number that is not
    finite, or too large for a step, has the step infinity.
    """
    r, N = A.shape
    L = (1 << (bits - 1)) - 1
    with np.errstate(invalid="ignore", over="ignore"):
        exact = np.abs(A).max(axis=0, initial=0).astype(np.float32) / np.float32(L)
    steps = _bfloat16(exact)
    packed = np.zeros((N, (r * bits + 7) // 8), np.uint8)
    usable = (steps > 0) & (steps < INFINITE)
    _pack(np.ascontiguousarray(A, np.float32), usable, _float32(steps), bits, L, packed)
    return steps, packed


def dequantise(steps: np.ndarray, packed: np.ndarray, r: int, bits: int) -> np.ndarray:
    """A, float32[r, N], from steps and levels without a `flaw`."""
    A = np.empty((r, len(steps)), np.float32)
    _unpack(_float32(steps), packed, bits, (1 << (bits - 1)) - 1, A)
    return A


def flaw(steps: np.ndarray, packed: np.ndarray, r: int, bits: int) -> str | None:
    """Return the reason why `quantise` makes these steps and levels of no finite numbers, or
    None."""
    L = (1 << (bits - 1)) - 1
    with np.errstate(over="ignore"):
        if (steps >= INFINITE).any() or not np.isfinite(_float32(steps) * np.float32(L)).all():
            return "not all numbers are finite"
    if ((steps > 0) & (steps < LEAST)).any():
        return "a step is too small"
    levels = np.empty((r, len(steps)), np.float32)
    _unpack(np.ones(len(steps), np.float32), packed, bits, L, levels)
    if not np.array_equal(np.abs(levels).max(axis=0), np.where(steps, L, 0)):
        return "levels do not fit their step"
    used = r * bits % 8
    if used and (packed[:, -1] >> used).any():
        return "unused bits are set"
    return None


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even, of float32[N] without a sign; 0 below
    `LEAST`."""
    whole = values.view(np.uint32)
    rounded = (whole + np.uint32(0x7FFF) + ((whole >> np.uint32(16)) & np.uint32(1))) >> 16
    rounded[rounded < LEAST] = 0
    return np.where(np.isfinite(values), rounded, INFINITE).astype(np.uint16)


def _float32(steps: np.ndarray) -> np.ndarray:
    return (steps.astype(np.uint32) << np.uint32(16)).view(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _pack(A, usable, step, bits, L, packed):  # type: ignore[no-untyped-def]
    r, N = A.shape
    low, high = np.float32(-L), np.float32(L)
    for k in range(r):
        byte, shift = k * bits >> 3, k * bits & 7
        for i in range(N):
            level = np.float32(0)
            if usable[i]:
                level = min(max(np.rint(A[k, i] / step[i]), low), high)
            code = np.uint32(np.int32(level) + L) << shift
            packed[i, byte] |= code & 0xFF
            if shift + bits > 8:
                packed[i, byte + 1] |= code >> 8


@njit(nogil=True, cache=True)
def _code(packed, i, place, bits):  # type: ignore[no-untyped-def]
    """The code that begins at bit ``place`` of item i."""
    byte, shift = place >> 3, place & 7
    code = np.uint32(packed[i, byte]) >> np.uint32(shift)
    if shift + bits > 8:
        code |= np.uint32(packed[i, byte + 1]) << np.uint32(8 - shift)
    return np.int32(code & np.uint32((1 << bits) - 1))


@njit(nogil=True, cache=True)
def _unpack(step, packed, bits, L, A):  # type: ignore[no-untyped-def]
    r, N = A.shape
    for k in range(r):
        for i in range(N):
            A[k, i] = np.float32(_code(packed, i, k * bits, bits) - L) * step[i]
