"""The filters of the templates."""

from __future__ import annotations

import pytest

from bfedrec.web.pages import moment


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "1970-01-01 00:00:00"),
        (253402300799.0, "9999-12-31 23:59:59"),
        (253402300800.0, "–"),
        (1e18, "–"),
        (-1e18, "–"),
        (float("nan"), "–"),
    ],
)
def test_times_beyond_the_calendar_are_a_dash(seconds: float, told: str) -> None:
    assert moment(seconds) == told
