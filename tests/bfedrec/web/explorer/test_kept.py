"""Values that are kept for the next page."""

from __future__ import annotations

import pytest

from bfedrec.web.explorer.kept import Kept


def test_values_are_made_once_and_the_oldest_goes() -> None:
    kept: Kept[int, str] = Kept(2)
    made: list[int] = []

    def get(key: int) -> str:
        return kept.get(key, lambda: made.append(key) or f"value {key}")  # type: ignore[func-returns-value]

    assert [get(each) for each in (1, 1, 2)] == ["value 1", "value 1", "value 2"]
    get(1)  # asked for again: 2 is the oldest now
    get(3)
    get(1)
    get(2)
    assert made == [1, 2, 3, 2]


def test_what_fails_is_not_kept() -> None:
    kept: Kept[int, int] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get(1, lambda: 1 // 0)
    assert kept.get(1, lambda: 5) == 5
