"""The draws of `bfedrec.learning.negative_sampling` for many clients at once, as PyTorch tensors.

They are the same numbers, to the bit, on every device. A stream is counter-based: its t-th number
is the finaliser of (state + t times a constant), so that a device computes all of them at once.
What follows them one by one on a CPU is computed here without that order:

- A shuffle is a sequence of swaps. A swap waits only for earlier ones of its two places; all that
  wait for none are made together, in O(log n) rounds for n places (Shun, Gu, Blelloch, Fineman and
  Gibbons, 2015).
- Negatives are those numbers of a stream that are not refused, in their order: a running count
  tells each its place.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from bfedrec.learning.task import TrainingTask

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64
"""The constants of SplitMix64 as signed numbers: PyTorch has no arithmetic of unsigned ones."""
AHEAD = 2**22
"""Numbers that are drawn at once beyond those that are needed: bounds the memory of draws for
clients who have nearly every item, of whose numbers nearly all are refused."""


class Pass(NamedTuple):
    """One pass over the data of M clients: their samples, one client's after the other's."""

    items: torch.Tensor
    """int64[samples]."""
    labels: torch.Tensor
    """float32[samples]: 1 for a positive, 0 for a negative, NaN for a virtual item."""
    lengths: np.ndarray
    """int64[M]: number of samples of each client."""


class DeviceDraws:
    """The streams of M clients in one round; each call goes on where the last one ended."""

    def __init__(self, task: TrainingTask, clients: np.ndarray, device: str) -> None:
        """``clients``: int64[M]. The draws of all clients are held at once, so that the caller
        bounds their number."""
        settings, self._items = task.settings, len(task.Q)
        self._device = device
        place = torch.arange(len(clients), device=device)
        self._state = _mix(
            _mix(torch.tensor(task.seed, device=device) + _GOLDEN)
            + (torch.tensor(clients, device=device) + 1) * _GOLDEN
        )
        """int64[M]: the streams' states."""
        self._counts = task.samples(clients)
        positives = [task.positives(int(u)) for u in clients]
        self._positives = self._tensor(positives)
        self._marks = torch.zeros(len(clients), self._items, dtype=torch.bool, device=device)
        """bool[M, N]: True at the items that are never drawn as a client's negatives."""
        known = [task.known(int(u)) for u in clients]
        owner = place.repeat_interleave(torch.tensor([len(k) for k in known], device=device))
        self._marks[owner, self._tensor(known)] = True
        self._known = self._marks.sum(1).cpu().numpy()
        # A client that excludes every item has no negatives, and under softmax no samples.
        self._negatives = np.where(self._known < self._items, settings.negatives, 0)
        self._rated = self._counts * (1 + self._negatives)
        if settings.loss == "softmax":
            self._rated[self._negatives == 0] = 0
        wanted = np.minimum(settings.virtual_share * self._counts, self._items - self._known)
        self._virtual_counts = wanted.astype(np.int64)
        self._virtual = torch.empty(0, dtype=torch.int64, device=device)

    def virtual(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw FedRec's virtual items, which the passes after this hold; return the clients' places
        and the items, int64[virtual items], one client's after the other's."""
        counts = self._virtual_counts
        if counts.any():
            self._virtual = self._draw(counts, distinct=True)
        return self._ragged(counts)[0], self._virtual

    def next_pass(self) -> Pass:
        """Draw a pass: shuffled positives, each with its negatives behind it, and virtual items
        spread evenly among them."""
        real = self._rated > 0
        shuffled = self._shuffled(real)
        drawn = self._draw(np.where(real, self._counts * self._negatives, 0))
        owner, place = self._ragged(self._rated)
        width = torch.tensor(1 + self._negatives, device=self._device)[owner]
        positive = place % width == 0
        items = torch.empty(len(owner), dtype=torch.int64, device=self._device)
        items[positive], items[~positive] = shuffled, drawn
        labels = positive.float()
        if not len(self._virtual):
            return Pass(items, labels, self._rated.copy())
        lengths = self._rated + self._virtual_counts
        start = torch.tensor(np.cumsum(lengths) - lengths, device=self._device)
        who, number = self._ragged(self._virtual_counts)
        size, count = (
            torch.tensor(each, device=self._device)[who] for each in (lengths, self._virtual_counts)
        )
        at = start[who] + (number + 1) * size // count - 1
        rated = torch.ones(int(lengths.sum()), dtype=torch.bool, device=self._device)
        rated[at] = False
        all_items = torch.empty(len(rated), dtype=torch.int64, device=self._device)
        all_labels = torch.full((len(rated),), math.nan, device=self._device)
        all_items[at], all_items[rated], all_labels[rated] = self._virtual, items, labels
        return Pass(all_items, all_labels, lengths)

    def _tensor(self, rows: list[np.ndarray]) -> torch.Tensor:
        """Lists of items as one int64 tensor."""
        whole = np.concatenate([np.empty(0, np.int64), *rows])
        return torch.tensor(whole.astype(np.int64), device=self._device)

    def _ragged(self, lengths: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """For rows of ``lengths`` (int64[M]) one after the other: each entry's row and its place
        there, int64."""
        counts = torch.tensor(lengths, device=self._device)
        owner = torch.arange(len(lengths), device=self._device).repeat_interleave(counts)
        place = torch.arange(len(owner), device=self._device)
        return owner, place - (counts.cumsum(0) - counts)[owner]

    def _numbers(self, lengths: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The next ``lengths`` numbers of each stream (int64[M]), whose states stay: 32 bits of
        each, and rows and places as `_ragged`."""
        owner, place = self._ragged(lengths)
        bits = _mix(self._state.index_select(0, owner) + (place + 1) * _GOLDEN)
        return _right(bits, 32), owner, place

    def _shuffled(self, real: np.ndarray) -> torch.Tensor:
        """The positives of the clients that are ``real`` (bool[M]), shuffled within each, as
        `negative_sampling.draw_epoch` does: place k, from the last down to 1, is swapped with a
        place that is not after it."""
        everyone, _ = self._ragged(self._counts)
        keep = torch.tensor(real, device=self._device)[everyone]
        values, counts = self._positives[keep], np.where(real, self._counts, 0)
        swaps = np.maximum(counts - 1, 0)
        bits, owner, number = self._numbers(swaps)
        start = torch.tensor(np.cumsum(counts) - counts, device=self._device)[owner]
        k = torch.tensor(counts, device=self._device)[owner] - 1 - number
        first, second = start + k, start + ((bits * (k + 1)) >> 32)
        self._state = self._state + torch.tensor(swaps, device=self._device) * _GOLDEN
        while len(k):
            # A swap's turn has come if none that precedes it, with a greater k, needs its places.
            latest = torch.full((len(values),), -1, dtype=torch.int64, device=self._device)
            latest.scatter_reduce_(0, first, k, "amax")
            latest.scatter_reduce_(0, second, k, "amax")
            ready = (latest[first] == k) & (latest[second] == k)
            one, two = first[ready], second[ready]
            values[one], values[two] = values[two], values[one]
            first, second, k = first[~ready], second[~ready], k[~ready]
        return values

    def _draw(self, need: np.ndarray, distinct: bool = False) -> torch.Tensor:
        """``need`` (int64[M]) unmarked items for each client, repeats allowed unless ``distinct``,
        int64[sum of need]; the streams go on behind the last number that was taken."""
        ends = np.cumsum(need)
        found = torch.empty(
            int(ends[-1]) if len(ends) else 0, dtype=torch.int64, device=self._device
        )
        fill, left = torch.tensor(ends - need, device=self._device), need.copy()
        free = self._items - self._known
        while left.any():
            lengths = self._lengths(left, free)
            bits, owner, place = self._numbers(lengths)
            item = (bits * self._items) >> 32
            cell = owner * self._items + item
            takes = ~self._marks.view(-1).index_select(0, cell)
            if distinct:
                first = torch.full((self._marks.numel(),), 2**31 - 1, device=self._device)
                first = first.scatter_reduce(0, cell, place, "amin")
                takes &= first[cell] == place
            count = takes.cumsum(0)
            begin = torch.tensor(np.cumsum(lengths) - lengths, device=self._device)
            before = torch.cat([count.new_zeros(1), count])[begin]
            rank = count - before[owner]  # from 1
            takes &= rank <= torch.tensor(left, device=self._device)[owner]
            mine = owner[takes]
            found[fill[mine] + rank[takes] - 1] = item[takes]
            if distinct:
                self._marks[mine, item[takes]] = True
            taken = torch.bincount(mine, minlength=len(left))
            fill = fill + taken
            last = torch.zeros_like(fill).scatter_reduce(0, mine, place[takes] + 1, "amax")
            now = taken.cpu().numpy()
            done = torch.tensor(now == left, device=self._device)
            used = torch.where(done, last, torch.tensor(lengths, device=self._device))
            self._state = self._state + used * _GOLDEN
            left = left - now
            if distinct:
                free = free - now
        if distinct:
            self._marks[self._ragged(need)[0], found] = False
        return found

    def _lengths(self, left: np.ndarray, free: np.ndarray) -> np.ndarray:
        """The number of draws (int64[M]) for clients who lack ``left`` items of ``free``: a little
        more than are refused on average, and not too many in all."""
        mean = left * (self._items / np.maximum(free, 1))
        wanted = np.ceil(mean + 4 * np.sqrt(mean) + 8)
        most = left + AHEAD // max(1, int(np.count_nonzero(left)))
        return np.where(left > 0, np.minimum(wanted, most), 0).astype(np.int64)


def _right(x: torch.Tensor, places: int) -> torch.Tensor:
    """x shifted to the right as an unsigned number."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser, as in `bfedrec.learning.negative_sampling`."""
    x = (x ^ _right(x, 30)) * _MIX_1
    x = (x ^ _right(x, 27)) * _MIX_2
    return x ^ _right(x, 31)
