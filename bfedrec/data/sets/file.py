"""The data set ``file``: a file in one of the formats that researchers have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator
from pydantic.fields import FieldInfo

from bfedrec.data.files import Files, SourceFile
from bfedrec.data.interactions import (
    DataError,
    Interactions,
    Pairs,
    merge_pairs,
    refuse_repeats,
)
from bfedrec.data.layout import FORMATS, Format, Rows, as_interactions, format_of, member_of
from bfedrec.data.source import DataSource, data_set
from bfedrec.section import setting_error
from consensus.registry import import_parts

import_parts("bfedrec.data.formats")


@data_set("file", place=8)
class FormatFile(DataSource):
    """A file in a known format (docs/data.md): RecBole, MovieLens, Parquet and others."""

    meaning = "a file in a known format (RecBole, Parquet, ...); options are data.file.*"
    by_content = ("path", "sha256")

    path: Path | None = Field(default=None, description="the file, also .gz, or a zip archive")
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="digest of the file: any other content is refused, and a run's hash covers "
        "the digest instead of the path",
    )
    format: str = Field(
        default="auto", description="auto: as the file's name and first line say; else one of "
    )
    user: str = Field(default="", description="column of the user, where not the format's usual")
    item: str = Field(default="", description="column of the item, likewise")
    rating: str = Field(default="", description="column of the rating, likewise")
    time: str = Field(default="", description="column of the time, likewise")
    threshold: float | None = Field(
        default=None,
        description="only rows rated at least this are interactions, as of data.csv.threshold",
    )
    keep: tuple[str, ...] = Field(
        default=(),
        description="kinds of events that are interactions, in a format that tells kinds; empty: "
        "all",
    )
    duplicates: Literal["merge", "refuse"] = Field(
        default="merge",
        description="a user-item pair that occurs twice: keep its latest row (under data.split "
        "temporal its earliest), or refuse it",
    )
    min_interactions: int = Field(
        default=5,
        ge=1,
        description="users with fewer interactions are dropped (counted before the split)",
    )

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options, with the registered formats as those to choose from."""
        usual = cls.model_fields["format"]
        listed = "; ".join(f"{name}: {kind.meaning}" for name, kind in FORMATS.items())
        told = FieldInfo.merge_field_infos(usual, description=f"{usual.description}{listed}")
        told.annotation = Literal[("auto", *FORMATS)]  # type: ignore[assignment]
        return {**cls.model_fields, "format": told}

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != "auto" and name not in FORMATS:
            raise setting_error("", " | ".join(("auto", *FORMATS)))
        return name

    def minimum(self) -> int:
        return self.min_interactions

    def files(self, source: Path | None) -> Files:
        path = source or self.path
        if path is None or not path.is_file():
            problem = "no file named" if path is None else f"{path}: no such file"
            raise DataError(f"file: {problem}; set data.file.path or --from to your file")
        formats = [*FORMATS.values()] if self.format == "auto" else [FORMATS[self.format]]
        found = member_of(SourceFile(path), formats)
        if self.sha256 is not None:
            digest = SourceFile(path).digest()
            if digest != self.sha256:
                raise DataError(f"{path}: its sha256 is {digest}, data.file.sha256 another")
        return Files("file", {"interactions": found})

    def kind_of(self, file: SourceFile) -> type[Format]:
        """The format of a file: the one that is named, or that recognises it. Raises DataError."""
        return format_of(file) if self.format == "auto" else FORMATS[self.format]

    def rows(self, file: SourceFile) -> Rows:
        """All rows of a file, by its format. Raises DataError."""
        roles = {"user": self.user, "item": self.item, "rating": self.rating, "time": self.time}
        return self.kind_of(file)().rows(file, {role: name for role, name in roles.items() if name})

    def read(self, files: Files, seed: int) -> Interactions:
        file = files.by_role["interactions"]
        return self.interactions(file, self.rows(file))

    def interactions(self, file: SourceFile, rows: Rows) -> Interactions:
        """The rows that are interactions, by kind and rating. Raises DataError for none."""
        found = as_interactions("file", rows)
        ratings = rows.ratings
        if self.keep:
            kept = _of_kinds(file, rows, self.keep)
            found = found.select(kept)
            ratings = None if ratings is None else ratings[kept]
        if self.threshold is None:
            return found
        if ratings is None:
            raise DataError(f"{file}: has no rating for data.file.threshold")
        kept = ratings >= self.threshold
        if not kept.any():
            raise DataError(
                f"{file}: no rating reaches the threshold {self.threshold:g} (the largest is "
                f"{ratings.max():g})"
            )
        disliked = Pairs(found.users[~kept], found.items[~kept])
        return replace(found.select(kept), disliked=disliked)

    def merged(self, interactions: Interactions, earliest: bool) -> Interactions:
        if self.duplicates == "merge":
            return merge_pairs(interactions, earliest)
        refuse_repeats(str(self.path), interactions, "data.file.duplicates=merge")
        return interactions


def _of_kinds(file: SourceFile, rows: Rows, keep: Sequence[str]) -> np.ndarray:
    """bool[n]: the rows of these kinds of events. Raises DataError for one that no row has."""
    if rows.kinds is None:
        raise DataError(f"{file}: its format tells no kinds of events for data.file.keep")
    names, codes = rows.kinds.names_and_codes()
    for kind in keep:
        if kind not in names:
            known = ", ".join(names[:10].tolist())
            raise DataError(f"{file}: data.file.keep: no row is of kind {kind!r}; it has {known}")
    return np.isin(codes, np.flatnonzero(np.isin(names, keep)))
