"""A registry: the parts of one kind (behaviours, codecs, ...) by their names, listed nowhere else.

A part registers itself where it is defined, so that importing its file is all it takes:

    BEHAVIOURS: Registry[type[Behaviour]] = Registry("behaviour")

    @BEHAVIOURS.register("silent")
    class Silent(Behaviour): ...

This module imports nothing of ours, and both packages may import it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

Part = TypeVar("Part")
P = TypeVar("P")

NAME = re.compile(r"[a-z][a-z0-9_-]*")
"""The form of a name: it has to stand in YAML, in a command and in a file's name as it is."""

LAST = 1_000
"""The place of a part that does not name one: after those of this project."""


class Registry(Mapping[str, Part], Generic[Part]):
    """The registered parts of one kind by name, in the order of their places, and of registration
    where places are equal."""

    def __init__(self, kind: str) -> None:
        """``kind`` names what is registered in errors, as "codec"."""
        self.kind = kind
        self._parts: dict[str, Part] = {}
        self._places: dict[str, int] = {}

    def register(self, name: str, place: int = LAST) -> Callable[[P], P]:
        """A decorator that registers what it is given under ``name`` and returns it unchanged.

        ``place`` is the position in lists, for an order that depends neither on names nor on the
        order in which modules are imported.

        Raises ValueError for a name that is taken or malformed. A class of a notebook's cell that
        is executed again takes the place of its earlier self (`redefined`).
        """
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{self.kind} {name!r}: a name is a small letter, then small letters, digits, _, -"
            )

        def add(part: P) -> P:
            if name in self._parts and not redefined(self._parts[name], part):
                one, other = (
                    getattr(each, "__module__", "?") for each in (self._parts[name], part)
                )
                raise ValueError(
                    f"{self.kind} {name!r} is registered twice, by {one} and by {other}"
                )
            self._parts[name] = part  # type: ignore[assignment]  # a class keeps its own type
            self._places[name] = place
            self._parts = dict(sorted(self._parts.items(), key=lambda one: self._places[one[0]]))
            return part

        return add

    def register_named(self, name: str, place: int = LAST) -> Callable[[P], P]:
        """A decorator as `register`, for a class, whose attribute ``name`` it sets."""
        add = self.register(name, place)

        def decorate(part: P) -> P:
            add(part)
            part.name = name  # type: ignore[attr-defined]  # declared by the base of such parts
            return part

        return decorate

    def named(self, name: str) -> Part:
        """The part of that name. Raises ValueError, with the nearest name and all names, for one
        that is not registered."""
        if name in self._parts:
            return self._parts[name]
        raise ValueError(
            f"{self.kind} {name!r} is not one of {', '.join(self._parts)}{self.nearest(name)}"
        )

    def nearest(self, name: object) -> str:
        """A hint at the registered name nearest to one that is not; empty where none is near."""
        close = get_close_matches(str(name), self._parts, n=1, cutoff=0.5)
        return f"; did you mean {close[0]!r}?" if close else ""

    @contextmanager
    def restored(self) -> Iterator[None]:
        """A context at whose end the registry is as it was before: for a part of a test's own."""
        before, places = dict(self._parts), dict(self._places)
        try:
            yield
        finally:
            self._parts, self._places = before, places

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def redefined(old: object, new: object) -> bool:
    """True if ``new`` is the class ``old`` defined again, or an instance of it, as by a cell of a
    notebook that is executed twice: both are of the program itself, and of one name."""
    one, other = (part if isinstance(part, type) else type(part) for part in (old, new))
    return (
        one.__module__ == other.__module__ == "__main__" and one.__qualname__ == other.__qualname__
    )


def modules_of(package: str) -> list[str]:
    """The dotted names of a package's modules in alphabetical order; none of them is imported."""
    room = import_module(package)
    return sorted(module.name for module in iter_modules(room.__path__, f"{package}."))


def import_parts(package: str) -> None:
    """Import every module of a package in alphabetical order, so that its parts are registered."""
    for module in modules_of(package):
        import_module(module)
