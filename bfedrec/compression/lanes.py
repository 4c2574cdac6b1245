"""Lanes: integers modulo 2^k side by side, as they are summed and as they travel.

In memory a lane is a machine integer of 8 or 16 bits, whose sums wrap around at a multiple of 2^k;
the k bits below are the sum modulo 2^k. On the wire k bits follow k bits, the lowest first.
"""

from __future__ import annotations

from typing import Final

import numpy as np

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
    if bits == 8 * lane_type(bits).itemsize:
        return np.ascontiguousarray(lanes, lane_type(bits)).tobytes()
    from bfedrec.compression.lane_kernels import pack_lanes  # readers of chains need no compiler

    packed = np.zeros(packed_size(len(lanes), bits), np.uint8)
    pack_lanes(np.ascontiguousarray(lanes, lane_type(bits)), bits, packed)
    return packed.tobytes()


def unpack(data: bytes | memoryview, count: int, bits: int) -> np.ndarray:
    """The ``count`` lanes (uint[n], each below 2^bits, perhaps read-only) that `pack` wrote."""
    if bits == 8 * lane_type(bits).itemsize:
        return np.frombuffer(data, lane_type(bits), count)
    from bfedrec.compression.lane_kernels import unpack_lanes

    lanes = np.empty(count, lane_type(bits))
    unpack_lanes(np.frombuffer(data, np.uint8, packed_size(count, bits)), bits, lanes)
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
