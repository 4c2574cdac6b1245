"""Sparklines of figures: their marks, their thinning and their lines."""

from __future__ import annotations

import pytest

from bfedrec.runs.sparkline import ASCII, BLOCKS, Trend, lines_of, marks_for, sparkline, thinned


def test_marks_go_from_the_smallest_to_the_greatest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BLOCKS
    assert sparkline([7.5, -2, 7.5]) == "█▁█"
    assert sparkline([3, 3, 3]) == "▁▁▁"
    assert sparkline([1, 2], ASCII) == f"{ASCII[0]}{ASCII[-1]}"
    assert sparkline([]) == ""


def test_the_marks_are_of_one_column_and_rise() -> None:
    assert len(BLOCKS) == len(ASCII) == 8
    assert list(BLOCKS) == sorted(BLOCKS)
    ASCII.encode("ascii")


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", BLOCKS), ("UTF-16", BLOCKS), ("ascii", ASCII), ("latin-1", ASCII), ("none", ASCII)],
)
def test_an_encoding_without_blocks_gets_ascii(encoding: str, marks: str) -> None:
    assert marks_for(encoding) == marks


def test_thinning_keeps_the_latest_and_the_order() -> None:
    assert thinned([1, 2, 3], 5) == [1, 2, 3]
    assert thinned(range(100), 4) == [24, 49, 74, 99]
    assert thinned(range(7), 3) == [1, 3, 6]


def test_latest_values_or_the_whole_course() -> None:
    rising = [float(value) for value in range(50)]
    assert Trend("x", rising, "49").text(8, BLOCKS) == f"x {BLOCKS} 49"
    spike = [9.0] + [0.0] * 49
    assert "█" not in Trend("x", spike, "0").text(8, BLOCKS)
    assert Trend("x", [0.0] * 40 + [9.0] * 10, "9", whole=True).text(5, BLOCKS) == "x ▁▁▁▁█ 9"


def test_lines_fit_and_trends_without_values_are_left_out() -> None:
    trends = [Trend("one", [1, 2], "2"), Trend("none", [], ""), Trend("two", [2, 1], "1")]
    assert lines_of(trends, 80, BLOCKS) == ["one ▁█ 2   two █▁ 1"]
    assert lines_of(trends, 12, BLOCKS) == ["one ▁█ 2", "two █▁ 1"]
    assert lines_of(trends, 7, BLOCKS) == []
    assert lines_of([], 80, BLOCKS) == []
