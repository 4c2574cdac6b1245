"""A client's random draws: the order of its positives, their negatives, and FedRec's virtual items.

Counter-based: a client's draws follow from (seed of the round, client) alone, so that neither the
cohort it trains in, nor its place there, nor the number of threads can change them. `cohort.py`
calls `draw_epoch` inside its kernel; `client.py` takes the same draws from `client_draws`, and
`draws_torch.py` computes them on a device. The centralised methods (`bfedrec/baselines/sgd.py`)
draw one negative at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, uint64

from bfedrec.learning.settings import TrainingSettings

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class Epoch(NamedTuple):
    """One pass over a client's data: items (int32) and labels (float32), in order.

    A positive's label is 1, a negative's 0, and a virtual item's NaN until the client computes it.
    """

    items: np.ndarray
    labels: np.ndarray


@njit(uint64(uint64), nogil=True, cache=True, inline="always")
def _mix(x):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014): every input bit moves every other."""
    x = (x ^ (x >> uint64(30))) * _MIX_1
    x = (x ^ (x >> uint64(27))) * _MIX_2
    return x ^ (x >> uint64(31))


@njit(nogil=True, cache=True)
def client_state(seed, client):  # type: ignore[no-untyped-def]
    """First state of the stream of `client` (int) in the round whose seed is `seed` (int64)."""
    return _mix(_mix(uint64(seed) + _GOLDEN) + (uint64(client) + uint64(1)) * _GOLDEN)


@njit(nogil=True, cache=True, inline="always")
def _below(bits, bound):  # type: ignore[no-untyped-def]
    """An integer in [0, bound), bound < 2^31; its bias is below bound / 2^32."""
    return np.int64(((bits >> uint64(32)) * uint64(bound)) >> uint64(32))


@njit(nogil=True, cache=True)
def draw_epoch(state, positives, marks, negatives, items, labels):  # type: ignore[no-untyped-def]
    """Fill `items` and `labels` with one pass; return the stream's next state.

    The positives are shuffled and each is followed by its negatives, so that every batch holds
    about the same share of them. `marks` (uint8[N]) is 1 at the items that are never drawn as
    negatives: the client's training items alone, unless a config asks for what is not honest, since
    leaving out the test item as well tells the model which one it is. The length of `items` must be
    len(positives) * (1 + negatives).
    """
    width = negatives + 1
    for k in range(positives.size):
        items[k * width] = positives[k]
    for k in range(positives.size - 1, 0, -1):
        state += _GOLDEN
        other = _below(_mix(state), k + 1)
        items[k * width], items[other * width] = items[other * width], items[k * width]
    for k in range(positives.size):
        labels[k * width] = 1.0
        for j in range(k * width + 1, (k + 1) * width):
            state += _GOLDEN
            item = _below(_mix(state), marks.size)
            while marks[item]:
                state += _GOLDEN
                item = _below(_mix(state), marks.size)
            items[j] = item
            labels[j] = 0.0
    return state


@njit(nogil=True, cache=True)
def virtual_count(share, interactions, known, items):  # type: ignore[no-untyped-def]
    """Number of virtual items of a client: `share` (rho) times its training interactions, or all of
    the `items` except the `known` that it has interacted with, if those are fewer."""
    return np.int64(min(share * interactions, np.float64(items - known)))


@njit(nogil=True, cache=True)
def draw_virtual(state, marks, virtual):  # type: ignore[no-untyped-def]
    """Fill `virtual` (int32) with different items whose mark is 0; return the next state.

    There must be that many such items. A pass may also hold one of them as a negative.
    """
    for k in range(virtual.size):
        state += _GOLDEN
        item = _below(_mix(state), marks.size)
        while marks[item]:
            state += _GOLDEN
            item = _below(_mix(state), marks.size)
        virtual[k] = item
        marks[item] = 1
    for item in virtual:
        marks[item] = 0
    return state


@njit(nogil=True, cache=True)
def spread(virtual, virtual_labels, items, labels):  # type: ignore[no-untyped-def]
    """Insert virtual items evenly into a pass. `items` and `labels` begin with the pass, whose
    order stays, and are longer than it by the length of `virtual`."""
    left, source = virtual.size, items.size - virtual.size
    for place in range(items.size - 1, -1, -1):
        if left and place == left * items.size // virtual.size - 1:
            left -= 1
            items[place], labels[place] = virtual[left], virtual_labels[left]
        else:
            source -= 1
            items[place], labels[place] = items[source], labels[source]


@njit(nogil=True, cache=True)
def mark(marks, positives, value):  # type: ignore[no-untyped-def]
    """Set `marks` at `positives` to `value`; return the number of marks that changed."""
    changed = 0
    for item in positives:
        if marks[item] != value:
            changed += 1
            marks[item] = value
    return changed


@njit(nogil=True, cache=True)
def draw_absent(state, present, items):  # type: ignore[no-untyped-def]
    """An item below `items` that is not in `present` (ascending, not all of them), and the stream's
    next state."""
    while True:
        state += _GOLDEN
        item = _below(_mix(state), items)
        place = np.searchsorted(present, item)
        if place == present.size or present[place] != item:
            return item, state


def client_draws(
    seed: int,
    client: int,
    positives: np.ndarray,
    items: int,
    settings: TrainingSettings,
    excluded: np.ndarray | None = None,
) -> list[Epoch]:
    """All passes of one client in one round: `user_epochs` of them, then `local_epochs`.

    `seed` is the round's (a signed 64-bit integer), `positives` (int32) the client's training
    items, repeats allowed, `items` the number N of items, `excluded` (int32) those that are never
    drawn as negatives (None: the training items). A client that excludes every item has no
    negatives and no virtual items (and under softmax, empty passes), and one without data has empty
    passes. Virtual items are the same in all of the `local_epochs`; the `user_epochs` hold none.
    """
    marks = np.zeros(items, np.uint8)
    positives = np.asarray(positives, np.int32)
    known = mark(marks, positives if excluded is None else np.asarray(excluded, np.int32), 1)
    negatives = settings.negatives if known < items else 0
    size = positives.size * (1 + negatives)
    if settings.loss == "softmax" and not negatives:
        size = 0  # there are no negatives
    virtual = np.empty(0, np.int32)
    state = client_state(seed, client)
    epochs = []
    for number in range(settings.user_epochs + settings.local_epochs):
        # Numba hands the state back as a Python int; the kernels want it unsigned again.
        if number == settings.user_epochs:
            count = virtual_count(settings.virtual_share, positives.size, known, items)
            virtual = np.empty(count, np.int32)
            state = draw_virtual(np.uint64(state), marks, virtual)
        length = size + virtual.size
        epoch = Epoch(np.empty(length, np.int32), np.empty(length, np.float32))
        drawn = epoch.items[:size], epoch.labels[:size]
        if size:
            state = draw_epoch(np.uint64(state), positives, marks, negatives, *drawn)
        spread(virtual, np.full(virtual.size, np.nan, np.float32), *epoch)
        epochs.append(epoch)
    return epochs
