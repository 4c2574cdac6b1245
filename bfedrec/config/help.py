"""The options of a config for people: help, types in words, the nearest known name."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import annotated_types
import yaml
from pydantic.fields import FieldInfo

from bfedrec.config.schema import Config
from bfedrec.section import Section


class Option(NamedTuple):
    """One option: its dotted key, its type with bounds, its default as YAML, its description."""

    key: str
    type: str
    default: str
    description: str


class SectionOfOptions(NamedTuple):
    """The options of one section: its dotted name ("" at the top), its title and the options."""

    name: str
    title: str
    options: list[Option]


def sections() -> Iterator[SectionOfOptions]:
    """Every section of a config, in order, each followed by the sections within it."""
    yield from _sections(Config, "")


def options() -> dict[str, Option]:
    """Every option by its dotted key."""
    return {option.key: option for section in sections() for option in section.options}


def help_text(width: int = 100) -> str:
    """Every option grouped by section, as `bfedrec run --help` prints it."""
    lines = []
    for section in sections():
        if section.options:
            lines += ["", f"{section.name or 'at the top'}: {section.title}"]
        for option in section.options:
            lines.append(f"  {option.key}  ({option.type}; default {option.default})")
            indent = " " * 6
            lines += textwrap.wrap(
                option.description, width, initial_indent=indent, subsequent_indent=indent
            )
    return "\n".join(lines).lstrip("\n")


def choices(key: str) -> list[str]:
    """The words that are allowed as values of an option; empty if any text or number is allowed."""
    field: Any = None
    model: Any = Config
    for step in key.split("."):
        field = model.options()[step]
        model = field.annotation
    return [word for word in _words(field.annotation) if isinstance(word, str)]


def nearest(word: str, words: Sequence[str]) -> str:
    """A hint at the known word nearest to an unknown one; empty if none is near."""
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close and close[0] != word else ""


def nearest_key(key: str) -> str:
    """A hint at the known key nearest to an unknown one, searched in its section first."""
    section, _, leaf = key.rpartition(".")
    known = [*options(), *(section.name for section in sections() if section.name)]
    siblings = {
        name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == section
    }
    elsewhere = {name.rpartition(".")[2]: name for name in known}
    there = ", ".join(sorted(siblings))
    # In a section that there is, a word from elsewhere has to be nearly the same to be meant.
    for candidates, cutoff in ((siblings, 0.6), (elsewhere, 0.85 if siblings else 0.6)):
        close = difflib.get_close_matches(leaf, sorted(candidates), n=1, cutoff=cutoff)
        if close:
            strays = section and siblings and candidates is elsewhere
            known_there = f" {section} has {there}" if strays else ""
            return f"; did you mean {candidates[close[0]]!r}?{known_there}"
    return f"; known there: {there}" if siblings else ""


def _sections(model: type[Section], prefix: str) -> Iterator[SectionOfOptions]:
    inner: list[tuple[str, type[Section]]] = []
    found = []
    for name, field in model.options().items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            inner.append((f"{key}.", field.annotation))
        else:
            found.append(Option(key, _type(field), _default(field), field.description or ""))
    title = (model.__doc__ or "").strip().split("\n")[0]
    yield SectionOfOptions(prefix.removesuffix("."), title, found)
    for section, section_model in inner:
        yield from _sections(section_model, section)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=False)
    text = yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=1000
    )
    return text.strip().removesuffix("...").strip()


def _type(field: FieldInfo) -> str:
    signs: tuple[tuple[type, str, str], ...] = (
        (annotated_types.Ge, "ge", ">="),
        (annotated_types.Gt, "gt", ">"),
        (annotated_types.Le, "le", "<="),
        (annotated_types.Lt, "lt", "<"),
    )
    bounds = [
        f"{sign} {getattr(bound, attribute)}"
        for bound in field.metadata
        for kind, attribute, sign in signs
        if isinstance(bound, kind)
    ]
    return " ".join([_annotation(field.annotation), *bounds])


def _annotation(annotation: Any) -> str:
    names = {int: "int", float: "float", bool: "true | false", str: "text", Path: "path"}
    names[type(None)] = "null"
    if annotation in names:
        return names[annotation]
    if get_origin(annotation) is Literal:
        return " | ".join(get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_annotation(get_args(annotation)[0])}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _annotation(annotation.__origin__)
    if get_origin(annotation) is dict or (
        isinstance(annotation, type) and issubclass(annotation, Section)
    ):
        return "{...}"
    return " | ".join(_annotation(part) for part in get_args(annotation))


def _words(annotation: Any) -> Iterator[Any]:
    """The values of all literals inside a type."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _words(part)
