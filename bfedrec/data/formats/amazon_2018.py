"""The formats ``amazon-2018`` and ``amazon-2018-json``: Amazon reviews of 2018 (Ni et al.)."""

from __future__ import annotations

import re

from bfedrec.data.jsonlines import JsonLines
from bfedrec.data.layout import ITEM, RATING, TIME, USER, Delimited, file_format

ROW = re.compile(r"[A-Z0-9]{10},A[A-Z0-9]{5,30},[1-5]\.0,[0-9]{9,10}")
"""The first line of a file of ratings."""


@file_format("amazon-2018", place=10)
class Amazon2018(Delimited):
    """Ratings only: item, user, rating and seconds since 1970, without a header."""

    meaning = "Amazon reviews 2018, ratings only: CATEGORY.csv"
    names = ()
    header = False
    columns = {ITEM: 0, USER: 1, RATING: 2, TIME: 3}  # noqa: RUF012

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return ROW.fullmatch(first) is not None


@file_format("amazon-2018-json", place=11)
class Amazon2018Json(JsonLines):
    """Whole reviews, one object per line."""

    meaning = "Amazon reviews 2018: CATEGORY.json, CATEGORY_5.json"
    names = ()
    columns = {  # noqa: RUF012
        USER: "reviewerID",
        ITEM: "asin",
        RATING: "overall",
        TIME: "unixReviewTime",
    }

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return first.startswith("{") and '"reviewerID"' in first and '"unixReviewTime"' in first
