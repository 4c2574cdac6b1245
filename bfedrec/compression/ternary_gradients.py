"""Numbers of three levels of updates that are known by their terms
(`bfedrec.learning.gradients.Gradients`): the compiled encoding that never writes an update out.

The bytes are those of `bfedrec.compression.ternary.ternarise`. Of an item that its client does not
have, each number is -alpha y, y = (x_i - catalogue) b_k + l2 F_ki; it takes less time to compute
these once more than to keep them: once for the item's largest, which gives the step, and once for
the levels. Rounding keeps order, so that the largest |alpha y| is |alpha| times the largest |y|.
The few items that a client does have are written over afterwards, one by one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bfedrec.compression.ternary import DIGITS, level, round_steps, unused_digits
from bfedrec.learning.gradients import Gradients
from bfedrec.learning.ials_kernels import count_items
from bfedrec.threads import balanced, in_threads, thread_count

TILE = 128
"""Items that are encoded at once, of one client after the other: the terms that these share stay in
a processor's first cache."""


def ternarise_gradients(
    gradients: Gradients, cut: float, step_bytes: int, threads: int | None = None
) -> list[bytes]:
    """`ternarise` of all updates of ``gradients``, without writing them out; the same bytes."""
    (r, N), M = gradients.factors.shape, len(gradients.clients)
    encoded = np.empty((M, N * (step_bytes + -(-r // DIGITS))), np.uint8)
    shared = (gradients, np.float32(cut), step_bytes, encoded)
    parts = balanced(np.ones(M), min(thread_count(threads), max(M, 1)))
    in_threads(_encode, [(part, *shared) for part in parts])
    return [row.tobytes() for row in encoded]


@njit(nogil=True, cache=True)
def _encode(part, gradients, cut, step_bytes, encoded):  # type: ignore[no-untyped-def]
    """Fill the rows `part` of `encoded`, uint8[M, N (step_bytes + ceil(r / 5))]."""
    (r, N), problem = gradients.factors.shape, gradients.problem
    alpha, catalogue = np.float32(problem.alpha), np.float32(problem.catalogue)
    width, unused = -(-r // DIGITS), unused_digits(r)
    # Rows beyond r are 0. The terms of y: x - catalogue of a tile, b, and l2 F of the tile.
    errors, slopes = np.zeros(TILE, np.float32), np.zeros(width * DIGITS, np.float32)
    decay, faults = np.zeros((width * DIGITS, TILE), np.float32), np.zeros(TILE, np.float32)
    by_item = np.zeros((TILE, r), np.float32)  # the same as `decay`
    largest, halves = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    steps, codes = np.empty(TILE, np.int32), np.empty((width, TILE), np.uint8)
    own, levels = np.zeros((TILE, width * DIGITS), np.float32), np.empty(width * DIGITS, np.int32)
    times = np.zeros((part.size, N), np.int32)
    for place in range(part.size):
        count_items(gradients, part[place], times[place], 1)
    for first in range(0, N, TILE):
        count = min(TILE, N - first)
        _fill_decay(gradients, first, count, decay, by_item, faults)
        for place in range(part.size):
            m, counts = part[place], times[place, first : first + count]
            for i in range(count):
                errors[i] = gradients.x[m, first + i] - catalogue
            for k in range(r):
                slopes[k] = gradients.slopes[m, k]
            _fill_largest(errors, slopes, decay, faults, alpha, largest)
            _fill_own(gradients, m, first, counts, by_item, own, largest)
            for i in range(TILE):
                largest[i] *= cut
            round_steps(largest, step_bytes, steps, halves)
            for byte in range(width):
                k = DIGITS * byte
                _code(errors, slopes, decay, k, -alpha, halves, codes[byte])
            _code_own(counts, own, halves, levels, codes)
            for i in range(TILE):
                codes[width - 1, i] -= unused
            _put(first, count, N, steps, step_bytes, codes, encoded[m])


@njit(nogil=True, cache=True)
def _fill_decay(gradients, first, count, decay, by_item, faults):  # type: ignore[no-untyped-def]
    """Write l2 F of the `count` items from `first` on to `decay` and `by_item`, and to `faults` NaN
    for each item with a number that is not finite, 0 for others."""
    l2 = np.float32(gradients.problem.l2)
    faults[:] = 0.0
    for k in range(gradients.factors.shape[0]):
        for i in range(count):
            decay[k, i] = l2 * gradients.factors[k, first + i]
            faults[i] += decay[k, i] * np.float32(0)
    for i in range(count):
        for k in range(by_item.shape[1]):
            by_item[i, k] = decay[k, i]


@njit(nogil=True, cache=True)
def _fill_largest(errors, slopes, decay, faults, alpha, largest):  # type: ignore[no-untyped-def]
    """Write the largest |alpha y| of each item to `largest`: infinity if one is not finite."""
    fault = np.float32(0)
    for k in range(slopes.size):
        fault += slopes[k] * np.float32(0)
    largest[:] = 0.0
    for k in range(0, slopes.size, DIGITS):
        _raise_largest(errors, slopes, decay, k, largest)
    # The comparisons may have passed over NaN, which comes of terms that are not finite.
    for i in range(TILE):
        size = abs(alpha) * largest[i] + (errors[i] * np.float32(0) + (faults[i] + fault))
        largest[i] = size if size < np.inf else np.float32(np.inf)


@njit(nogil=True, cache=True)
def _raise_largest(errors, slopes, decay, k, largest):  # type: ignore[no-untyped-def]
    """Raise `largest` to the |y| of five rows from `k` on."""
    a, b, c, d, e = slopes[k], slopes[k + 1], slopes[k + 2], slopes[k + 3], slopes[k + 4]
    A, B, C, D, E = decay[k], decay[k + 1], decay[k + 2], decay[k + 3], decay[k + 4]
    for i in range(TILE):
        error = errors[i]
        one, two = abs(error * a + A[i]), abs(error * b + B[i])
        three, four = abs(error * c + C[i]), abs(error * d + D[i])
        five = abs(error * e + E[i])
        one = one if one > two else two
        three = three if three > four else four
        one = one if one > three else three
        five = five if five > largest[i] else largest[i]
        largest[i] = one if one > five else five


@njit(nogil=True, cache=True)
def _fill_own(gradients, m, first, counts, by_item, own, largest):  # type: ignore[no-untyped-def]
    """Write the numbers of those items that the client at place m has (`counts`: how often, from
    the item `first` on) to the rows of `own`, and the largest of each to `largest`."""
    problem, slopes = gradients.problem, gradients.slopes[m]
    alpha, catalogue = np.float32(problem.alpha), np.float32(problem.catalogue)
    target, bits, sizes = np.float32(problem.target), own.view(np.int32), largest.view(np.int32)
    for i in range(counts.size):
        if counts[i] > 0:
            x = gradients.x[m, first + i]
            error, rest, top = x - catalogue, x - target, np.int32(0)
            for k in range(slopes.size):
                own[i, k] = -alpha * (error * slopes[k] + by_item[i, k])
            for _ in range(counts[i]):
                for k in range(slopes.size):
                    own[i, k] -= rest * slopes[k] + by_item[i, k]
            # By their bits, of which those of NaN are the largest.
            for k in range(slopes.size):
                top = max(top, bits[i, k] & np.int32(0x7FFFFFFF))
            sizes[i] = top


@njit(nogil=True, cache=True)
def _code(errors, slopes, decay, k, factor, halves, line):  # type: ignore[no-untyped-def]
    """Write the digits of the numbers `factor` y of five rows from `k` on to `line`, uint8[TILE];
    those of rows beyond r are 1."""
    a, b, c, d, e = slopes[k], slopes[k + 1], slopes[k + 2], slopes[k + 3], slopes[k + 4]
    A, B, C, D, E = decay[k], decay[k + 1], decay[k + 2], decay[k + 3], decay[k + 4]
    for i in range(TILE):
        error, half = errors[i], halves[i]
        code = level(factor * (error * a + A[i]), half)
        code += np.int32(3) * level(factor * (error * b + B[i]), half)
        code += np.int32(9) * level(factor * (error * c + C[i]), half)
        code += np.int32(27) * level(factor * (error * d + D[i]), half)
        line[i] = code + np.int32(81) * level(factor * (error * e + E[i]), half) + np.int32(121)


@njit(nogil=True, cache=True)
def _code_own(counts, own, halves, levels, codes):  # type: ignore[no-untyped-def]
    """Write the digits of the items that a client has over what `_code` wrote. `levels`: room for
    those of an item, int32[5 ceil(r / 5)]."""
    for i in range(counts.size):
        if counts[i] > 0:
            half = halves[i]
            for k in range(levels.size):
                levels[k] = level(own[i, k], half)
            for byte in range(codes.shape[0]):
                k = DIGITS * byte
                code = levels[k] + np.int32(3) * levels[k + 1] + np.int32(9) * levels[k + 2]
                code += np.int32(27) * levels[k + 3] + np.int32(81) * levels[k + 4]
                codes[byte, i] = code + np.int32(121)


@njit(nogil=True, cache=True)
def _put(first, count, N, steps, step_bytes, codes, encoded):  # type: ignore[no-untyped-def]
    """Write the steps and codes of the `count` items from `first` on to their places."""
    width, begin = codes.shape[0], first * step_bytes
    lines = encoded[begin : begin + count * step_bytes].reshape(count, step_bytes)
    for byte in range(step_bytes):
        for i in range(count):
            lines[i, byte] = (steps[i] >> (8 * byte)) & 255
    begin = N * step_bytes + first * width
    lines = encoded[begin : begin + count * width].reshape(count, width)
    for byte in range(width):
        line = codes[byte]
        for i in range(count):
            lines[i, byte] = line[i]
