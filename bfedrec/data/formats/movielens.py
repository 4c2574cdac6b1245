"""The format ``movielens``: ratings.csv of MovieLens 20M, 25M, 32M and latest."""

from __future__ import annotations

from bfedrec.data.layout import ITEM, RATING, TIME, USER, Delimited, file_format


@file_format("movielens", place=2)
class MovieLens(Delimited):
    """Ratings from 0.5 to 5, times in seconds since 1970."""

    meaning = "MovieLens 20M, 25M, 32M and latest: ratings.csv, or their zip archive"
    names = ("ratings.csv",)
    first_line = "userId,movieId,rating,timestamp"
    columns = {USER: "userId", ITEM: "movieId", RATING: "rating", TIME: "timestamp"}  # noqa: RUF012
