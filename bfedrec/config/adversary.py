"""The `adversary` section of an experiment: an adversary that looks on, corrupts servers, and
chooses when messages are received."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from bfedrec.section import Seconds, Section, setting_error
from consensus.adversary.behaviour import BEHAVIOURS
from consensus.adversary.corruption import TARGETS
from consensus.adversary.delays import DELAYS
from consensus.adversary.groups import MOST_HEIGHTS
from consensus.adversary.when import HEIGHTS
from consensus.registry import Registry, import_parts

import_parts("consensus.adversary.delaying")
import_parts("consensus.adversary.targets")

NONE = "none"
"""The strategy of an adversary that does nothing of a kind."""


class StrategySettings(Section):
    """Powers of an adversary that uses them by a strategy, or not at all."""

    strategies: ClassVar[Registry[Any]]
    """The strategies to choose from, besides none."""

    strategy: str = NONE

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options by their keys, with the registered strategies as those to choose from."""
        usual, known = cls.model_fields["strategy"], cls.strategies
        listed = "; ".join(f"{name}: {each.meaning}" for name, each in known.items())
        told = FieldInfo.merge_field_infos(usual, description=f"{usual.description}; {listed}")
        told.annotation = Literal[(NONE, *known)]  # type: ignore[assignment]
        return {**cls.model_fields, "strategy": told}

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, name: str) -> str:
        if name != NONE and name not in cls.strategies:
            raise setting_error("", " | ".join((NONE, *cls.strategies)))
        return name

    @model_validator(mode="after")
    def _needed(self) -> Self:
        """Refuse options of a strategy that there is none of."""
        if self.strategy == NONE:
            self.refuse_unread(type(self).model_fields, f"strategy is {NONE}")
        return self


class CorruptionSettings(StrategySettings):
    """Servers that an adversary corrupts once it has seen something."""

    strategies = TARGETS

    strategy: str = Field(default=NONE, description="whom it corrupts (none: nobody)")
    behaviour: tuple[str, ...] = Field(
        default=("silent",),
        description="what corrupted servers do, in order (names: `bfedrec behaviours`)",
    )
    at_once: int = Field(
        default=1, ge=1, description="most servers that are corrupted or chosen at the same time"
    )
    in_all: int = Field(
        default=0, ge=0, description="most corruptions of the run, repeated ones too; 0: no limit"
    )
    delay: Seconds = Field(
        default=0.0, description="from choosing a server to its turning, in the unit of `by`"
    )
    by: Literal["seconds", "heights"] = Field(
        default="seconds",
        description="unit of the delay: simulated seconds; or heights, with whose beginning a "
        "server turns",
    )
    hold: int = Field(
        default=0,
        ge=0,
        le=MOST_HEIGHTS,
        description="heights for which a server stays corrupted, before it is honest again and "
        "another may be chosen; 0: for ever",
    )

    @field_validator("behaviour")
    @classmethod
    def _known_behaviours(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or any(name not in BEHAVIOURS for name in names):
            raise setting_error("", f"a list of {' | '.join(sorted(BEHAVIOURS))}")
        return names

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.by == HEIGHTS and (self.delay != int(self.delay) or self.delay > MOST_HEIGHTS):
            raise setting_error("delay", f"whole heights up to {MOST_HEIGHTS}, as by is {HEIGHTS}")
        if 0 < self.in_all < self.at_once:
            raise setting_error("in_all", f"0, or at least at_once = {self.at_once}")
        return self


class DelaySettings(StrategySettings):
    """Messages that an adversary holds back within a bound."""

    strategies = DELAYS

    strategy: str = Field(
        default=NONE,
        description="when, within D of when it is said, an honest server receives what another "
        "one says (none: when the network brings it)",
    )
    bound_seconds: Seconds = Field(
        default=0.2, description="D: simulated seconds after which nothing is held any more"
    )


class AdversarySettings(Section):
    """An adversary that looks on; the servers of `servers.malicious` are its own, too."""

    corruption: CorruptionSettings = Field(default_factory=CorruptionSettings)
    delays: DelaySettings = Field(default_factory=DelaySettings)

    @property
    def on(self) -> bool:
        """True if it does anything."""
        return self.corruption.strategy != NONE or self.delays.strategy != NONE
