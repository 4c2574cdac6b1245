"""Algorithm 1 for one client, written to be read: PyTorch's autograd takes the gradients.

The twin of `cohort.py`, which the simulation uses; the tests hold the two equal on the same
draws. Line numbers are those of the paper's Algorithm 1. The lines before 8 (downloading A(t),
merging it into Q_u, forming this round's B_u) are the caller's: `lowrank.merge`, `basis.basis`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from bfedrec.learning.negative_sampling import client_draws
from bfedrec.learning.settings import TrainingSettings


class ClientUpdate(NamedTuple):
    """What one client holds after a round: A_u, which it uploads, and what it keeps.

    A: float32[r, N]; touched: bool[N], the items it trained on; p: float32[d], kept for the
    client's next round; loss: mean cross-entropy over the last pass, 0 without data.
    """

    A: np.ndarray
    touched: np.ndarray
    p: np.ndarray
    loss: float


def train_client(
    client: int,
    positives: np.ndarray,
    p: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    settings: TrainingSettings,
    seed: int,
    step_scale: float = 1.0,
    flipped: bool = False,
    predicts: bool = False,
) -> ClientUpdate:
    """One round of one client: lines 9 to 14. The arguments are those of `train_cohort`.

    positives: int32, the client's training items; p: float32[d], its factors so far.

    With `settings.virtual_share` it is a client of FedRec (Lin, Liang, Pan and Ming, 2020), adapted
    to implicit feedback. Its rated items are its sample, positives and drawn negatives. To them
    come virtual items, whose labels are found before the first pass on A_u and then stay: the mean
    label of the sample, or the prediction of p_u, as the passes on p_u alone have left it, with the
    round's Q. (FedRec trains a copy of p_u for that, on the rated items alone, and then returns to
    p_u as it was; here those passes count.)
    """
    d, r = B.shape
    Q_u, B_u = torch.as_tensor(Q), torch.as_tensor(B)
    # Line 9: Q_u and B_u stay as they are; A_u starts at 0.
    A_u = torch.zeros(r, len(Q), requires_grad=True)
    # Line 10: the trainable parameters theta_u = {A_u, p_u}.
    p_u = torch.tensor(p, requires_grad=True)
    touched = np.zeros(len(Q), np.bool_)
    item_step = settings.item_step * step_scale * math.sqrt(r / d)
    user_step = settings.user_step * step_scale
    loss = 0.0
    virtual = torch.full((len(Q),), settings.mean_label)  # the label of each item if it is virtual
    # Line 11: k runs over the batches of all passes.
    for number, epoch in enumerate(client_draws(seed, client, positives, len(Q), settings)):
        train_items = number >= settings.user_epochs  # p_u alone catches up first
        if predicts and number == settings.user_epochs:
            virtual = torch.sigmoid(Q_u @ p_u).detach()
        loss = 0.0
        drawn, y = torch.as_tensor(epoch.items).long(), torch.as_tensor(epoch.labels)
        y = torch.where(y.isnan(), virtual[drawn], y)
        batches = zip(
            drawn.split(settings.step_samples),
            (1 - y if flipped else y).split(settings.step_samples),
            strict=True,
        )
        for items, labels in batches:
            n = len(items)
            if n == 0:
                continue
            q = Q_u[items] + (B_u @ A_u[:, items]).T  # equation 6: Q_u + (B A)'
            if settings.loss == "bce":
                examples = n
                entropy = binary_cross_entropy_with_logits(q @ p_u, labels)
            else:  # each positive with its negatives is one example
                groups = labels.view(-1, 1 + settings.negatives)
                examples = len(groups)
                targets = groups / groups.sum(dim=1, keepdim=True)
                entropy = cross_entropy((q @ p_u).view_as(groups), targets)
            decay = settings.l2 / 2 * ((p_u**2).sum() + (q**2).sum() / examples)
            in_A, in_p = torch.autograd.grad(entropy + decay, (A_u, p_u))  # equations 2 to 4
            # Line 12: one step of gradient descent on theta_u.
            with torch.no_grad():
                p_u -= user_step * in_p
                if train_items:
                    A_u -= item_step * examples * in_A
                    touched[items] = True
            loss += entropy.item() * n / len(epoch.items)
    # Lines 13 and 14: keep p_u, upload A_u.
    return ClientUpdate(A_u.detach().numpy(), touched, p_u.detach().numpy(), loss)
