"""A decorator for frozen dataclasses that are constructed as quickly as mutable ones."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """``dataclass(frozen=True)`` with an ``__init__`` that sets all fields at once.

    The standard library's calls ``object.__setattr__`` for each field, which takes twice as long
    for the larger records; a height makes hundreds of them. Not supported: ``__post_init__``, and
    fields that are not arguments of ``__init__``.
    """
    made = dataclass(frozen=True)(cls)
    names: dict[str, Any] = {"put": object.__setattr__, "MISSING": MISSING}
    arguments, values = [], []
    for each in fields(made):  # type: ignore[arg-type]
        name = value = each.name
        if each.default is not MISSING:
            names[f"default_{name}"] = each.default
            name = f"{name}=default_{name}"
        elif each.default_factory is not MISSING:
            names[f"make_{name}"] = each.default_factory
            value = f"make_{name}() if {name} is MISSING else {name}"
            name = f"{name}=MISSING"
        arguments.append(name)
        values.append(f"'{each.name}': {value}")
    source = f"def __init__(self, {', '.join(arguments)}):\n"
    exec(source + f"    put(self, '__dict__', {{{', '.join(values)}}})", names)
    made.__init__ = names["__init__"]  # type: ignore[method-assign]
    return made
