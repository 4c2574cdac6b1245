"""`check`: a report on data before anything is learnt of them, as `bfedrec data check` has it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bfedrec.api.options import read_config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.section import Tree

if TYPE_CHECKING:  # slow to load
    from bfedrec.data.dataset import Dataset


class Check:
    """The report on a data set: its rows, what is odd about them, and how they are split."""

    def __init__(
        self, data: Dataset, rows: Mapping[str, str], warnings: tuple[str, ...], kind: str
    ) -> None:
        from bfedrec.data.sanity import split_facts  # slow to load

        self.data = data
        """The data set as it is prepared."""
        self.format = kind
        """The format that a file was recognised as; empty for what is no file of a known format."""
        self.rows = dict(rows)
        """Facts about a file's rows, by description; empty for what is no such file."""
        self.warnings = warnings
        """Lines about what is odd about the rows."""
        found = {name: count for name, count in split_facts(data).items() if count}
        self.split: dict[str, int] = {"users": data.users, "items": data.items, **found}
        """The counts of the split by description; those that are 0 are left out."""

    def __repr__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.rows.items()]
        lines += [f"WARNING: {line}" for line in self.warnings]
        lines += [f"{name}: {count:,}" for name, count in self.split.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [*self.rows.items(), *(("warning", line) for line in self.warnings)]
        cells += [(name, f"{count:,}") for name, count in self.split.items()]
        rows = (
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in cells
        )
        title = " ".join(filter(None, (self.data.name, self.format)))
        return f"<table><caption>{escape(title)}</caption>{''.join(rows)}</table>"


def check(data: str | Path | Mapping[str, Any], **options: Any) -> Check:
    """The report on data, which are read and split as a run would do it.

    ``data``: a data set's name, the path of a file, or a section `data` of a config, as `dataset`
    returns it. ``options``: of that section, as ``split="temporal"``. Raises
    `bfedrec.config.yaml_core.ConfigError` for a wrong option and
    `bfedrec.data.interactions.DataError`, with file, line and column, for what cannot be read.
    """
    from bfedrec.data.prepare import prepare
    from bfedrec.data.sanity import sanity
    from bfedrec.data.sets.file import FormatFile

    section = dict(data) if isinstance(data, Mapping) else _named(data)
    settings = read_config({"data": section}, data=options).data
    source = settings.source
    if not isinstance(source, FormatFile):
        return Check(prepare(settings), {}, (), "")
    file = source.files(None).by_role["interactions"]
    report = sanity(source.rows(file))
    return Check(prepare(settings), report.facts, report.warnings, source.kind_of(file).name)


def _named(data: str | Path) -> Tree:
    """The section for a data set's name, or for a file's path."""
    from bfedrec.data.catalogue import DATA_SETS

    if str(data) in DATA_SETS:
        return {"dataset": str(data)}
    if not Path(data).is_file():
        known = ", ".join(DATA_SETS)
        raise ConfigError(f"data: {str(data)!r}: no such file, and no data set; those are {known}")
    return {"dataset": "file", "file": {"path": str(data)}}
