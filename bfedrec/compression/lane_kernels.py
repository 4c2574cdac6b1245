"""Compiled loops of `bfedrec.compression.lanes`."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def pack_lanes(lanes, bits, packed):  # type: ignore[no-untyped-def]
    """Write the lowest `bits` bits of each lane to `packed`, the lowest first."""
    mask, held, waiting, place = np.uint64((1 << bits) - 1), np.uint64(0), 0, 0
    for lane in lanes:
        held |= (np.uint64(lane) & mask) << np.uint64(waiting)
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
    for number in range(lanes.size):
        while there < bits:
            held |= np.uint64(packed[place]) << np.uint64(there)
            there += 8
            place += 1
        lanes[number] = held & mask
        held >>= np.uint64(bits)
        there -= bits
