"""Algorithm 1 for a whole cohort as PyTorch tensors: on `cuda`, or with `torch` on the CPU.

The same algorithm on the same draws as `cohort.py`, which is faster on a CPU; the draws are made on
the device (`draws_torch.py`). All clients step together, each through its own batches. They stand
in the order of their numbers of samples, the most first, so that each step computes on those alone
who still have a batch; shorter batches are padded and masked, and computed apart where that is less
than three quarters of the work (`steps`). A cohort whose arrays would not fit trains in chunks of
clients of like length (`chunks`). Sums run in the device's own order, so that results agree with
the compiled ones to float tolerance and not to the bit; on one device and one version of PyTorch
they repeat, on the CPU with any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils import deterministic

from bfedrec.learning.draws_torch import DeviceDraws, Pass
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask, check_finite
from bfedrec.learning.upload import LocalUpdates
from bfedrec.threads import in_threads, thread_count

PARTS = 8
"""Parts in which a cohort trains on the CPU, on however many threads: who steps together decides
the last bits of sums."""
MOST_PADDING = 0.25
"""Greatest share of a computation that is padding; a smaller one takes more and smaller steps."""
SAMPLE_BYTES = 100
"""Bytes of memory that a sample of a pass takes while it is drawn and kept."""


def device_of(name: str) -> str:
    """PyTorch's name of a config's device other than ``cpu``, which is the compiled path."""
    return "cpu" if name == "torch" else name.removeprefix("torch:")


def is_usable(device: str) -> bool:
    """True if torch can compute on `device` here."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # the latter where torch was built without CUDA
        return False
    return True


def train_cohort_on(
    device: str,
    task: TrainingTask,
    clients: Sequence[int] | np.ndarray,
    P: np.ndarray,
    threads: int | None = None,
) -> LocalUpdates:
    """`train_cohort` on `device` ("cuda", "cuda:1", "cpu"); same arguments, result and errors.

    On the CPU ``threads`` (None: one for each processor) train `PARTS` parts of the cohort, so that
    the result does not depend on their number. PyTorch's own threads, which share one operation,
    wait for each other after each, and so for whatever else runs on a processor.
    """
    clients = task.cohort(clients, P)
    M, N, r = len(clients), len(task.Q), task.B.shape[1]
    update = LocalUpdates(
        A=np.zeros((M, r, N), np.float32),
        touched=np.zeros((M, N), np.bool_),
        P=np.array(P, np.float32, order="C"),
        samples=task.samples(clients),
        loss=np.zeros(M, np.float64),
    )
    parts = PARTS if torch.device(device).type == "cpu" else 1
    lengths, needs = _needs(task, clients)
    order = np.argsort(-lengths, kind="stable")
    most = task.settings.chunk_mib * 2**20 // parts

    def train(numbers: range) -> None:
        for number in numbers:
            part = order[number::parts]
            for chunk in chunks(needs[part], most):
                _train(shared, clients, part[chunk], update)

    with _repeatable(device):
        shared = _Shared(device, task)
        workers = min(thread_count(threads), parts)
        in_threads(train, [(range(first, parts, workers),) for first in range(workers)])
    check_finite(update, clients)
    return update


def chunks(needs: np.ndarray, most: int) -> Iterator[slice]:
    """Clients in their order, in as many parts as it takes for none to need more than ``most``
    bytes; ``needs``: int64[M], the bytes of each client. A client who needs more is a part of its
    own."""
    begin = total = 0
    for place, need in enumerate(needs.tolist()):
        total += need
        if total > most and place > begin:
            yield slice(begin, place)
            begin, total = place, need
    if len(needs):
        yield slice(begin, len(needs))


def _needs(task: TrainingTask, clients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The greatest number of samples of a pass, and the bytes that training takes beside what all
    clients share: int64[M] each."""
    settings, N, (d, r) = task.settings, len(task.Q), task.B.shape
    virtual = np.minimum(settings.virtual_share * task.samples(clients), N).astype(np.int64)
    lengths = task.samples(clients) * (1 + settings.negatives) + virtual
    item = 4 * r + 2 + (8 if settings.virtual_share else 0)
    step = np.minimum(lengths, settings.step_samples) * 4 * (d + 3 * r + 8)
    return lengths, N * item + lengths * SAMPLE_BYTES + step


@contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """Have torch add up in an order that does not change from one call to the next, and on the CPU
    without threads of its own. It warns of an operation that has no such order on the device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = deterministic  # sets this by a property, which its types do not know
    filled, threads = memory.fill_uninitialized_memory, torch.get_num_threads()
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # all that is read here has been written
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled
        torch.set_num_threads(threads)


class _Shared:
    """The arrays of a round that all clients share, on a device."""

    def __init__(self, device: str, task: TrainingTask) -> None:
        self.device, self.task = device, task
        self.Q = torch.tensor(task.Q, dtype=torch.float32, device=device)
        self.B = torch.tensor(task.B, dtype=torch.float32, device=device)
        self.QB = self.Q @ self.B
        """float32[N, r]: the gradient of the L2 term in A_i is B'q_i = (QB)_i + (B'B) A_i."""
        self.BB = self.B.T @ self.B


def _train(shared: _Shared, clients: np.ndarray, chunk: np.ndarray, update: LocalUpdates) -> None:
    """Train the clients at the places ``chunk`` (int64[m]) of the cohort ``clients`` (int64[M]),
    writing only their rows of ``update``, whose P they begin with."""
    task, device, settings = shared.task, shared.device, shared.task.settings
    m, N, r = len(chunk), len(task.Q), task.B.shape[1]
    draws = DeviceDraws(task, clients[chunk], device)
    p = torch.tensor(update.P[chunk], device=device)
    A = torch.zeros(m * N, r, device=device)
    touched = torch.zeros(m, N, dtype=torch.bool, device=device)
    loss = torch.zeros(m, device=device)
    virtual = torch.empty(0, device=device)  # labels of virtual items
    shares = torch.tensor(
        [settings.item_share(count) for count in update.samples[chunk].tolist()], device=device
    )
    for number in range(settings.user_epochs + settings.local_epochs):
        trains_items = number >= settings.user_epochs
        if number == settings.user_epochs:
            owner, items = draws.virtual()
            scores = (shared.Q[items] * p[owner]).sum(1)
            mean = torch.full_like(scores, settings.mean_label)
            virtual = torch.sigmoid(scores) if task.predicts else mean
        samples = _Samples(draws.next_pass(), virtual, task.flipped)
        loss.zero_()
        for first, bucket, width in steps(samples.lengths, settings.step_samples):
            step = samples.step(first, bucket, width)
            trained = (A, shares[bucket]) if trains_items else None
            _step(shared, step, p[bucket], trained, loss[bucket])
        if trains_items:
            touched[samples.owner, samples.items] = True
    per_example = 1 if settings.loss == "bce" else 1 + settings.negatives
    examples = np.maximum(samples.lengths // per_example, 1)
    update.A[chunk] = A.view(m, N, r).cpu().numpy().transpose(0, 2, 1)
    update.touched[chunk] = touched.cpu().numpy()
    update.P[chunk] = p.cpu().numpy()
    update.loss[chunk] = loss.cpu().double().numpy() / examples


def _step(
    shared: _Shared,
    step: _Step,
    p: torch.Tensor,
    items: tuple[torch.Tensor, torch.Tensor] | None,
    loss: torch.Tensor,
) -> None:
    """One gradient step of a bucket of m clients on their factors ``p`` (float32[m, d]) and, if
    ``items`` are given, on the rows of A (float32[clients N, r]), by each client's share of the
    step (float32[m]), in place; add to their ``loss`` (float32[m])."""
    A, shares = items or (None, None)
    task, settings, B = shared.task, shared.task.settings, shared.B
    # `index_select` of one row after the other takes half the time of an indexed array.
    one, (m, width) = step.items.view(-1), step.items.shape
    q, b = shared.Q.index_select(0, one).view(m, width, -1), p @ B
    score = torch.bmm(q, p[:, :, None])[:, :, 0]
    if A is not None:
        cells = (step.rows * len(shared.Q) + step.items).view(-1)
        a = A.index_select(0, cells).view(m, width, -1)
        score += torch.bmm(a, b[:, :, None])[:, :, 0]  # equation 6: q_i = Q_i + B A_i
    g, entropy = _slopes(settings, score, step.labels, step.real)
    in_p = torch.bmm(g[:, None], q)[:, 0]
    if A is not None and shares is not None:
        in_p += torch.bmm(g[:, None], a)[:, 0] @ B.T
        in_A = g[:, :, None] * b[:, None]
        if settings.l2:
            decays = shared.QB.index_select(0, one).view_as(a) + a @ shared.BB
            in_A += settings.l2 * decays * step.real[:, :, None]
        in_A *= shares[:, None, None]
        A.index_add_(0, cells, in_A.view(-1, A.shape[1]), alpha=-task.item_step)
    per_example = 1 if settings.loss == "bce" else 1 + settings.negatives
    share = 1.0 / (step.lengths // per_example).clamp(min=1)
    decay = settings.l2 * p * (step.lengths > 0)[:, None]
    p -= task.user_step * (in_p * share[:, None] + decay)
    loss += entropy.sum(1)


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


class _Step(NamedTuple):
    """The samples of one step of m clients, padded to the most of one of them."""

    rows: torch.Tensor
    """int64[m, 1]: the clients' places."""
    items: torch.Tensor
    """int64[m, width]."""
    labels: torch.Tensor
    """float32[m, width]."""
    lengths: torch.Tensor
    """int64[m]: the number of samples of each client."""
    real: torch.Tensor
    """float32[m, width]: 1 where there is a sample, 0 at padding."""


class _Samples:
    """The samples of all clients in one pass, without padding, on a device."""

    def __init__(self, drawn: Pass, virtual: torch.Tensor, flipped: bool) -> None:
        """``virtual``: float32[virtual items], their labels, in the order in which passes hold
        them. ``flipped``: True to invert the labels."""
        self.items, labels, self.lengths = drawn
        device = self.items.device
        self._count = torch.tensor(self.lengths, device=device)
        self._start = self._count.cumsum(0) - self._count
        self._rows = torch.arange(len(self.lengths), device=device)[:, None]
        self.owner = self._rows[:, 0].repeat_interleave(self._count)
        """int64[samples]: the client's place of each sample."""
        if len(virtual):
            labels[labels.isnan()] = virtual
        self._labels = 1 - labels if flipped else labels

    def step(self, first: int, bucket: slice, width: int) -> _Step:
        """The samples from ``first`` on of the clients of a bucket, at most ``width`` each."""
        column = torch.arange(width, device=self.items.device)
        count = (self._count[bucket] - first).clamp(0, width)
        real = column < count[:, None]
        cell = torch.where(real, self._start[bucket, None] + first + column, 0)
        rows = self._rows[bucket]
        return _Step(rows, self.items[cell], self._labels[cell], count, real.float())


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
