"""The data set ``csv``: a file of the user's own."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from bfedrec.data.files import Files, SourceFile
from bfedrec.data.interactions import (
    DataError,
    Interactions,
    Pairs,
    interactions_of,
    merge_pairs,
    refuse_repeats,
)
from bfedrec.data.source import DataSource, data_set
from bfedrec.data.textfile import ID, NUMBER, TEXT, Columns, read_columns
from bfedrec.section import setting_error

NAMES_ONLY = ("idna", "punycode")
"""Encodings of a single name, not of text."""


@data_set("csv", place=7)
class CsvFile(DataSource):
    """A user's own file of interactions: one row per interaction.

    A column is a name when the file has a header, else its 0-based position.
    """

    meaning = "your own file; columns are data.csv.*"
    by_content = ("path",)

    path: Path | None = Field(default=None, description="the file (.csv, .tsv, .txt, also .gz)")
    delimiter: str = Field(
        default=",", min_length=1, max_length=2, description="text between columns"
    )
    encoding: str = Field(
        default="utf-8",
        description="how the file encodes text: utf-8, latin-1, cp1252, utf-16, ...",
    )
    header: bool = Field(default=True, description="true if the first line names the columns")
    user: str | int = Field(default="user", description="column of the user id")
    item: str | int = Field(default="item", description="column of the item id")
    rating: str | int | None = Field(
        default=None, description="column of an explicit rating, if any"
    )
    threshold: float | None = Field(
        default=None,
        description="only rows rated at least this are interactions; items rated below it are "
        "no user's untouched ones in evaluation. Unset: every rating is an interaction",
    )
    time: str | int | None = Field(
        default=None, description="column of a number that grows with time; unset: order unknown"
    )
    ids: Literal["integer", "text"] = Field(
        default="integer",
        description="integer: ids are whole numbers >= 0; text: any non-empty text",
    )
    duplicates: Literal["refuse", "merge"] = Field(
        default="refuse",
        description="a user-item pair that occurs twice: refuse it or keep the latest",
    )
    min_interactions: int = Field(
        default=20,
        ge=1,
        description="users with fewer interactions are dropped (counted before the split)",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            "a".encode(encoding)
            known = codecs.lookup(encoding).name not in NAMES_ONLY
        except (LookupError, ValueError):
            known = False
        if not known:
            raise setting_error("", "an encoding of text that Python knows, as latin-1 or cp1252")
        return encoding

    @model_validator(mode="after")
    def _columns(self) -> CsvFile:
        columns = {"user": self.user, "item": self.item, "rating": self.rating, "time": self.time}
        for key, column in columns.items():
            if column is None:
                continue
            if not self.header and (not isinstance(column, int) or column < 0):
                raise ValueError(
                    f"{key}={column!r} must be a 0-based column position when header is false"
                )
            if self.header and not isinstance(column, str):
                raise ValueError(f"{key}={column!r} must be a column name when header is true")
        named = [column for column in columns.values() if column is not None]
        if len(set(named)) != len(named):
            raise ValueError(f"user, item, rating and time must be different columns, got {named}")
        if self.threshold is not None and self.rating is None:
            raise ValueError("threshold needs the rating column to be named")
        return self

    def minimum(self) -> int:
        return self.min_interactions

    def files(self, source: Path | None) -> Files:
        path = source or self.path
        if path is None or not path.is_file():
            problem = "no file named" if path is None else f"{path}: no such file"
            raise DataError(f"csv: {problem}; set data.csv.path or --from to your file")
        return Files("csv", {"interactions": SourceFile(path)})

    def read(self, files: Files, seed: int) -> Interactions:
        file = files.by_role["interactions"]
        ids = ID if self.ids == "integer" else TEXT
        columns: Columns = {self.user: ids, self.item: ids}
        for column in (self.rating, self.time):
            if column is not None:
                columns[column] = NUMBER
        table = read_columns(file, columns, self.delimiter, self.header, self.encoding)
        users, items = table[self.user], table[self.item]
        times = np.full(len(users), np.nan) if self.time is None else table[self.time]
        interactions = interactions_of("csv", users, items, times)
        if self.rating is not None and self.threshold is not None:
            kept = table[self.rating] >= self.threshold
            if not kept.any():
                raise DataError(
                    f"{file}: no {self.rating!r} reaches the threshold {self.threshold:g} "
                    f"(the largest is {table[self.rating].max():g})"
                )
            disliked = Pairs(users[~kept], items[~kept])
            interactions = replace(interactions.select(kept), disliked=disliked)
        if self.duplicates == "merge":
            return merge_pairs(interactions)
        refuse_repeats(str(file), interactions, "data.csv.duplicates=merge")
        return interactions
