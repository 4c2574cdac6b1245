"""The base class of option groups, with strict validation; shares, and validation errors in
words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

#: Options as in JSON or YAML: values and lists, and sections (which are trees) by name; or, flat,
#: values by dotted key. Pydantic checks the types of what is read.
Tree = dict[str, object]

#: Greatest duration, in the option's own unit; 1e9 s are 32 years, of which microseconds are exact
#: in float64 and in the ledger's 64-bit integers, however long a wait grows from try to try.
LONGEST: Final = 1e9
#: Shortest time, in seconds, after which anything is done again: a simulation of less would do
#: nothing else.
SHORTEST: Final = 1e-3

#: A power of ten whose exact fraction would fill the memory.
EXPONENT: Final = re.compile(r"[eE][-+]?0*[1-9][0-9]{2}")

Seconds = Annotated[float, Field(ge=0.0, le=LONGEST)]
Milliseconds = Annotated[float, Field(gt=0.0, le=LONGEST)]
MebibytesPerSecond = Annotated[float, Field(gt=0.0, ge=1e-6, le=LONGEST)]


class Section(BaseModel):
    """A group of options: frozen, no unknown names, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options by their keys: the fields, or what a register makes of them."""
        return cls.model_fields

    def refuse_unread(self, unread: Iterable[str], why: str, within: str = "") -> None:
        """Raise a validation error for the first of these options that is off its default, as
        nothing reads them; ``why`` is the rest of a sentence after "as". ``within``: this section's
        name and a point, where a section that holds it is validated."""
        fields = type(self).model_fields
        for key in unread:
            usual = (fields.get(key) or self.options()[key]).default
            if getattr(self, key) != usual:
                shown = usual if isinstance(usual, str) else json.dumps(usual)
                raise setting_error(within + key, f"{shown}, as {why}")


def share_of(share: str | float, count: int) -> int:
    """The number of servers in a share of `count`, rounded down: "1/3" of 30 is 10, 0.1 of 30 is 3.

    Exact: a decimal is taken as written, not as the nearest binary number. A validation error is
    raised for anything but a finite number in [0, 1].
    """
    text = share.strip() if isinstance(share, str) else repr(share)
    try:
        fraction = Fraction(text) if EXPONENT.search(text) is None else Fraction(-1)
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(-1)
    if not 0 <= fraction <= 1:
        raise setting_error("", "a number of servers, or a share in 0..1 as 0.25 or 1/3")
    return int(fraction * count)


def setting_error(key: str, allowed: str) -> PydanticCustomError:
    """A validation error for `key`, below the section that is validated; `allowed` describes valid
    values."""
    return PydanticCustomError("setting", "{allowed}", {"key": key, "allowed": allowed})


def flatten(model: BaseModel) -> Tree:
    """Every option's value, as in JSON, by its dotted key, in the order of definition."""
    flat: Tree = {}

    def walk(tree: Tree, prefix: str) -> None:
        for name, value in tree.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{name}.")
            else:
                flat[f"{prefix}{name}"] = value

    walk(model.model_dump(mode="json"), "")
    return flat
