"""The format ``retailrocket``: events.csv of the Retailrocket data set."""

from __future__ import annotations

from bfedrec.data.layout import ITEM, KIND, TIME, USER, Delimited, file_format

HEADER = "timestamp,visitorid,event,itemid,transactionid"


@file_format("retailrocket", place=24)
class Retailrocket(Delimited):
    """Events of visitors, with times in milliseconds since 1970."""

    meaning = "Retailrocket: events.csv; kinds view, addtocart, transaction"
    names = ("events.csv",)
    columns = {USER: "visitorid", ITEM: "itemid", TIME: "timestamp", KIND: "event"}  # noqa: RUF012

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return first == HEADER or (not first and super().recognises(name, first))
