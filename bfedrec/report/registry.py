"""The registries of tables and figures.

A file in `report/tables` or `report/figures` that registers a part under the file's own name is all
that adds one here; a plugin's parts register when the plugin is imported.

A whole table:

    def make(request):
        columns = (Column("word", "word"), Column("letters", "letters", 0))
        rows = [{"word": word, "letters": len(word)} for word in request.overrides]
        return Made(Table("words", "Words and their lengths", columns, rows))

    register_table("words", "the length of each word", make)

A figure is drawn from rows, which are also written as CSV:

    register_figure("loss", "the loss over the rounds", experiments, rows, draw)

``experiments()`` returns the sweeps whose runs it needs, ``rows`` takes the recorded runs of each
(a list of `Runs`, one a setting) and returns mappings with the same keys, and ``draw(rows)``
returns a matplotlib `Figure`. Matplotlib is not loaded here: a plugin imports it inside ``draw``.
A figure of a record that no sweep made is registered by `register_record_figure`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bfedrec.config.help import nearest
from bfedrec.config.yaml_core import ConfigError
from bfedrec.report.artefact import Experiment, Made, Request
from consensus.registry import LAST, Registry, import_parts, modules_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Source = Callable[[Request], tuple[Sequence[Mapping[str, Any]], str]]
"""A function that gives a figure's rows, and a text about what is lacking, empty if nothing is."""

ROOMS = {"table": "bfedrec.report.tables", "figure": "bfedrec.report.figures"}
"""The packages with this project's own parts, by the kind of part."""


@dataclass(frozen=True)
class Artefact:
    """A table or a figure, made from recorded runs."""

    name: str
    shows: str
    """Its content in a line, for the list of `bfedrec table` or `bfedrec figure`."""
    experiments: Callable[[], Sequence[Experiment]]
    """The experiments whose runs it is made of."""
    group: str
    """A name under which `bfedrec make` makes it together with others; empty for none."""


@dataclass(frozen=True)
class TableKind(Artefact):
    """A registered table."""

    make: Callable[[Request], Made]


@dataclass(frozen=True)
class FigureKind(Artefact):
    """A registered figure."""

    rows: Callable[..., Sequence[Mapping[str, Any]]]
    """The data to draw, from the recorded runs of each experiment; empty for nothing to draw."""
    draw: Callable[..., Figure]
    """The drawing of these rows."""
    of_some: bool
    """True if it can be drawn of the recorded runs while others are missing."""
    source: Source | None = None
    """The data of a figure that is made from a record of its own, and what is lacking of it."""


TABLES: Registry[TableKind] = Registry("table")
FIGURES: Registry[FigureKind] = Registry("figure")

Kind = TypeVar("Kind", bound=Artefact)


def register_table(
    name: str,
    shows: str,
    make: Callable[[Request], Made],
    experiments: Callable[[], Sequence[Experiment]] = tuple,
    place: int = LAST,
    group: str = "",
) -> None:
    """Register a table (see `TableKind` for the arguments) at ``place`` in lists, ascending.

    Raises ValueError for a name that is malformed, or that another table or figure has.
    """
    _refuse_taken("table", name, make.__module__)
    TABLES.register(name, place)(TableKind(name, shows, experiments, group, make))


def register_figure(
    name: str,
    shows: str,
    experiments: Callable[[], Sequence[Experiment]],
    rows: Callable[..., Sequence[Mapping[str, Any]]],
    draw: Callable[..., Figure],
    of_some: bool = False,
    place: int = LAST,
    group: str = "",
) -> None:
    """Register a figure (see `FigureKind` for the arguments) at ``place`` in lists, ascending.

    Raises ValueError for a name that is malformed, or that another table or figure has.
    """
    _refuse_taken("figure", name, draw.__module__)
    kind = FigureKind(name, shows, experiments, group, rows, draw, of_some)
    FIGURES.register(name, place)(kind)


def register_record_figure(
    name: str,
    shows: str,
    source: Source,
    draw: Callable[..., Figure],
    place: int = LAST,
) -> None:
    """Register a figure that is made from a record of its own (`FigureKind.source`) instead of
    recorded runs.

    Raises ValueError for a name that is malformed, or that another table or figure has.
    """
    _refuse_taken("figure", name, draw.__module__)
    kind = FigureKind(name, shows, tuple, "", tuple, draw, False, source)
    FIGURES.register(name, place)(kind)


def _refuse_taken(kind: str, name: str, module: str) -> None:
    """Raise ValueError for a name that a part of the other kind or one of this project's own has.

    Their files have their names, so those that are not imported yet are known, too.
    """
    if name in (FIGURES if kind == "table" else TABLES):
        raise ValueError(f"{kind} {name!r}: a table and a figure cannot have one name")
    for room in ROOMS.values():
        own = f"{room}.{name}"
        if own != module and own in modules_of(room):
            raise ValueError(f"{kind} {name!r} is registered twice, by {own} and by {module}")


def tables() -> dict[str, TableKind]:
    """All tables by name, in the order of their places."""
    import_parts(ROOMS["table"])
    return dict(TABLES)


def figures() -> dict[str, FigureKind]:
    """All figures by name, in the order of their places; loads matplotlib."""
    import_parts(ROOMS["figure"])
    return dict(FIGURES)


def choose(what: str, word: str, known: Mapping[str, Kind]) -> list[Kind]:
    """The parts of ``known`` that a word of a command line means: the one of that name, those of
    that group, or `all`.

    Raises `ConfigError`, with the names and the nearest, for any other word. ``what`` names in
    errors what is chosen, as "table".
    """
    if word == "all":
        return list(known.values())
    if word in known:
        return [known[word]]
    found = [kind for kind in known.values() if word and kind.group == word]
    if not found:
        words = words_for(known)
        told = f"{what} {word!r}: not one of {', '.join(words)}{nearest(word, words)}"
        raise ConfigError(f"command line: {told}")
    return found


def words_for(known: Mapping[str, Artefact]) -> list[str]:
    """The words that `choose` understands: names, then groups, then `all`."""
    groups = dict.fromkeys(kind.group for kind in known.values() if kind.group)
    return [*known, *(group for group in groups if group not in known), "all"]
