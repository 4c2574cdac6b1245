"""Algorithm 1 for a whole cohort as padded PyTorch tensors, for a device such as `cuda`.

The same algorithm on the same draws as `cohort.py`, which is faster on a CPU. All clients step
together, each through its own batches; those with fewer batches are masked. Sums run in the
device's own order, so that results agree to float tolerance and not to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bfedrec.learning.negative_sampling import client_draws
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask, check_finite
from bfedrec.learning.upload import LocalUpdates


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
    epochs = _padded_draws(task, clients)
    per_example = 1 if settings.loss == "bce" else 1 + settings.negatives

    Q_t, B_t, p = (torch.tensor(x, device=device) for x in (task.Q, task.B, P))
    A = torch.zeros(M, N, r, device=device)
    touched = torch.zeros(M, N, dtype=torch.bool, device=device)
    loss = torch.zeros(M, device=device)
    rows = torch.arange(M, device=device)[:, None]
    virtual = torch.full((M, N), settings.mean_label, device=device)  # labels of virtual items
    for number, (items_np, labels_np, lengths_np) in enumerate(epochs):
        train_items = number >= settings.user_epochs
        if task.predicts and number == settings.user_epochs:
            virtual = torch.sigmoid(p @ Q_t.T)
        items, labels = (
            torch.tensor(items_np, device=device),
            torch.tensor(labels_np, device=device),
        )
        labels = torch.where(labels.isnan(), virtual.gather(1, items.long()), labels)
        if task.flipped:
            labels = 1 - labels  # of the padding too, which `real` masks
        lengths = torch.tensor(lengths_np, device=device)
        loss.zero_()
        for first in range(0, items.shape[1], settings.step_samples):
            i = items[:, first : first + settings.step_samples].long()
            y = labels[:, first : first + settings.step_samples]
            n = (lengths - first).clamp(0, i.shape[1])
            real = (torch.arange(i.shape[1], device=device) < n[:, None]).float()
            q = Q_t[i] + A[rows, i] @ B_t.T  # equation 6
            score = torch.einsum("mnd,md->mn", q, p)
            g, entropy = _slopes(settings, score, y, real)
            share = 1.0 / (n // per_example).clamp(min=1)
            active = (n > 0).float()[:, None]
            in_p = torch.einsum("mn,mnd->md", g, q) * share[:, None] + settings.l2 * p * active
            if train_items:
                in_q = g[..., None] * p[:, None, :] + settings.l2 * q * real[..., None]
                A.index_put_((rows, i), -task.item_step * (in_q @ B_t), accumulate=True)
                touched.index_put_((rows, i), real > 0, accumulate=True)
            p = p - task.user_step * in_p
            loss += entropy.sum(1)
    update = LocalUpdates(
        A=A.transpose(1, 2).contiguous().cpu().numpy(),
        touched=touched.cpu().numpy(),
        P=p.cpu().numpy(),
        samples=task.samples(clients),
        loss=loss.double().cpu().numpy() / np.maximum(epochs[-1][2] // per_example, 1),
    )
    check_finite(update, clients)
    return update


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


def _padded_draws(
    task: TrainingTask, clients: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each pass: items int32[M, S] and labels float32[M, S], 0 beyond lengths int64[M]."""
    settings, N = task.settings, len(task.Q)
    draws = [
        client_draws(task.seed, int(u), task.positives(u), N, settings, task.known(u))
        for u in clients
    ]
    padded = []
    for number in range(settings.user_epochs + settings.local_epochs):
        lengths = np.array([len(draw[number].items) for draw in draws], np.int64)
        width = int(lengths.max(initial=0))
        items = np.zeros((len(draws), width), np.int32)
        labels = np.zeros((len(draws), width), np.float32)
        for m, draw in enumerate(draws):
            items[m, : lengths[m]], labels[m, : lengths[m]] = draw[number]
        padded.append((items, labels, lengths))
    return padded
