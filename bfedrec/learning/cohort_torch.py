"""Algorithm 1 for a whole cohort as PyTorch tensors, for a device such as `cuda`.

The same algorithm on the same draws as `cohort.py`, which is faster on a CPU. All clients step
together, each through its own batches. They stand in the order of their numbers of samples, the
most first, so that each step computes on those alone who still have a batch; shorter batches are
padded and masked, and computed apart where that is less than three quarters of the work (`steps`).
Sums run in the device's own order, so that results agree to float tolerance and not to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bfedrec.learning.negative_sampling import Epoch, client_draws
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask, check_finite
from bfedrec.learning.upload import LocalUpdates

MOST_PADDING = 0.25
"""Greatest share of a computation that is padding; a smaller one takes more and smaller steps."""


def is_usable(device: str) -> bool:
    """True if torch can compute on `device` here."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # the latter where torch was built without CUDA
        return False
    return True


def train_cohort_on(
    device: str, task: TrainingTask, clients: Sequence[int] | np.ndarray, P: np.ndarray
) -> LocalUpdates:
    """`train_cohort` on `device` ("cuda", "cuda:1", "cpu"); same arguments, result and errors."""
    clients, settings = task.cohort(clients, P), task.settings
    N, r, M = len(task.Q), task.B.shape[1], len(clients)
    draws = [
        client_draws(task.seed, int(u), task.positives(u), N, settings, task.known(u))
        for u in clients
    ]
    order = np.argsort([-len(draw[-1].items) for draw in draws], kind="stable")
    per_example = 1 if settings.loss == "bce" else 1 + settings.negatives

    Q_t, B_t, p = (torch.tensor(x, device=device) for x in (task.Q, task.B, P[order]))
    A = torch.zeros(M, N, r, device=device)
    touched = torch.zeros(M, N, dtype=torch.bool, device=device)
    loss = torch.zeros(M, device=device)
    virtual = torch.full((M, N), settings.mean_label, device=device)  # labels of virtual items
    for number in range(settings.user_epochs + settings.local_epochs):
        if task.predicts and number == settings.user_epochs:
            virtual = torch.sigmoid(p @ Q_t.T)
        samples = _Samples([draws[m][number] for m in order], virtual, task.flipped)
        loss.zero_()
        for first, bucket, width in steps(samples.lengths, settings.step_samples):
            i, y, n, real = samples.step(first, bucket, width)
            rows, p_m = samples.rows[bucket], p[bucket]
            q = Q_t[i] + A[rows, i] @ B_t.T  # equation 6
            score = torch.einsum("mnd,md->mn", q, p_m)
            g, entropy = _slopes(settings, score, y, real)
            share = 1.0 / (n // per_example).clamp(min=1)
            learns = (n > 0).float()[:, None]
            in_p = torch.einsum("mn,mnd->md", g, q) * share[:, None] + settings.l2 * p_m * learns
            if number >= settings.user_epochs:
                in_q = g[..., None] * p_m[:, None, :] + settings.l2 * q * real[..., None]
                A.index_put_((rows, i), -task.item_step * (in_q @ B_t), accumulate=True)
                touched.index_put_((rows, i), real > 0, accumulate=True)
            p[bucket] -= task.user_step * in_p
            loss[bucket] += entropy.sum(1)
    mean = loss.double().cpu().numpy() / np.maximum(samples.lengths // per_example, 1)
    back = np.argsort(order)
    update = LocalUpdates(
        A=A.transpose(1, 2)[torch.tensor(back, device=device)].contiguous().cpu().numpy(),
        touched=touched.cpu().numpy()[back],
        P=p.cpu().numpy()[back],
        samples=task.samples(clients),
        loss=mean[back],
    )
    check_finite(update, clients)
    return update


def steps(lengths: np.ndarray, size: int) -> Iterator[tuple[int, slice, int]]:
    """The steps of a pass in which client m has ``lengths[m]`` samples (int64[M]), ``size`` a step,
    as (first sample, bucket of clients, most samples of one of them in this step).

    A step is one bucket, unless more than `MOST_PADDING` of it were padding: it is then cut in two
    where that leaves least, and so on. Descending lengths need few cuts.
    """
    for first in range(0, int(lengths.max(initial=0)), size):
        counts = np.clip(lengths - first, 0, size)
        buckets = [slice(0, int(np.flatnonzero(counts)[-1]) + 1)]
        while buckets:
            bucket = buckets.pop()
            n = counts[bucket]
            width = int(n.max())
            if n.sum() < (1 - MOST_PADDING) * width * len(n):
                before = np.maximum.accumulate(n)[:-1] * np.arange(1, len(n))
                after = np.maximum.accumulate(n[::-1])[-2::-1] * np.arange(len(n) - 1, 0, -1)
                cut = bucket.start + 1 + int(np.argmin(before + after))
                buckets += [slice(cut, bucket.stop), slice(bucket.start, cut)]
            elif width:
                yield first, bucket, width


class _Samples:
    """The samples of all clients in one pass, without padding, on a device."""

    def __init__(self, epochs: Sequence[Epoch], virtual: torch.Tensor, flipped: bool) -> None:
        """``epochs``: the pass of each client. ``virtual``: float32[M, N], labels of virtual items,
        which also says which device. ``flipped``: True to invert the labels."""
        device = virtual.device
        self.lengths = np.array([len(each.items) for each in epochs], np.int64)
        self._count = torch.tensor(self.lengths, device=device)
        self._start = self._count.cumsum(0) - self._count
        self.rows = torch.arange(len(epochs), device=device)[:, None]
        """int64[M, 1]: the clients' places."""
        none = np.empty(0, np.float32)
        items = np.concatenate([none.astype(np.int32), *(each.items for each in epochs)])
        labels = torch.tensor(
            np.concatenate([none, *(each.labels for each in epochs)]), device=device
        )
        self._items = torch.tensor(items, device=device).long()
        owner = self.rows[:, 0].repeat_interleave(self._count)
        labels = torch.where(labels.isnan(), virtual[owner, self._items], labels)
        self._labels = 1 - labels if flipped else labels

    def step(self, first: int, bucket: slice, width: int) -> tuple[torch.Tensor, ...]:
        """The samples from ``first`` on of the m clients of a bucket, at most ``width`` each: items
        (int64[m, width]) and labels (float32[m, width]), the number of each client's (int64[m]),
        and 1 where there is one (float32[m, width]), 0 at padding."""
        column = torch.arange(width, device=self.rows.device)
        n = (self._count[bucket] - first).clamp(0, width)
        real = column < n[:, None]
        cell = torch.where(real, self._start[bucket, None] + first + column, 0)
        return self._items[cell], self._labels[cell], n, real.float()


def _slopes(
    settings: TrainingSettings, score: torch.Tensor, y: torch.Tensor, real: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of a step's losses in its scores, and the cross-entropies, [M, n]; 0 where no
    sample is `real` (float, 0 or 1). All arguments have that shape; `y` are the labels."""
    if settings.loss == "bce":
        entropy = binary_cross_entropy_with_logits(score, y, reduction="none")
        return (torch.sigmoid(score) - y) * real, entropy * real
    # Groups are whole: so are the lengths of passes and steps.
    groups = y.reshape(len(y), -1, 1 + settings.negatives)
    targets = groups / groups.sum(2, keepdim=True).clamp(min=1)
    logs = torch.log_softmax(score.view_as(groups), 2)
    return (logs.exp() - targets).view_as(y) * real, -(targets * logs).view_as(y) * real
