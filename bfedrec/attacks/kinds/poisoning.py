"""Attacks on what is learnt: well-formed updates that pull the model where it should not go.

"Colluders" are the malicious clients of one attack that train in the same round; all of them train
honestly first, and keep the factors p_u that this gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import Field

from bfedrec.attacks.attack import Attack, Scene, attack, mean_and_deviation
from bfedrec.learning.upload import Upload


class Poisoning(Attack):
    """An attack by other numbers than those learnt."""

    under_masks = True


class WholeModel(Poisoning):
    """An attack on all items at once."""

    everywhere: bool = Field(
        default=False,
        description="say that every item was touched, which outvotes honest clients on rare items; "
        "else those that the client did train on",
    )

    def dressed(self, upload: Upload, A: np.ndarray) -> Upload:
        """``upload`` with other numbers and the mask that this attack claims."""
        touched = np.ones_like(upload.touched) if self.everywhere else upload.touched
        A = np.where(touched, A, 0.0).astype(np.float32)
        return replace(upload, A=A, touched=touched)


@attack("gaussian")
class Gaussian(WholeModel):
    """Uploads normal noise."""

    deviation: float = Field(default=1.0, gt=0.0, description="standard deviation of each number")

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        noise = scene.generator.normal(0.0, self.deviation, (len(uploads), *uploads[0].A.shape))
        return [self.dressed(upload, A) for upload, A in zip(uploads, noise, strict=True)]


@attack("sign_flip")
class SignFlip(Poisoning):
    """Uploads the opposite of what it learnt, enlarged (Li et al., 2019)."""

    factor: float = Field(default=4.0, gt=0.0, description="how much it is enlarged")

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        return [replace(upload, A=np.float32(-self.factor) * upload.A) for upload in uploads]


@attack("scale")
class Scale(Poisoning):
    """Uploads a multiple of what it learnt, so that the model follows its users alone."""

    factor: float = Field(default=10.0, gt=0.0, description="the multiple")

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        return [replace(upload, A=np.float32(self.factor) * upload.A) for upload in uploads]


@attack("alie")
class ALittleIsEnough(WholeModel):
    """All colluders upload mean - z deviations of their own honest updates, close enough to hide
    among them (Baruch, Baruch and Goldberg, 2019). They know nothing of the others' updates."""

    z: float | None = Field(
        default=None, ge=0.0, description="how many deviations; null for what the paper derives"
    )

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        mean, deviation = mean_and_deviation(uploads)
        A = mean - self.deviations(scene.clients, len(uploads)) * deviation
        return [self.dressed(upload, A) for upload in uploads]

    def deviations(self, n: int, m: int) -> float:
        """z of m colluders among n clients: the largest at which enough honest updates are expected
        farther from the mean, for the colluders to look like the majority (their z^max)."""
        if self.z is not None:
            return self.z
        supporters = n // 2 + 1 - m
        share = (n - m - supporters) / (n - m) if n > m else 1.0
        return NormalDist().inv_cdf(min(max(share, 0.5), 0.999))


@attack("ipm")
class InnerProduct(WholeModel):
    """All colluders upload -epsilon times the mean of the round's honest updates, which they are
    assumed to see (Xie, Koyejo and Gupta, 2020, inner product manipulation)."""

    epsilon: float = Field(default=1.0, gt=0.0, description="the multiple of the honest mean")

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        mean, _ = mean_and_deviation(scene.honest or uploads)
        return [self.dressed(upload, -self.epsilon * mean) for upload in uploads]


@attack("label_flip")
class LabelFlip(Poisoning):
    """Trains its update on turned labels: on its interactions as negatives and on the sampled
    negatives as interactions."""

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        learnt = scene.train_flipped()
        return [
            replace(upload, A=A, touched=touched)
            for upload, A, touched in zip(uploads, learnt.A, learnt.touched, strict=True)
        ]


@attack("push")
class Push(Poisoning):
    """Puts target items into everybody's top K: their rows follow the gradient of log sigmoid(score
    - the K-th best score) over the colluders' own factors, enlarged to outweigh the others.

    Explicit boosting (PipAttack, Zhang et al., 2022), against the bar of the list to get into as in
    FedRecAttack (Rong et al., 2022); the users that the colluders know, themselves, stand for those
    they do not. The rows of all other items are as learnt, which hides the update among others.
    """

    needs_products = True

    items: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0,), min_length=1, description="the target items, by their number from 0"
    )
    k: int = Field(default=10, ge=1, description="K, the length of the lists to get into")
    steps: int = Field(default=20, ge=1, description="gradient steps in a round")
    boost: float | None = Field(
        default=None,
        gt=0.0,
        description="the enlargement; null for clients / colluders, which outweighs any number",
    )

    def targets(self) -> tuple[int, ...]:
        return self.items

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        rows = self._rows(scene)
        boost = scene.clients / len(uploads) if self.boost is None else self.boost
        forged = []
        for upload in uploads:
            A, touched = upload.A.copy(), upload.touched.copy()
            A[:, list(self.items)] = (boost * rows).T
            touched[list(self.items)] = True
            forged.append(replace(upload, A=A, touched=touched))
        return forged

    def _rows(self, scene: Scene) -> np.ndarray:
        """float64[targets, r]: the rows A_t that bring each target into the colluders' lists."""
        # Not the library's product, which may sum in another order with every number of threads.
        P, Q = scene.P.astype(np.float64), scene.Q.astype(np.float64)
        scores = np.einsum("md,nd->mn", P, Q)
        others = np.delete(scores, self.items, axis=1)
        if not others.shape[1]:  # no list leaves out a target
            return np.zeros((len(self.items), scene.B.shape[1]))
        bar = np.sort(others, axis=1)[:, -min(self.k, others.shape[1])]
        seen = np.einsum("md,dr->mr", P, scene.B.astype(np.float64))  # B'p, how a row is felt
        # One step takes a user of ordinary size past the bar's slope: 1 / mean |B'p|^2.
        step = 1.0 / max(float(np.square(seen).sum(axis=1).mean()), 1e-12)
        rows = np.zeros((len(self.items), seen.shape[1]))
        for row, item in zip(rows, self.items, strict=True):
            for _ in range(self.steps):
                short = bar - scores[:, item] - np.einsum("mr,r->m", seen, row)
                slope = 0.5 * (1.0 + np.tanh(0.5 * short))  # sigmoid, without overflow
                row += step * np.einsum("m,mr->r", slope, seen) / len(P)
        return rows
