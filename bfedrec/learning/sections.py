"""The sections `training` and `optimizer` of an experiment, which name a registered part."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator
from pydantic.fields import FieldInfo

from bfedrec.learning.method import METHODS, TrainingMethod
from bfedrec.learning.optimizer import OPTIMIZERS, Optimizer, optimizer_named
from bfedrec.learning.settings import TrainingSettings
from bfedrec.parts import PartSection
from bfedrec.section import setting_error
from consensus.registry import import_parts

import_parts("bfedrec.learning.methods")


class TrainingSection(TrainingSettings):
    """A client's training in one round; symbols are those of the paper's III.C."""

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options, with the registered methods, and at each the methods that read it if not all
        do."""
        methods = list(METHODS.values())
        names: Any = Literal[tuple(METHODS)]
        options = {}
        for key, field in cls.model_fields.items():
            told, annotation = field.description, field.annotation
            if key == "method":
                listed = "; ".join(f"{each.name}: {each.meaning}" for each in methods)
                told, annotation = f"{told}. {listed}", names
            else:
                readers = [each.name for each in methods if key in each.reads]
                if len(readers) < len(methods):
                    told = f"{', '.join(readers)}: {told}"
            field = FieldInfo.merge_field_infos(field, description=told)
            field.annotation = annotation
            options[key] = field
        return options

    @field_validator("method")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in METHODS:
            raise setting_error("", " | ".join(METHODS))
        return name

    @model_validator(mode="after")
    def _read(self) -> TrainingSection:
        """Refuse a setting that the method does not read."""
        unread = type(self).model_fields.keys() - self.chosen.reads - {"method"}
        self.refuse_unread(sorted(unread), f"training.method {self.method} does not read it")
        return self

    @property
    def chosen(self) -> TrainingMethod:
        """The method that these settings name."""
        return METHODS.named(self.method)()


class OptimizerSettings(PartSection):
    """The step by which everyone merges a round's aggregate into Q."""

    choice: ClassVar[str] = "kind"

    kind: str = "plain"

    @classmethod
    def parts(cls) -> tuple[type[Optimizer], ...]:
        return tuple(OPTIMIZERS.values())

    @model_validator(mode="after")
    def _agree(self) -> OptimizerSettings:
        self.check_parameters()
        return self

    @property
    def chosen(self) -> Optimizer:
        """The optimizer that these settings name."""
        return optimizer_named(self.kind, self.parameters)
