"""The formats ``steam`` and ``steam-reviews``: games bought, played and reviewed on Steam."""

from __future__ import annotations

import ast
import re
from typing import Any

from bfedrec.data.columns import DATE
from bfedrec.data.jsonlines import JsonLines
from bfedrec.data.layout import ITEM, KIND, TIME, USER, Delimited, file_format

ROW = re.compile(r"[0-9]+,.+,(purchase|play),[0-9.]+,0")
"""The first line of steam-200k.csv."""


@file_format("steam", place=20)
class Steam(Delimited):
    """User, title of the game, purchase or play, hours, 0; no times."""

    meaning = "Steam Video Games: steam-200k.csv; kinds purchase, play"
    names = ("steam-200k.csv",)
    header = False
    columns = {USER: 0, ITEM: 1, KIND: 2}  # noqa: RUF012

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return super().recognises(name, first) or ROW.fullmatch(first) is not None


@file_format("steam-reviews", place=21)
class SteamReviews(JsonLines):
    """Reviews with the date of the day, one Python dictionary per line."""

    meaning = "Steam reviews (Kang and McAuley): steam_reviews.json, steam_new.json"
    names = ("steam_reviews.json", "steam_new.json")
    columns = {USER: "username", ITEM: "product_id", TIME: "date"}  # noqa: RUF012
    kinds = {TIME: DATE}  # noqa: RUF012

    def load(self, line: str) -> Any:
        return ast.literal_eval(line.strip())
