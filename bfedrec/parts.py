"""Parts: classes that are chosen by name in a config (a rule, a codec, a basis, a metric).

A part is registered under its name, and its fields made by `parameter` are options of the section
that chooses it (`PartSection`): the class is the only place that describes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from bfedrec.section import Section
from consensus.registry import LAST, Registry, redefined


@dataclass(frozen=True)
class Part:
    """A named part; its parameters are integers, each a field made by `parameter`."""

    kind_of_part: ClassVar[str]
    """The noun for such parts in errors, as "codec"."""
    name: ClassVar[str]
    """The name that configs and records use; registration sets it."""
    meaning: ClassVar[str]
    """The part in a few words, for the help."""

    def __post_init__(self) -> None:
        for key, field in parameters_of(type(self)).items():
            value, (least, most) = getattr(self, key), field.metadata["bounds"]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"{self.kind_of_part} {self.name!r}: {key} must be an integer from "
                    f"{least} to {most}, not {value!r}"
                )

    def method(self, name: str) -> str:
        """One of its methods as an error names it."""
        return f"{self.kind_of_part} {self.name!r}: {name}()"

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters' values, which the genesis records beside the name."""
        return {key: getattr(self, key) for key in parameters_of(type(self))}


class PartError(TypeError):
    """Error: a part that returned something else than its interface says, in one line."""


def array_of(
    part: str, value: object, shape: tuple[int, ...], dtype: np.dtype | None = None
) -> np.ndarray:
    """The array that a part returned. Raises PartError where it is none, holds no real numbers, or
    has another shape or, if one is given, another dtype: compiled code that reads it would go
    beyond its end.

    ``part`` names the part and its method in the error.
    """
    if not isinstance(value, np.ndarray):
        raise PartError(f"{part} returned {type(value).__name__}, and not an array")
    if value.dtype.kind not in "biuf":
        raise PartError(f"{part} returned {value.dtype}, and not real numbers")
    if value.shape != shape or (dtype is not None and value.dtype != dtype):
        kind = value.dtype if dtype is None else dtype
        raise PartError(
            f"{part} returned {value.dtype}{list(value.shape)}, and not {kind}{list(shape)}"
        )
    return value


def fixed(array: np.ndarray) -> np.ndarray:
    """A view of an array to which nothing can be written, for a part that only reads it: what one
    changed in place would be changed for everybody, and no chain tells of it."""
    view = array.view()
    view.flags.writeable = False
    return view


Kind = TypeVar("Kind", bound=type[Part])
AnyPart = TypeVar("AnyPart", bound=Part)


def parameter(default: int, least: int, most: int, description: str) -> Any:
    """A field of a part: an integer from ``least`` to ``most``, with its help."""
    return dataclasses.field(
        default=default, metadata={"bounds": (least, most), "description": description}
    )


def parameters_of(kind: type[Part]) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a part that are parameters, by their keys."""
    return {field.name: field for field in dataclasses.fields(kind) if "bounds" in field.metadata}


def register(
    registry: Registry[type[AnyPart]], name: str, taken: tuple[str, ...] = (), place: int = LAST
) -> Callable[[Kind], Kind]:
    """A decorator that registers a class under the name that configs and records use.

    ``taken``: keys of the choosing section that are no parameters; ``place``: as in
    `Registry.register`. Raises ValueError for a name that is taken or malformed, for a parameter
    with such a key, and for one that another part has with another default, other bounds or another
    description: a config has one key for both.
    """
    add = registry.register_named(name, place)

    def decorate(kind: Kind) -> Kind:
        # A name that is taken is refused as such, below.
        taken_name = name in registry and not redefined(registry[name], kind)
        fields = {} if taken_name else parameters_of(kind)
        for key, field in fields.items():
            if key in taken:
                raise ValueError(f"{registry.kind} {name!r}: a parameter cannot be named {key!r}")
            for other in (each for each in registry.values() if each.name != name):
                theirs = parameters_of(other).get(key)
                if theirs and (field.default, field.metadata) != (theirs.default, theirs.metadata):
                    raise ValueError(
                        f"{registry.kind} {name!r}: {key} is another parameter than "
                        f"that of {other.name!r}"
                    )
        return add(kind)

    return decorate


def check_keys(kind: type[Part], parameters: Mapping[str, int]) -> None:
    """Raise ValueError where these are not exactly the parameters of a part."""
    known = parameters_of(kind)
    if set(parameters) != set(known):
        raise ValueError(
            f"{kind.kind_of_part} {kind.name!r} takes {', '.join(known) or 'no parameters'}, "
            f"not {', '.join(map(str, parameters)) or 'none'}"
        )


class PartSection(Section):
    """A section that chooses a part by name and has the parameters of all registered ones.

    A subclass names in ``choice`` its field (str) for the part's name, whose default is the default
    part, and lists the registered ones in `parts`.
    """

    # The parameters of all parts stand beside the fields of the class: `_read` fills them in.
    model_config = ConfigDict(extra="allow")

    choice: ClassVar[str]
    """The field that holds the part's name."""
    first: ClassVar[tuple[str, ...]] = ()
    """Parameters that stand before the others, in this order."""
    about: ClassVar[str] = ""
    """The text of the help before the list of parts."""

    @classmethod
    def parts(cls) -> tuple[type[Part], ...]:
        """The classes that a config may choose, in the order of the help."""
        raise NotImplementedError

    @classmethod
    def readers(cls) -> Mapping[str, tuple[str, ...]]:
        """Fields of the section that only some parts read, with the names of those."""
        return {}

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options that the class and the registered parts make, in the order of a config."""
        return _section(cls, cls.parts()).model_fields

    @property
    def parameters(self) -> dict[str, int]:
        """The chosen part's own parameters."""
        chosen = getattr(self, self.choice)
        kind = next(kind for kind in self.parts() if kind.name == chosen)
        return {key: getattr(self, key) for key in parameters_of(kind)}

    def check_parameters(self) -> None:
        """Raise a validation error for a parameter off its default that the chosen part does not
        read."""
        read, named = self.parameters, f"{self.choice} {getattr(self, self.choice)}"
        unread = [key for key in self.model_extra or () if key not in read]
        self.refuse_unread(unread, f"{named} does not read it")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """Check all options against the registry, and add what is at its default.

        An error is reported on the key that it concerns, as by a section with these fields.
        """
        if not isinstance(value, dict):
            return value
        return _section(cls, cls.parts()).model_validate(value).model_dump()


@lru_cache
def _section(owner: type[PartSection], parts: tuple[type[Part], ...]) -> type[Section]:
    """The section with the fields of ``owner``, its choice among these parts, and a field for each
    of their parameters."""
    takers: dict[str, list[str]] = {}
    parameters: dict[str, dataclasses.Field[Any]] = {}
    for part in parts:
        for key, parameter_field in parameters_of(part).items():
            takers.setdefault(key, []).append(part.name)
            parameters[key] = parameter_field
    fields: dict[str, Any] = {}
    for key, own in owner.model_fields.items():
        annotation, described = own.annotation, own
        if key == owner.choice:
            annotation = Literal[tuple(part.name for part in parts)]  # type: ignore[assignment]
            listed = "; ".join(f"{part.name}: {part.meaning}" for part in parts)
            described = Field(default=own.default, description=f"{owner.about}{listed}")
        elif key in owner.readers():
            described = FieldInfo.merge_field_infos(
                own, description=f"{', '.join(owner.readers()[key])}: {own.description}"
            )
        fields[key] = (annotation, described)
    for key in dict.fromkeys([*(key for key in owner.first if key in parameters), *parameters]):
        (least, most), default = parameters[key].metadata["bounds"], parameters[key].default
        description = f"{', '.join(takers[key])}: {parameters[key].metadata['description']}"
        fields[key] = (int, Field(default=default, ge=least, le=most, description=description))
    return create_model(owner.__name__, __base__=Section, **fields)
