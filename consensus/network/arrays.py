"""A table of arrays for compiled loops, which find them by their addresses.

To hand over twenty arrays costs Numba more time than most loops of `consensus.network.kernels`
take; one table of their addresses and shapes costs half a microsecond.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: Places in the table of arrays (`Arrays`).
TIMES: Final = 0
"""float64[entries]: the heap's times ..."""
NUMBERS: Final = 1
"""... int64[entries]: the numbers of its entries ..."""
ENTRIES: Final = 2
"""... int64[entries]: and the entries."""
CELL: Final = 3
"""int64[cells]: integers shared with the caller."""
CLOCK: Final = 4
"""float64[2]: times shared with the caller."""
EGRESS: Final = 5
"""float64[servers]: seconds at which each server's egress queue is free ..."""
INGRESS: Final = 6
"""... float64[servers]: its ingress queue ..."""
BUSY: Final = 7
"""... float64[servers]: and its processor."""
STRETCHES: Final = 8
"""float64[drawn]: factors of latencies."""
TREE_OF: Final = 9
"""int64[servers]: place of each origin's tree; negative if it is not at hand."""
STARTS: Final = 10
"""int64[trees, servers + 1]: where each server's children begin ..."""
CHILDREN: Final = 11
"""... int64[trees, servers]: the children ..."""
DELAYS: Final = 12
"""... float64[trees, servers]: and the latencies to them."""
STALE: Final = 13
"""bool[servers]: the server's credits are to be asked for."""
GROUND_OF: Final = 14
"""int64[servers, lanes]: the ground of what a server takes in unheard ..."""
CREDIT: Final = 15
"""... int64[servers, lanes]: and the weight that is left of it; `IGNORED` for any, which neither
costs nor changes anything."""
SEEN: Final = 16
"""bool[servers, names]: the server has had a message of the name."""
LOGGED: Final = 17
"""int64[2, servers]: number of messages taken in unheard: updates, and others ..."""
LOG: Final = 18
"""... int64[2, servers, names]: the messages ..."""
LOGGED_AT: Final = 19
"""... float64[2, servers, names]: and the seconds at which the work on them was done."""
LATEST: Final = 20
"""float64[servers]: the longest time in seconds until each server took in a message."""
ARRAYS: Final = 21


def digest(*constants: int) -> str:
    """The first 16 hex digits of the digest of this file and of constants of others."""
    told = Path(__file__).read_text(encoding="utf-8") + repr(constants)
    return sha256(told.encode()).hexdigest()[:16]


def check_built_on(built_on: str, *constants: int) -> None:
    """Raise RuntimeError where loops were written for another version of this file, or for other
    constants, than these: loops in Numba's cache may hold the old ones."""
    found = digest(*constants)
    if built_on != found:
        raise RuntimeError(
            f"consensus/network/kernels.py: BUILT_ON is {built_on}, but what its loops are "
            f'compiled with has changed: set it to "{found}"'
        )


class Arrays:
    """A table of arrays, and the arrays, which stay alive with it."""

    def __init__(self) -> None:
        self.table = np.zeros((ARRAYS, 4), np.int64)
        """By place: address and up to three dimensions."""
        self._kept: dict[int, np.ndarray] = {}

    def put(self, place: int, array: np.ndarray) -> np.ndarray:
        """Have an array at a place of the table, and keep it alive; returns it."""
        assert array.flags.c_contiguous
        self._kept[place] = array
        self.table[place, 0] = array.ctypes.data
        self.table[place, 1 : 1 + array.ndim] = array.shape
        return array


@intrinsic
def _pointer(context, address):
    """The pointer to an address."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@njit(cache=True)
def floats(table, place):
    """The array at a place of the table, float64[_]."""
    return carray(_pointer(table[place, 0]), table[place, 1], np.float64)


@njit(cache=True)
def ints(table, place):
    """The array at a place of the table, int64[_]."""
    return carray(_pointer(table[place, 0]), table[place, 1], np.int64)


@njit(cache=True)
def bools(table, place):
    """The array at a place of the table, bool[_]."""
    return carray(_pointer(table[place, 0]), table[place, 1], np.bool_)


@njit(cache=True)
def _shape(table, place):
    return table[place, 1], table[place, 2]


@njit(cache=True)
def float_rows(table, place):
    """The array at a place of the table, float64[_, _]."""
    return carray(_pointer(table[place, 0]), _shape(table, place), np.float64)


@njit(cache=True)
def int_rows(table, place):
    """The array at a place of the table, int64[_, _]."""
    return carray(_pointer(table[place, 0]), _shape(table, place), np.int64)


@njit(cache=True)
def bool_rows(table, place):
    """The array at a place of the table, bool[_, _]."""
    return carray(_pointer(table[place, 0]), _shape(table, place), np.bool_)


@njit(cache=True)
def float_blocks(table, place):
    """The array at a place of the table, float64[_, _, _]."""
    shape = table[place, 1], table[place, 2], table[place, 3]
    return carray(_pointer(table[place, 0]), shape, np.float64)


@njit(cache=True)
def int_blocks(table, place):
    """The array at a place of the table, int64[_, _, _]."""
    shape = table[place, 1], table[place, 2], table[place, 3]
    return carray(_pointer(table[place, 0]), shape, np.int64)
