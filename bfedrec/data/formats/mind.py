"""The format ``mind``: behaviors.tsv of Microsoft's news data MIND, small and large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from bfedrec.data.columns import MOST_TEXTS, US_TIME_OR_EMPTY
from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.jsonlines import in_blocks
from bfedrec.data.layout import ITEM, KIND, TIME, USER, Format, file_format
from bfedrec.data.lines import Block, lines

WIDTH: Final = 5
"""Columns: impression, user, time, history, impressions."""


@file_format("mind", place=25)
class Mind(Format):
    """Clicked news, with the time of the impression, and the clicks of the user's history before
    it, whose time is unknown. News that was shown and not clicked is no row."""

    meaning = "MIND news: behaviors.tsv; kinds click, history"
    names = ("behaviors.tsv",)
    columns = {USER: "user", ITEM: "news", TIME: "time", KIND: "kind"}  # noqa: RUF012
    kinds = {TIME: US_TIME_OR_EMPTY}  # noqa: RUF012

    def blocks(self, file: SourceFile, columns: Mapping[str, Any]) -> Iterator[Block]:
        return in_blocks(_rows(file), columns)


def _rows(file: SourceFile) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Clicks with their lines' numbers. A history that a user's line repeats counts once."""
    seen: set[bytes] = set()
    for number, line in enumerate(lines(file), 1):
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != WIDTH:
            told = f"has {len(cells)} columns, {WIDTH} are expected"
            raise DataError(f"{file}: line {number}: {told}")
        _, user, time, history, impressions = cells
        if not time.strip():
            raise DataError(f"{file}: line {number}, column 3: the time is missing")
        known = blake2b(f"{user}\t{history}".encode(), digest_size=16).digest()
        if known not in seen:
            if len(seen) == MOST_TEXTS:
                raise DataError(f"{file}: has more than {MOST_TEXTS:,} histories; split it")
            seen.add(known)
            for news in history.split():
                yield number, (user, news, "", "history")
        for shown in impressions.split():
            news, _, clicked = shown.rpartition("-")
            if not news or clicked not in ("0", "1"):
                raise DataError(
                    f"{file}: line {number}, column 5: {shown[:60]!r} is not NEWS-1 or NEWS-0"
                )
            if clicked == "1":
                yield number, (user, news, time, "click")
