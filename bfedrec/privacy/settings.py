"""The `privacy` section of an experiment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bfedrec.privacy.attack_settings import AttackSettings
from bfedrec.section import Section, setting_error


class DpSettings(Section):
    """Client-level differential privacy of the updates (docs/differential-privacy.md)."""

    noise: Literal["none", "local", "distributed"] = Field(
        default="none",
        description="where the noise is whole. local: in every single update; distributed: in the "
        "sum of at least dp.group updates, so that it protects only where nobody sees less than a "
        "sum. An update is clipped before",
    )
    clip: float = Field(
        default=1.0,
        gt=0.0,
        le=1e6,
        description="C, greatest L2 norm of a client's update over all the numbers that it sends",
    )
    epsilon: float | None = Field(
        default=None,
        ge=1e-3,
        le=1e3,
        description="the budget of a client over all of its participations, from which the noise "
        "is worked out; null where dp.noise_multiplier is given",
    )
    delta: float = Field(
        default=1e-5,
        ge=1e-15,
        le=0.1,
        description="delta of the budget and of the epsilon in the summary",
    )
    noise_multiplier: float | None = Field(
        default=None,
        ge=1e-3,
        le=1e6,
        description="z, deviation of the noise by what a client can change: 2 C under adjacency "
        "replaced, C under absent; null: worked out from dp.epsilon",
    )
    adjacency: Literal["replaced", "absent"] = Field(
        default="replaced",
        description="what the guarantee compares: a client's data with any other data (replaced), "
        "or with none, of which the update is 0 (absent); the second needs half of the noise and "
        "promises less",
    )
    group: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="distributed: the fewest updates with honest noise in a sum that anybody sees, "
        "2 or more; each has that share of its variance. With aggregation.secure at most the least "
        "that a group's sum has; without it nothing hides single updates: dp_epsilon holds where "
        "something else lets nobody see less than such a sum, and dp_epsilon_single where it does "
        "not",
    )

    @property
    def on(self) -> bool:
        """True if updates are clipped and have noise."""
        return self.noise != "none"

    @model_validator(mode="after")
    def _agree(self) -> DpSettings:
        if not self.on:
            self.refuse_unread(type(self).model_fields, "privacy.dp.noise is none")
            return self
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise setting_error(
                "epsilon", "a budget as 8, or null with a noise_multiplier: one of the two"
            )
        if self.noise == "local":
            self.refuse_unread(["group"], "privacy.dp.noise is local")
        elif self.group < 2:
            raise setting_error(
                "group",
                "2 or more updates, as distributed noise protects only what a sum of so many shows "
                "to whoever sees nothing else; or noise local",
            )
        return self


class DecoySettings(Section):
    """Items that updates are trained on as positives instead of exactly a client's own."""

    kept: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="t, chance of each of a client's items to be shown: its update is trained on "
        "it as a positive, in every round or in none. Its factors p_u are trained on all of them",
    )
    share: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="f, chance of each other item to be a decoy, which is shown as if it were the "
        "client's; below t. The sign of an update then tells items with AUC (1 + t - f) / 2",
    )

    factors: Literal["own", "shown"] = Field(
        default="own",
        description="items on which the p_u of an update is trained. own: the client's own, so "
        "that the update's direction tells its taste; shown: those that are shown, so that an "
        "update tells nothing else, with another p_u for scoring, for methods that keep none",
    )

    @property
    def on(self) -> bool:
        """True if updates are trained on other items than the client's own."""
        return self.share > 0 or self.kept < 1

    @model_validator(mode="after")
    def _agree(self) -> DecoySettings:
        if self.share >= self.kept:
            raise setting_error("share", f"less than privacy.decoys.kept = {self.kept}")
        if not self.on:
            self.refuse_unread(type(self).model_fields, "privacy.decoys shows a client's own items")
        return self


class PrivacySettings(Section):
    """The protection of the clients' updates, and attacks on them."""

    attacks: AttackSettings = Field(default_factory=AttackSettings)
    dp: DpSettings = Field(default_factory=DpSettings)
    decoys: DecoySettings = Field(default_factory=DecoySettings)
