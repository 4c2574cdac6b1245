"""Replacement of a function of the protocol while a rule is switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dis import get_instructions
from types import CodeType, ModuleType
from typing import Any

StandIn = Callable[[Any], Any]
"""Maps the original function to the function that stands in for it."""


class BadPatch(ValueError):
    """A patch that would replace nothing that is called."""


@dataclass(frozen=True)
class Patch:
    """A function that is replaced: a method of a class, or a global of a module.

    A patch must land where the function is defined. Modules that import the function by name have
    globals of their own, which a patch of its own module does not reach: those take a patch each,
    ``imported``. Raises `BadPatch` for a class or module that does not define the function or, if
    ``imported``, for a module that does not import it or whose functions do not call it.
    """

    owner: ModuleType | type
    name: str
    stand_in: StandIn
    imported: bool = False

    def __post_init__(self) -> None:
        where = f"{self.owner.__name__}.{self.name}"
        if not hasattr(self.owner, self.name):
            raise BadPatch(f"{where}: there is no such function")
        if isinstance(self.owner, type):
            if self.name not in vars(self.owner):
                raise BadPatch(f"{where}: the class inherits it, patch the class that defines it")
            return
        home = getattr(self.owner, self.name).__module__
        if not self.imported and home != self.owner.__name__:
            raise BadPatch(f"{where}: defined in {home}, patch it there or as imported")
        if self.imported and home == self.owner.__name__:
            raise BadPatch(f"{where}: defined there, not imported")
        if self.imported and not any(_loads(code, self.name) for code in _codes(self.owner)):
            raise BadPatch(f"{where}: imported from {home}, but no function there calls it")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the function until the context is left."""
        original = vars(self.owner)[self.name]
        setattr(self.owner, self.name, self.stand_in(getattr(self.owner, self.name)))
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)


def _codes(module: ModuleType) -> Iterator[CodeType]:
    """The code of all functions and methods that a module defines."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        for member in vars(value).values() if isinstance(value, type) else (value,):
            for function in (member, getattr(member, "fget", None), getattr(member, "func", None)):
                code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
                if code is not None:
                    yield code


def _loads(code: CodeType, name: str) -> bool:
    """Return whether a function, or one inside it, reads a global of this name."""
    if name in code.co_names and any(
        each.opname == "LOAD_GLOBAL" and each.argval == name for each in get_instructions(code)
    ):
        return True
    return any(isinstance(const, CodeType) and _loads(const, name) for const in code.co_consts)
