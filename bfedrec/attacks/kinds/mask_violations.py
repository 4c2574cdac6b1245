"""The attack on the protocol of masks (`bfedrec.privacy.secure`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bfedrec.attacks.attack import Attack, Scene, attack
from bfedrec.learning.upload import Upload


@attack("mask_violation")
class MaskViolation(Attack):
    """Trains honestly, and breaks the protocol of secure aggregation, which drops its group."""

    under_masks = True

    how: Literal["garbage", "false_shares", "false_dealing", "silence", "other_roster"] = Field(
        default="garbage",
        description="what is wrong: the masked update is noise, its shares are others than were "
        "dealt to it, those that it deals give other secrets, it gives none, or it masks for other "
        "members than are there",
    )

    def violation(self) -> str:
        return self.how

    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        return uploads
