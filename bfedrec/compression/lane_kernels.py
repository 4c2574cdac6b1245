"""Compiled loops of `bfedrec.compression.lanes`."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def pack_lanes(lanes, bits, packed):  # type: ignore[no-untyped-def]
    """Write the lowest `bits` bits of each lane to `packed`, the lowest first."""
    mask, held, waiting, place = np.uint64((1 << bits) - 1), np.uint64(0), 0, 0
    first = 0
    if bits <= 8:  # eight lanes are whole bytes, and fit one word
        first = lanes.size // 8 * 8
        for start in range(0, first, 8):
            word = np.uint64(0)
            for k in range(8):
                word |= (np.uint64(lanes[start + k]) & mask) << np.uint64(k * bits)
            for k in range(bits):
                packed[place + k] = word & np.uint64(255)
                word >>= np.uint64(8)
            place += bits
    for number in range(first, lanes.size):
        held |= (np.uint64(lanes[number]) & mask) << np.uint64(waiting)
        waiting += bits
        while waiting >= 8:
            packed[place] = held & np.uint64(255)
            held >>= np.uint64(8)
            waiting -= 8
            place += 1
    if waiting:
        packed[place] = held


@njit(nogil=True, cache=True)
def unpack_lanes(packed, bits, lanes):  # type: ignore[no-untyped-def]
    """Read as many lanes of `bits` bits from `packed` as `lanes` has places."""
    mask, held, there, place = np.uint64((1 << bits) - 1), np.uint64(0), 0, 0
    first = 0
    if bits <= 8:
        first = lanes.size // 8 * 8
        for start in range(0, first, 8):
            word = np.uint64(0)
            for k in range(bits):
                word |= np.uint64(packed[place + k]) << np.uint64(8 * k)
            for k in range(8):
                lanes[start + k] = (word >> np.uint64(k * bits)) & mask
            place += bits
    for number in range(first, lanes.size):
        while there < bits:
            held |= np.uint64(packed[place]) << np.uint64(there)
            there += 8
            place += 1
        lanes[number] = held & mask
        held >>= np.uint64(bits)
        there -= bits
