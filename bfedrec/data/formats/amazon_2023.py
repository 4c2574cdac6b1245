"""The formats ``amazon-2023`` and ``amazon-2023-json``: Amazon reviews of 2023 (Hou et al.)."""

from __future__ import annotations

from bfedrec.data.jsonlines import JsonLines
from bfedrec.data.layout import ITEM, RATING, TIME, USER, Delimited, file_format

COLUMNS = {USER: "user_id", ITEM: "parent_asin", RATING: "rating", TIME: "timestamp"}


@file_format("amazon-2023", place=12)
class Amazon2023(Delimited):
    """Ratings only; times in milliseconds since 1970. A column of a user's history is not read."""

    meaning = "Amazon reviews 2023, ratings only: CATEGORY.csv"
    names = ()
    columns = COLUMNS

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return first.startswith("user_id,parent_asin,rating,timestamp")


@file_format("amazon-2023-json", place=13)
class Amazon2023Json(JsonLines):
    """Whole reviews, one object per line."""

    meaning = "Amazon reviews 2023: CATEGORY.jsonl"
    names = ()
    columns = COLUMNS

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return first.startswith("{") and '"parent_asin"' in first and '"user_id"' in first
