"""Attacks on the protocol: messages that no honest client sends. Servers refuse and count each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from bfedrec.attacks.attack import Attack, Scene, attack
from bfedrec.learning.upload import Upload

MOST_SAMPLES = 2**63 - 1
"""The most samples that an attack states: a message holds integers of 64 bits."""


@attack("inflated_samples")
class InflatedSamples(Attack):
    """Claims a multiple of its sample count N_u. Above what the genesis registers it is refused."""

    factor: float = Field(default=10.0, gt=0.0, description="what N_u is multiplied by")

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        return [
            replace(upload, samples=min(MOST_SAMPLES, max(1, round(self.factor * upload.samples))))
            for upload in uploads
        ]


@attack("replay")
class Replay(Attack):
    """Sends its update, and at the next height the same message again, which is stale by then."""

    def keeps_messages(self) -> bool:
        return True

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        r, N = scene.B.shape[1], len(scene.Q)
        nothing, nowhere = np.zeros((r, N), np.float32), np.zeros(N, np.bool_)
        again = [
            Upload(client, nothing, nowhere, 1, message=message)
            for client, message in scene.earlier
        ]
        return [*uploads, *again]


@attack("stale_round")
class StaleRound(Attack):
    """Signs its update for another place in the chain: the height before, or this height on top of
    the genesis."""

    place: Literal["height", "parent"] = Field(
        default="height", description="what is wrong: the height, or the parent block"
    )

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        if self.place == "height":
            return [replace(upload, age=1) for upload in uploads]
        if scene.height == 1:
            return uploads  # the genesis is the right parent
        return [replace(upload, parent=scene.genesis) for upload in uploads]


@attack("two_updates")
class TwoUpdates(Attack):
    """Signs two different updates for one height, and sends them to different servers: evidence
    against it, and neither counts."""

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        return [
            version for upload in uploads for version in (upload, replace(upload, A=-2 * upload.A))
        ]


@attack("nan")
class NotFinite(Attack):
    """Uploads numbers that are none, so that one unchecked sum would destroy the model."""

    value: Literal["nan", "inf"] = Field(default="nan", description="NaN, or infinity")

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        shape = uploads[0].A.shape
        A, touched = np.full(shape, float(self.value), np.float32), np.ones(shape[1], np.bool_)
        return [replace(upload, A=A, touched=touched) for upload in uploads]


@attack("wrong_shape")
class WrongShape(Attack):
    """Uploads all of an A with one row more than the genesis says."""

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        from bfedrec.compression.codecs.dense import (
            Dense,  # brings numba, which a config alone does not need
        )

        up = scene.exchange.up
        dense = replace(scene.exchange, up=Dense(up.rows + 1, up.items, up.rows + 1))
        return [
            replace(
                upload,
                payload=dense.encode(np.vstack([upload.A, upload.A[:1]]), upload.touched, b""),
            )
            for upload in uploads
        ]
