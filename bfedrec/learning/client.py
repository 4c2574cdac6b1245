"""Algorithm 1 for one client in readable form: PyTorch's autograd computes the gradients.

`cohort.py` is the fast form, which the simulation uses; tests hold the two equal on the same draws.
Line numbers are those of the paper's Algorithm 1. The lines before 8 (downloading A(t), merging it
into Q_u, forming this round's B_u) are the caller's: `lowrank.merge`, `basis.basis`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from bfedrec.learning.negative_sampling import client_draws
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask


class LocalUpdate(NamedTuple):
    """The result of one client's training in a round: A_u, which it uploads, and the rest, which it
    keeps.

    A: float32[r, N]; touched: bool[N], the items it trained on; p: float32[d], kept for the
    client's next round; loss: mean cross-entropy over the last pass, 0 without data.
    """

    A: np.ndarray
    touched: np.ndarray
    p: np.ndarray
    loss: float


def train_client(task: TrainingTask, client: int, p: np.ndarray) -> LocalUpdate:
    """Train one client for a round from its factors p (float32[d]): lines 9 to 14.

    With `task.settings.virtual_share` it is a client of FedRec (Lin, Liang, Pan and Ming, 2020),
    adapted to implicit feedback. Its rated items are its sample: positives and drawn negatives.
    Virtual items are added, whose labels are computed before the first pass on A_u and then stay:
    the mean label of the sample, or the prediction of p_u, as the passes on p_u alone have left it,
    with the round's Q. (FedRec trains a copy of p_u for that, on the rated items alone, and then
    discards it; here those passes count.)
    """
    settings, (N, r) = task.settings, (len(task.Q), task.B.shape[1])
    Q_u, B_u = torch.as_tensor(task.Q), torch.as_tensor(task.B)
    # Line 9: Q_u and B_u stay as they are; A_u starts at 0.
    A_u = torch.zeros(r, N, requires_grad=True)
    # Line 10: the trainable parameters theta_u = {A_u, p_u}.
    p_u = torch.tensor(p, requires_grad=True)
    touched = np.zeros(N, np.bool_)
    loss = 0.0
    virtual = torch.full((N,), settings.mean_label)  # the label of each item if it is virtual
    # Line 11: k runs over the batches of all passes.
    positives, excluded = task.positives(client), task.known(client)
    draws = client_draws(task.seed, client, positives, N, settings, excluded)
    item_step = task.item_step * settings.item_share(len(positives))
    for number, epoch in enumerate(draws):
        train_items = number >= settings.user_epochs  # p_u alone is trained first
        if task.predicts and number == settings.user_epochs:
            virtual = torch.sigmoid(Q_u @ p_u).detach()
        loss = 0.0
        drawn, y = torch.as_tensor(epoch.items).long(), torch.as_tensor(epoch.labels)
        y = torch.where(y.isnan(), virtual[drawn], y)
        batches = zip(
            drawn.split(settings.step_samples),
            (1 - y if task.flipped else y).split(settings.step_samples),
            strict=True,
        )
        for items, labels in batches:
            n = len(items)
            if n == 0:
                continue
            q = Q_u[items] + (B_u @ A_u[:, items]).T  # equation 6: Q_u + (B A)'
            entropy, examples = _entropy(settings, q @ p_u, labels)
            decay = settings.l2 / 2 * ((p_u**2).sum() + (q**2).sum() / examples)
            in_A, in_p = torch.autograd.grad(entropy + decay, (A_u, p_u))  # equations 2 to 4
            # Line 12: one step of gradient descent on theta_u.
            with torch.no_grad():
                p_u -= task.user_step * in_p
                if train_items:
                    A_u -= item_step * examples * in_A
                    touched[items] = True
            loss += entropy.item() * n / len(epoch.items)
    # Lines 13 and 14: keep p_u, upload A_u.
    return LocalUpdate(A_u.detach().numpy(), touched, p_u.detach().numpy(), loss)


def _entropy(
    settings: TrainingSettings, scores: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, int]:
    """The mean cross-entropy of a batch over its examples, and the number of examples."""
    if settings.loss == "bce":
        return binary_cross_entropy_with_logits(scores, labels), len(labels)
    groups = labels.view(-1, 1 + settings.negatives)  # each positive with its negatives is one
    targets = groups / groups.sum(dim=1, keepdim=True)
    return cross_entropy(scores.view_as(groups), targets), len(groups)
