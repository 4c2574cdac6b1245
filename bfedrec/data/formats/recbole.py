"""The format ``recbole``: RecBole's atomic file of interactions, NAME.inter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.layout import ITEM, RATING, TIME, USER, Delimited, file_format
from bfedrec.data.textfile import names_of

TYPES = ("token", "token_seq", "float", "float_seq")
"""The types that a header may give its columns."""
NEEDED = {USER: "token", ITEM: "token", RATING: "float", TIME: "float"}
"""The type of a column that is read."""


@file_format("recbole", place=1)
class RecBole(Delimited):
    """Tab-separated text whose header gives each column a type, as ``user_id:token``."""

    meaning = "RecBole's atomic file, NAME.inter"
    names = ("*.inter",)
    delimiter = "\t"
    quoted = False
    renamed = True
    columns = {USER: "user_id", ITEM: "item_id", RATING: "rating", TIME: "timestamp"}  # noqa: RUF012

    def names_in(self, file: SourceFile, row: list[str], columns: Mapping[str, Any]) -> list[str]:
        names = []
        for place, cell in enumerate(names_of(file, row), 1):
            name, _, type_ = cell.rpartition(":")
            if not name or type_ not in TYPES:
                raise DataError(
                    f"{file}: line 1, column {place}: {cell[:60]!r} is not NAME:TYPE with a "
                    f"type of {', '.join(TYPES)}"
                )
            names.append(name)
            role = next((role for role, each in columns.items() if each == name), None)
            if role is not None and type_ != NEEDED[role]:
                raise DataError(
                    f"{file}: line 1, column {place}: {cell[:60]!r} is not of type {NEEDED[role]}"
                )
        return names
