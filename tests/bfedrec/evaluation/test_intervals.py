"""Student's t interval."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.evaluation.intervals import t_interval, t_quantile


@pytest.mark.parametrize(
    ("degrees", "confidence", "quantile"),
    [  # from the tables
        (1, 0.95, 12.706205),
        (2, 0.95, 4.302653),
        (3, 0.99, 5.840909),
        (4, 0.95, 2.776445),
        (9, 0.95, 2.262157),
        (10, 0.90, 1.812461),
        (100, 0.95, 1.983972),
    ],
)
def test_quantiles(degrees: int, confidence: float, quantile: float) -> None:
    assert t_quantile(degrees, confidence) == pytest.approx(quantile, abs=1e-6)


def test_an_interval() -> None:
    found = t_interval([0.66, 0.65, 0.67, 0.64, 0.68])
    assert (found.n, found.mean) == (5, pytest.approx(0.66))
    assert found.half_width == pytest.approx(2.776445 * 0.0158114 / 5**0.5, rel=1e-5)


def test_one_value_has_no_interval() -> None:
    found = t_interval([0.5])
    assert (found.mean, found.low, found.high, found.half_width) == (0.5, None, None, None)
    with pytest.raises(ValueError, match="at least one"):
        t_interval([])


def test_it_holds_the_mean_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 3))
    found = [t_interval(list(row)) for row in draws]
    inside = sum(
        one.low is not None and one.low <= 0.0 <= one.mean + one.half_width for one in found
    )
    assert 0.94 < inside / len(found) < 0.96
