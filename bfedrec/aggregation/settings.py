"""The `aggregation` section of an experiment."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, Literal

from pydantic import ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from bfedrec.aggregation.registry import RULES
from bfedrec.aggregation.rule import Rule
from bfedrec.section import Section

#: The order in which recorded configs write these parameters; those of other rules come after.
FIRST = ("malicious_permille", "norm_permille", "iterations")


class AggregationSettings(Section):
    """How a round's updates become one A."""

    # The parameters of all registered rules stand beside `rule`: `_read` fills them in.
    model_config = ConfigDict(extra="allow")

    rule: str = "per_item"

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options that the registered rules make, by their keys, in the order of a config."""
        return _checked(tuple(RULES.values())).model_fields

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """Check the rule and all parameters against the register, and add what is at its default.

        What is wrong is reported on its own key, as by a section with these fields.
        """
        if not isinstance(value, dict):
            return value
        return _checked(tuple(RULES.values())).model_validate(value).model_dump()


@lru_cache
def _checked(kinds: tuple[type[Rule], ...]) -> type[Section]:
    """The section with a field for the name and for each parameter of these rules."""
    takers: dict[str, list[str]] = {}
    parameters: dict[str, dataclasses.Field[Any]] = {}
    for kind in kinds:
        for field in dataclasses.fields(kind):
            takers.setdefault(field.name, []).append(kind.name)
            parameters[field.name] = field
    fields: dict[str, Any] = {
        "rule": (
            Literal[tuple(kind.name for kind in kinds)],
            Field(
                default=AggregationSettings.model_fields["rule"].default,
                description="; ".join(f"{kind.name}: {kind.meaning}" for kind in kinds),
            ),
        )
    }
    for key in dict.fromkeys([*(key for key in FIRST if key in parameters), *parameters]):
        (least, most), default = parameters[key].metadata["bounds"], parameters[key].default
        description = f"{', '.join(takers[key])}: {parameters[key].metadata['description']}"
        fields[key] = (int, Field(default=default, ge=least, le=most, description=description))
    return create_model("Aggregation", __base__=Section, **fields)
