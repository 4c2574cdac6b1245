"""The `data` section of an experiment: which interactions to use and how to split them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SyntheticSettings(BaseModel):
    """The size and structure of the generated data set (see bfedrec/data/synthetic.py)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: int = Field(default=600, ge=2, le=1_000_000, description="number of users M")
    items: int = Field(default=400, ge=2, le=1_000_000, description="number of items N")
    interactions_per_user: int = Field(
        default=30, ge=3, description="mean number of distinct items a user interacts with"
    )
    rank: int = Field(default=6, ge=1, le=256, description="dimension of the hidden tastes")
    clusters: int = Field(
        default=12, ge=1, description="groups of users and items with a shared taste"
    )
    noise: float = Field(
        default=0.35,
        ge=0.0,
        description="spread of a user's or an item's taste around its cluster's",
    )

    @model_validator(mode="after")
    def _enough_items(self) -> SyntheticSettings:
        if self.interactions_per_user * 2 > self.items:
            raise ValueError(
                f"interactions_per_user={self.interactions_per_user} must be at most half of "
                f"items={self.items}: the rest is needed for negatives"
            )
        return self


class CsvSettings(BaseModel):
    """How to read a user's own file of interactions: one row per interaction.

    A column is a name when the file has a header, else its 0-based position.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(default=None, description="the file (.csv, .tsv, .txt, also .gz)")
    delimiter: str = Field(
        default=",", min_length=1, max_length=2, description="text between columns"
    )
    header: bool = Field(default=True, description="whether the first line names the columns")
    user: str | int = Field(default="user", description="column of the user id")
    item: str | int = Field(default="item", description="column of the item id")
    rating: str | int | None = Field(
        default=None, description="column of an explicit rating, if any"
    )
    threshold: float | None = Field(
        default=None,
        description="keep rows rated at least this; unset: every rating is an interaction",
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

    @model_validator(mode="after")
    def _columns(self) -> CsvSettings:
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


class DataSettings(BaseModel):
    """Which data set an experiment uses and how its held-out items are chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Literal["ml-1m", "pinterest", "lfm-2k", "ml-100k", "synthetic", "csv"] = Field(
        default="ml-1m",
        description="a name of datasets/catalogue.toml, or csv for a file of your own",
    )
    variant: Literal["rows", "distinct"] = Field(
        default="rows",
        description="lfm-2k only: rows counts an artist once per tag, as published (the test "
        "artist may be in training); distinct has one row per user and artist",
    )
    test: Literal["published", "latest"] = Field(
        default="published",
        description="published: NCF's test items (and negatives) where they exist, else the "
        "latest; latest: each user's latest interaction",
    )
    validation: Literal["hold_out", "train"] = Field(
        default="hold_out",
        description="hold_out: the item before the test item chooses hyper-parameters; "
        "train: it is trained on",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the split's draws, apart from the run's seed",
    )
    synthetic: SyntheticSettings = Field(
        default=SyntheticSettings(), description="the generated data set"
    )
    csv: CsvSettings = Field(default=CsvSettings(), description="a file of your own")
