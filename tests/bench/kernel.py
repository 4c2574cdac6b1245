"""The calibration kernel: a fixed piece of work, beside which every benchmark is timed.

Another machine, another clock rate or a busy neighbour change a benchmark's seconds and the
kernel's alike, and leave their ratio about as it was. For that the kernel has to be slowed down by
what slows the code down, so it is made of what a run is made of (`bfedrec run --profile`), in about
these shares of its time: interpreted Python over small objects, a heap and dictionaries (half:
servers and the event queue), elliptic curves and hashes of libsodium and OpenSSL (a quarter), a
compiled loop over scattered rows of float32 (an eighth: training), and NumPy on arrays that leave
the second cache (an eighth: aggregation, scoring). It uses nothing of this project, so that no
change here can change it; a change of this file makes every baseline void (`digest`).
"""

from __future__ import annotations

import hashlib
import heapq
from pathlib import Path

import numpy as np
from nacl import bindings
from numba import njit

SIZE, WIDTH = 4096, 64
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(bytes(32))
MESSAGE = bindings.crypto_sign(bytes(32), SECRET)
ROWS = np.random.default_rng(0).standard_normal((SIZE, WIDTH)).astype(np.float32)
ORDER = np.random.default_rng(1).permutation(SIZE)
TEXT = bytes(16_384)


class _Node:
    """A small object with a method that is called often."""

    __slots__ = ("held", "neighbours")

    def __init__(self, number: int) -> None:
        self.held: dict[int, float] = {}
        self.neighbours = [(number * step + 1) % 32 for step in (3, 5, 7)]

    def receive(self, number: int, time: float) -> bool:
        if number in self.held:
            return False
        self.held[number] = time
        return True


def _python() -> int:
    """Messages that flood a small graph, through a heap."""
    nodes = [_Node(number) for number in range(32)]
    queue: list[tuple[float, int, int]] = [(0.0, message, message % 32) for message in range(28)]
    count = 0
    while queue:
        time, message, at = heapq.heappop(queue)
        count += 1
        if nodes[at].receive(message, time):
            for other in nodes[at].neighbours:
                heapq.heappush(queue, (time + 1e-3 * (other + 1), message, other))
    return count


def _curves() -> None:
    """Signatures made and checked, and hashes."""
    for _ in range(16):
        bindings.crypto_sign_open(MESSAGE, PUBLIC)
        bindings.crypto_sign(MESSAGE[64:], SECRET)
        hashlib.sha256(TEXT).digest()


@njit(cache=True)
def _compiled(rows: np.ndarray, order: np.ndarray) -> float:  # pragma: no cover - compiled
    total = np.float32(0)
    for place in range(1, len(order)):
        one, other = order[place - 1], order[place]
        product = np.float32(0)
        for column in range(rows.shape[1]):
            product += rows[one, column] * rows[other, column]
        total += np.exp(-np.abs(product))
    return total


def _arrays() -> float:
    """Sums, a selection and an ordering of arrays of some megabytes."""
    scaled = ROWS * np.float32(0.5) + ROWS[ORDER]
    return float(scaled.sum(axis=0)[np.argsort(scaled[0])].max())


def kernel() -> None:
    """Do the work once: some ten milliseconds of one processor."""
    _python()
    _curves()
    for _ in range(8):
        _compiled(ROWS, ORDER)
    for _ in range(4):
        _arrays()


def digest() -> str:
    """The kernel's identity, which a baseline names: the hash of this file."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
