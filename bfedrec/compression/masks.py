"""The check of a mask against its update, compiled, for `bfedrec.compression.exchange`."""

from __future__ import annotations

from numba import njit


@njit(nogil=True, cache=True)
def strays(bits, mask):  # type: ignore[no-untyped-def]
    """True if an item outside the mask has an update. ``bits``: uint32[r, N], those of float32
    numbers, so that -0 does not pass for +0; ``mask``: uint8[ceil(N/8)], the lowest bit first."""
    r, N = bits.shape
    for i in range(N):
        if not mask[i >> 3] >> (i & 7) & 1:
            for k in range(r):
                if bits[k, i]:
                    return True
    return False
