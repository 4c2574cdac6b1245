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
FLAWS = (None, "digits are beyond the last level", "levels do not fit their step")
"""The flaws of levels, by the number that `_flaw` gives them."""
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
    return FLAWS[_flaw(steps, packed, full, 3**used)]


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
    # Sums in 32 bits, like the numbers that are compared: vectors of one width.
    codes = np.empty(N, np.int32)
    for byte in range(packed.shape[0]):
        codes[:] = 0
        weight = np.int32(1)
        for k in range(DIGITS * byte, min(r, DIGITS * (byte + 1))):
            row = A[k]
            for i in range(N):
                above, below = row[i] > halves[i], row[i] < -halves[i]
                codes[i] += weight * (np.int32(1) + np.int32(above) - np.int32(below))
            weight = np.int32(3 * weight)
        for i in range(N):
            packed[byte, i] = codes[i]


@njit(nogil=True, cache=True)
def _unpack(step, packed, A):  # type: ignore[no-untyped-def]
    """Fill A, float32[r, N], from `packed`, uint8[ceil(r / 5), N]."""
    r, N = A.shape
    left = np.empty(N, np.int32)
    for k in range(r):
        if k % DIGITS == 0:
            left[:] = packed[k // DIGITS]
        row = A[k]
        for i in range(N):
            rest = (left[i] * np.int32(171)) >> np.int32(9)  # a third, rounded down, below 256
            row[i] = np.float32(left[i] - np.int32(3) * rest - np.int32(1)) * step[i]
            left[i] = rest


@njit(nogil=True, cache=True)
def _flaw(steps, packed, full, last):  # type: ignore[no-untyped-def]
    """The number of the first flaw in `FLAWS`; a byte is below `full`, an item's last below
    `last`."""
    N, width = packed.shape
    zero, last_zero = (full - 1) // 2, (last - 1) // 2
    for i in range(N):
        moved = packed[i, width - 1] != last_zero
        if packed[i, width - 1] >= last:
            return 1
        for byte in range(width - 1):
            if packed[i, byte] >= full:
                return 1
            moved |= packed[i, byte] != zero
        if moved != (steps[i] > 0):
            return 2
    return 0
