"""Numbers of three levels: the compiled arithmetic of `bfedrec.compression.codecs.ternary`.

An item's r numbers share a step s, and each is rounded to the nearest of -s, 0 and s. Five levels
make a byte, as digits to the base 3 (level + 1), the first row's digit being the lowest. A step is
a bfloat16 or a power of two: the bits of a float32 from the top, sign left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from bfedrec.compression.codec import Buffer
from bfedrec.threads import in_threads, thread_count

DIGITS = 5
"""Digits to the base 3 in a byte: 3^5 = 243."""
SHIFT = {1: 23, 2: 16}
"""Place of a step's lowest bit in those of a float32, by the step's number of bytes."""
FLAWS = (None, "digits are beyond the last level", "levels do not fit their step")
"""The flaws of levels, by the number that `_flaw` gives them."""
INFINITE = {1: 0xFF, 2: 0x7F80}
"""Bits of an infinite step, by its number of bytes; larger values are NaN or negative."""


TILE = 128
"""Items that are encoded at once: their numbers at r = 64 fill a processor's first cache."""


def ternarise(A: np.ndarray, cut: float, step_bytes: int) -> bytes:
    """The steps and then the packed levels of A, float32[r, N], for steps of ``cut`` times an
    item's largest magnitude, in ``step_bytes`` bytes (1 or 2); N (step_bytes + ceil(r / 5)) bytes.

    An item whose numbers are too small for a step has step 0 and levels of 0; one with a number
    that is not finite, or too large for a step, has an infinite step.
    """
    A = np.ascontiguousarray(A, np.float32)
    r, N = A.shape
    encoded = np.empty(N * (step_bytes + -(-r // DIGITS)), np.uint8)
    _encode(A, np.float32(cut), step_bytes, encoded)
    return encoded.tobytes()


def total(datas: Sequence[Buffer], r: int, N: int, step_bytes: int) -> np.ndarray:
    """The sum of encoded updates, float64[r, N], as one adds them up that `unternarise` decodes."""
    joined = np.frombuffer(b"".join(datas), np.uint8).reshape(len(datas), -1)
    steps = np.empty((len(datas), N), np.float32)
    for place, data in enumerate(datas):
        bits = np.frombuffer(data, f"<u{step_bytes}", N).astype(np.uint16)
        steps[place] = float32(bits, step_bytes)
    levels = np.zeros((256, DIGITS), np.float64)
    for place in range(DIGITS):
        levels[:, place] = np.arange(256) // 3**place % 3 - 1
    result = np.empty((r, N), np.float64)
    parts = np.array_split(np.arange(N), thread_count())
    in_threads(_add_up, [(part, joined, steps, step_bytes, levels, result) for part in parts])
    return result


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
    if _sound(steps, packed, full, 3**used):
        return None
    return FLAWS[_flaw(steps, packed, full, 3**used)]


def float32(steps: np.ndarray, step_bytes: int) -> np.ndarray:
    """The steps as float32[N]."""
    return (steps.astype(np.uint32) << np.uint32(SHIFT[step_bytes])).view(np.float32)


def rounded(values: np.ndarray, step_bytes: int) -> np.ndarray:
    """The bits of the nearest steps, uint16[N], of float32[N] without a sign; ties to even in two
    bytes, to the larger in one, but to 0 from half of the least."""
    steps, halves = np.empty(len(values), np.int32), np.empty(len(values), np.float32)
    round_steps(np.array(values, np.float32), step_bytes, steps, halves)
    return steps.astype(np.uint16)


@njit(nogil=True, cache=True)
def round_steps(values, step_bytes, steps, halves):  # type: ignore[no-untyped-def]
    """Fill `steps` (int32[N]) with the bits of the steps nearest to `values` (float32[N], which are
    overwritten), and `halves` (float32[N]) with half of each, or infinity where no number moves."""
    whole = values.view(np.int32)
    shift = np.int32(23) if step_bytes == 1 else np.int32(16)
    infinite = np.int32(0xFF) if step_bytes == 1 else np.int32(0x7F80)
    for i in range(steps.size):
        even = ((whole[i] >> np.int32(16)) & np.int32(1)) + np.int32(0x7FFF)
        # A largest number of half the least step is not above half of it: it would move nothing.
        larger = np.int32(1 << 22) - np.int32(whole[i] < np.int32(1 << 23))
        more = larger if step_bytes == 1 else even
        bits = (whole[i] + more) >> shift
        steps[i] = bits if whole[i] < np.int32(0x7F800000) else infinite
        whole[i] = steps[i] << shift
    for i in range(steps.size):
        moves = steps[i] > 0 and steps[i] < infinite
        halves[i] = values[i] * np.float32(0.5) if moves else np.float32(np.inf)


@njit(nogil=True, cache=True)
def _encode(A, cut, step_bytes, encoded):  # type: ignore[no-untyped-def]
    """Fill `encoded`, uint8[N (step_bytes + ceil(r / 5))], with the encoding of A."""
    r, N = A.shape
    tile = np.zeros((-(-r // DIGITS) * DIGITS, TILE), np.float32)
    for first in range(0, N, TILE):
        count = min(TILE, N - first)
        for k in range(r):
            for i in range(count):
                tile[k, i] = A[k, first + i]
        _encode_tile(tile, r, N, first, count, cut, step_bytes, encoded)


@njit(nogil=True, cache=True)
def _encode_tile(tile, r, N, first, count, cut, step_bytes, encoded):  # type: ignore[no-untyped-def]
    """Encode the `count` items from `first` on, whose r numbers each are in the first r rows of
    `tile` (float32[5 ceil(r / 5), TILE]); its other rows are 0."""
    width = tile.shape[0] // DIGITS
    # Magnitudes are compared by their bits, of which NaN's are the largest.
    largest, bits = np.zeros(TILE, np.int32), tile.view(np.int32)
    for k in range(r):
        row = bits[k]
        for i in range(TILE):
            size = row[i] & np.int32(0x7FFFFFFF)
            if size > largest[i]:
                largest[i] = size
    magnitudes, halves = largest.view(np.float32), np.empty(TILE, np.float32)
    for i in range(TILE):
        largest[i] = min(largest[i], np.int32(0x7F800000))
        magnitudes[i] *= cut
    steps = np.empty(TILE, np.int32)
    round_steps(magnitudes, step_bytes, steps, halves)
    for i in range(count):
        for byte in range(step_bytes):
            encoded[(first + i) * step_bytes + byte] = (steps[i] >> (8 * byte)) & 255
    # Codes in 32 bits, like the numbers that are compared: vectors of one width.
    codes, unused = np.empty((width, TILE), np.int32), unused_digits(r)
    for byte in range(width):
        line, k = codes[byte], DIGITS * byte
        a, b, c, d, e = tile[k], tile[k + 1], tile[k + 2], tile[k + 3], tile[k + 4]
        for i in range(TILE):
            half = halves[i]
            code = level(a[i], half) + np.int32(3) * level(b[i], half)
            code += np.int32(9) * level(c[i], half) + np.int32(27) * level(d[i], half)
            line[i] = code + np.int32(81) * level(e[i], half) + np.int32(121)
    place = N * step_bytes + first * width
    for i in range(count):
        for byte in range(width):
            encoded[place + i * width + byte] = codes[byte, i]
        encoded[place + (i + 1) * width - 1] -= unused


@njit(nogil=True, cache=True)
def unused_digits(r):  # type: ignore[no-untyped-def]
    """The digits of an item's last byte beyond the r numbers, as rows of 0 have them: 1 each."""
    unused = 0
    for k in range(r, -(-r // DIGITS) * DIGITS):
        unused += 3 ** (k % DIGITS)
    return unused


@njit(nogil=True, cache=True)
def level(number, half):  # type: ignore[no-untyped-def]
    """1 above half a step, -1 below minus half, otherwise 0."""
    return np.int32(number > half) - np.int32(number < -half)


@njit(nogil=True, cache=True)
def _add_up(part, joined, steps, step_bytes, levels, result):  # type: ignore[no-untyped-def]
    """Fill the columns `part` of `result`, float64[r, N], from the bytes `joined` (uint8[M, N
    (step_bytes + ceil(r / 5))]) of updates with these steps (float32[M, N]); `levels`: float64[256,
    5], by byte."""
    (r, N), M = result.shape, steps.shape[0]
    width = -(-r // DIGITS)
    step, total = np.empty(M, np.float64), np.empty((width, DIGITS), np.float64)
    for i in part:
        place = N * step_bytes + i * width
        for m in range(M):
            step[m] = steps[m, i]
        # Two bytes at a time: their sums do not wait for each other.
        for byte in range(0, width, 2):
            other = min(byte + 1, width - 1)
            a = b = c = d = e = f = g = h = k = l = 0.0
            for m in range(M):  # a level times a step is exact
                s, one, two = step[m], joined[m, place + byte], joined[m, place + other]
                a, b = a + levels[one, 0] * s, b + levels[one, 1] * s
                c, d = c + levels[one, 2] * s, d + levels[one, 3] * s
                e, f = e + levels[one, 4] * s, f + levels[two, 0] * s
                g, h = g + levels[two, 1] * s, h + levels[two, 2] * s
                k, l = k + levels[two, 3] * s, l + levels[two, 4] * s
            line, last = total[byte], total[other]
            line[0], line[1], line[2], line[3], line[4] = a, b, c, d, e
            last[0], last[1], last[2], last[3], last[4] = f, g, h, k, l
        for row in range(r):
            result[row, i] = total[row // DIGITS, row % DIGITS]


@njit(nogil=True, cache=True)
def _unpack(step, packed, A):  # type: ignore[no-untyped-def]
    """Fill A, float32[r, N], from `packed`, uint8[ceil(r / 5), N]."""
    r, N = A.shape
    left = np.empty(N, np.int32)
    for k in range(r):
        if k % DIGITS == 0:
            for i in range(N):
                left[i] = packed[k // DIGITS, i]
        row = A[k]
        for i in range(N):
            rest = (left[i] * np.int32(171)) >> np.int32(9)  # a third, rounded down, below 256
            row[i] = np.float32(left[i] - np.int32(3) * rest - np.int32(1)) * step[i]
            left[i] = rest


@njit(nogil=True, cache=True)
def _sound(steps, packed, full, last):  # type: ignore[no-untyped-def]
    """True if `_flaw` finds none; in a fifth of its time, as most levels of an item are looked at
    only for their size."""
    N, width = packed.shape
    largest = np.uint8(0)
    for code in packed.reshape(-1):
        largest = max(largest, code)
    if largest >= full:
        return False
    zero, last_zero = (full - 1) // 2, (last - 1) // 2
    for i in range(N):
        moved, byte = packed[i, width - 1] != last_zero, 0
        while not moved and byte < width - 1:
            moved = packed[i, byte] != zero
            byte += 1
        if packed[i, width - 1] >= last or moved != (steps[i] > 0):
            return False
    return True


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
