"""Numbers of three levels: the compiled arithmetic of `bfedrec.compression.codecs.ternary`.

An item's r numbers share a step s, and each is rounded to the nearest of -s, 0 and s. Five levels
make a byte, as digits to the base 3 (level + 1), the first row's digit being the lowest. A step is
a bfloat16 or a power of two: the bits of a float32 from the top, sign left out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DIGITS = 5
"""Digits to the base 3 in a byte: 3^5 = 243."""
SHIFT = {1: 23, 2: 16}
"""Place of a step's lowest bit in those of a float32, by the step's number of bytes."""
INFINITE = {1: 0xFF, 2: 0x7F80}
"""Bits of an infinite step, by its number of bytes; larger values are NaN or negative."""


def ternarise(A: np.ndarray, cut: float, step_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """The steps (uint16[N]) and packed levels (uint8[N, ceil(r / 5)]) of A, float32[r, N], for
    steps of ``cut`` times an item's largest magnitude, in ``step_bytes`` bytes (1 or 2).

    An item whose numbers are too small for a step has step 0 and levels of 0; one with a number
    that is not finite, or too large for a step, has an infinite step.
    """
    A = np.ascontiguousarray(A, np.float32)
    r, N = A.shape
    largest = np.empty(N, np.float32)
    _largest(A, largest)
    with np.errstate(over="ignore", invalid="ignore"):
        exact = largest * np.float32(cut)
    steps = rounded(exact, step_bytes)
    step = float32(steps, step_bytes)
    halves = np.where((steps > 0) & np.isfinite(step), step * np.float32(0.5), np.inf)
    packed = np.zeros((-(-r // DIGITS), N), np.uint8)
    _pack(A, halves.astype(np.float32), packed)
    return steps, np.ascontiguousarray(packed.T)


def unternarise(steps: np.ndarray, packed: np.ndarray, r: int, step_bytes: int) -> np.ndarray:
    """A, float32[r, N], from steps and levels without a `flaw`."""
    A = np.empty((r, len(steps)), np.float32)
    _unpack(float32(steps, step_bytes), np.ascontiguousarray(packed.T), A)
    return A


def flaw(steps: np.ndarray, packed: np.ndarray, r: int, step_bytes: int) -> str | None:
    """Return the reason why `ternarise` makes these steps and levels of no finite numbers, or
    None."""
    if (steps >= INFINITE[step_bytes]).any():
        return "not all numbers are finite"
    full, used = 3**DIGITS, r % DIGITS or DIGITS
    if (packed[:, :-1] >= full).any() or (packed[:, -1] >= 3**used).any():
        return "digits are beyond the last level"
    zeros = np.full(packed.shape[1], (full - 1) // 2, np.uint8)
    zeros[-1] = (3**used - 1) // 2
    if not np.array_equal((packed != zeros).any(axis=1), steps > 0):
        return "levels do not fit their step"
    return None


def rounded(values: np.ndarray, step_bytes: int) -> np.ndarray:
    """The bits of the nearest steps, uint16[N], of float32[N] without a sign; ties to even in two
    bytes, to the larger in one."""
    whole = values.view(np.uint32)
    even = (whole >> np.uint32(16)) & np.uint32(1)
    half = np.uint32(1 << 22) if step_bytes == 1 else even + np.uint32(0x7FFF)
    bits = (whole + half) >> np.uint32(SHIFT[step_bytes])
    return np.where(np.isfinite(values), bits, INFINITE[step_bytes]).astype(np.uint16)


def float32(steps: np.ndarray, step_bytes: int) -> np.ndarray:
    """The steps as float32[N]."""
    return (steps.astype(np.uint32) << np.uint32(SHIFT[step_bytes])).view(np.float32)


@njit(nogil=True, cache=True)
def _largest(A, largest):  # type: ignore[no-untyped-def]
    """Fill `largest` with the largest magnitude of each column; infinity where one is NaN."""
    largest[:] = 0
    for k in range(A.shape[0]):
        row = A[k]
        for i in range(row.size):
            size = abs(row[i])
            largest[i] = size if size > largest[i] or size != size else largest[i]
    for i in range(largest.size):
        if largest[i] != largest[i]:
            largest[i] = np.inf


@njit(nogil=True, cache=True)
def _pack(A, halves, packed):  # type: ignore[no-untyped-def]
    """Fill `packed`, uint8[ceil(r / 5), N]: a level is 1 above half a step, -1 below minus half."""
    r, N = A.shape
    weight = np.uint8(1)
    for k in range(r):
        weight = np.uint8(1) if k % DIGITS == 0 else np.uint8(3 * weight)
        row, codes = A[k], packed[k // DIGITS]
        for i in range(N):
            digit = np.uint8(1) + np.uint8(row[i] > halves[i]) - np.uint8(row[i] < -halves[i])
            codes[i] += np.uint8(digit * weight)


@njit(nogil=True, cache=True)
def _unpack(step, packed, A):  # type: ignore[no-untyped-def]
    """Fill A, float32[r, N], from `packed`, uint8[ceil(r / 5), N]."""
    r, N = A.shape
    left = np.empty(N, np.uint8)
    for k in range(r):
        if k % DIGITS == 0:
            left[:] = packed[k // DIGITS]
        row = A[k]
        for i in range(N):
            rest = np.uint8(left[i] // np.uint8(3))
            level = np.float32(left[i]) - np.float32(3) * np.float32(rest) - np.float32(1)
            row[i] = level * step[i]
            left[i] = rest
