"""Lanes: integers modulo 2^k side by side, as they are summed and as they travel.

In memory a lane is a machine integer of 8 or 16 bits, whose sums wrap around at a multiple of 2^k;
the k bits below are the sum modulo 2^k. On the wire k bits follow k bits, the lowest first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

MOST_BITS: Final = 16


def lane_type(bits: int) -> np.dtype:
    """The unsigned integers that hold lanes of so many bits, little-endian. Raises ValueError for
    more than `MOST_BITS`."""
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"lanes of {bits} bits: expected 1 to {MOST_BITS}")
    return np.dtype("u1" if bits <= 8 else "<u2")


def packed_size(count: int, bits: int) -> int:
    """Bytes of ``count`` lanes of so many bits."""
    return (count * bits + 7) // 8


def pack(lanes: np.ndarray, bits: int) -> bytes:
    """The lowest ``bits`` bits of each lane (uint[n]), ceil(n bits / 8) bytes; what is left of the
    last byte is 0."""
    packed = np.zeros(packed_size(len(lanes), bits), np.uint8)
    _pack(np.ascontiguousarray(lanes, lane_type(bits)), bits, packed)
    return packed.tobytes()


def unpack(data: bytes | memoryview, count: int, bits: int) -> np.ndarray:
    """The ``count`` lanes (uint[n], each below 2^bits) that `pack` wrote."""
    lanes = np.empty(count, lane_type(bits))
    _unpack(np.frombuffer(data, np.uint8, packed_size(count, bits)), bits, lanes)
    return lanes


def spare_bits_set(data: bytes | memoryview, count: int, bits: int) -> bool:
    """True if bits beyond the last lane are not 0: then the same lanes have another encoding."""
    used = count * bits % 8
    return bool(used and data[-1] >> used)


def centred(lanes: np.ndarray, bits: int) -> np.ndarray:
    """The numbers from -2^(k-1) to 2^(k-1) - 1, int32[n], that lanes stand for modulo 2^k."""
    half = 1 << (bits - 1)
    low = (lanes.astype(np.int32) + half) & ((1 << bits) - 1)
    return low - half


@njit(nogil=True, cache=True)
def _pack(lanes, bits, packed):  # type: ignore[no-untyped-def]
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
def _unpack(packed, bits, lanes):  # type: ignore[no-untyped-def]
    mask, held, there, place = np.uint64((1 << bits) - 1), np.uint64(0), 0, 0
    for number in range(lanes.size):
        while there < bits:
            held |= np.uint64(packed[place]) << np.uint64(there)
            there += 8
            place += 1
        lanes[number] = held & mask
        held >>= np.uint64(bits)
        there -= bits
