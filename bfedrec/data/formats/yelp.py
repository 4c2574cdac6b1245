"""The format ``yelp``: reviews of the Yelp Open Dataset."""

from __future__ import annotations

from bfedrec.data.columns import DATE
from bfedrec.data.jsonlines import JsonLines
from bfedrec.data.layout import ITEM, RATING, TIME, USER, file_format


@file_format("yelp", place=23)
class Yelp(JsonLines):
    """One review per line, with stars from 1 to 5."""

    meaning = "Yelp Open Dataset: yelp_academic_dataset_review.json"
    names = ("yelp_academic_dataset_review.json",)
    columns = {  # noqa: RUF012
        USER: "user_id",
        ITEM: "business_id",
        RATING: "stars",
        TIME: "date",
    }
    kinds = {TIME: DATE}  # noqa: RUF012

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        fits = first.startswith("{") and '"business_id"' in first and '"stars"' in first
        return super().recognises(name, first) or (fits and '"user_id"' in first)
