"""The format ``retailrocket``: events.csv of the Retailrocket data set."""

from __future__ import annotations

from bfedrec.data.layout import ITEM, KIND, TIME, USER, Delimited, file_format


@file_format("retailrocket", place=24)
class Retailrocket(Delimited):
    """Events of visitors, with times in milliseconds since 1970."""

    meaning = "Retailrocket: events.csv; kinds view, addtocart, transaction"
    names = ("events.csv",)
    first_line = "timestamp,visitorid,event,itemid,transactionid"
    columns = {USER: "visitorid", ITEM: "itemid", TIME: "timestamp", KIND: "event"}  # noqa: RUF012
