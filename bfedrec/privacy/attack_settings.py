"""The `privacy.attacks` section of an experiment: attacks whose figures a run's summary has."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from bfedrec.privacy.registry import INFERENCES
from bfedrec.section import Section, setting_error


class AttackSettings(Section):
    """Inference attacks that a run makes on itself at its end, as `bfedrec privacy` does."""

    names: tuple[str, ...] = Field(
        default=(),
        description="inference attacks that the run makes on its own updates at its end; their "
        "figures are in the summary, as privacy_sign_auc",
    )
    holder: str = Field(
        default="server:0",
        pattern=r"^(reader|(server|colluding):(0|[1-9][0-9]{0,5}))$",
        description="who attacks: server:INDEX, reader, or colluding:COUNT for the first servers",
    )

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options, with the registered attacks in the help of their names."""
        names = cls.model_fields["names"]
        listed = "; ".join(f"{name}: {kind.meaning}" for name, kind in INFERENCES.items())
        told = FieldInfo.merge_field_infos(names, description=f"{names.description}. {listed}")
        return {**cls.model_fields, "names": told}

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in INFERENCES:
                raise setting_error("", " | ".join(INFERENCES))
        if len(set(names)) != len(names):
            raise setting_error("", "each attack once")
        return names

    @model_validator(mode="after")
    def _read(self) -> AttackSettings:
        """Refuse a holder that attacks nothing."""
        if not self.names:
            self.refuse_unread(["holder"], "privacy.attacks.names is empty")
        return self
