"""The format ``gowalla``: check-ins of Gowalla (SNAP), and of Brightkite, which are alike."""

from __future__ import annotations

from bfedrec.data.columns import DATE
from bfedrec.data.layout import ITEM, TIME, USER, Delimited, file_format


@file_format("gowalla", place=22)
class Gowalla(Delimited):
    """User, time, latitude, longitude and location, with tabs between them."""

    meaning = "Gowalla check-ins: loc-gowalla_totalCheckins.txt"
    names = ("*gowalla*checkins*.txt", "*brightkite*checkins*.txt")
    delimiter = "\t"
    header = False
    quoted = False
    columns = {USER: 0, TIME: 1, ITEM: 4}  # noqa: RUF012
    kinds = {TIME: DATE}  # noqa: RUF012
