"""The format ``table``: delimited text with a header, whose columns are found by usual names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bfedrec.data.columns import MOMENT
from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.layout import ITEM, RATING, TIME, USER, Delimited, file_format
from bfedrec.data.lines import lines
from bfedrec.data.textfile import listed, names_of

DELIMITERS = "\t;|,"
"""Delimiters, the first of which that stands in the first line is taken."""
USUAL = {
    USER: ("user", "userid", "uid", "visitorid", "reviewerid", "customerid", "username"),
    ITEM: (
        *("item", "itemid", "iid", "movieid", "productid", "parentasin", "asin", "businessid"),
        *("newsid", "trackid", "songid", "artistid", "bookid", "gameid", "locationid"),
    ),
    RATING: ("rating", "stars", "score", "overall"),
    TIME: ("time", "timestamp", "date", "datetime", "createdat", "unixreviewtime"),
}
"""By role, the names of columns in small letters, without spaces, _ and -; the first goes first."""


@file_format("table", place=100)
class Table(Delimited):
    """Text with commas, tabs, semicolons or bars, in UTF-8; a column is named where its name is not
    a usual one."""

    meaning = "any CSV or TSV file with a header; columns by usual names, or data.file.user, ..."
    names = ("*.csv", "*.tsv", "*.txt", "*.tab")
    renamed = True
    columns = {USER: "", ITEM: "", RATING: "", TIME: ""}  # noqa: RUF012
    kinds = {TIME: MOMENT}  # noqa: RUF012

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return super().recognises(name, first) and not (first and first[:1].isdigit())

    def delimiter_of(self, file: SourceFile) -> str:
        first = next(lines(file), "")
        return next((each for each in DELIMITERS if each in first), ",")

    def places(
        self, file: SourceFile, row: list[str], columns: Mapping[str, Any]
    ) -> dict[str, int]:
        names = names_of(file, row)
        return {role: names.index(name) for role, name in guessed(file, names, columns).items()}


def guessed(file: SourceFile, names: list[str], columns: Mapping[str, Any]) -> dict[str, str]:
    """The columns by role: those that are named, and for others the one with the most usual name,
    where there is one. Raises DataError where users or items have none."""
    found = {}
    plain = {"".join(c for c in name.lower() if c not in " _-"): name for name in reversed(names)}
    for role, usual in USUAL.items():
        name = columns[role]
        if not name:
            name = next((plain[each] for each in usual if each in plain), "")
        elif name not in names:
            raise DataError(
                f"{file}: no column {name!r}, which data.file.{role} names; it has {listed(names)}"
            )
        if name:
            found[role] = name
        elif role in (USER, ITEM):
            raise DataError(
                f"{file}: no column has a usual name for {role}s; name it with data.file.{role}; "
                f"it has {listed(names)}"
            )
    if len(set(found.values())) < len(found):
        raise DataError(f"{file}: user, item, rating and time must be different columns: {found}")
    return found
