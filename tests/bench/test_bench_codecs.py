"""Encoding one client's update at ML-1M's size, d = 64: `pytest tests/bench --benchmark-only`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from bfedrec.compression.codec import Codec
from bfedrec.compression.registry import CODECS, codec_named

D, N, SIZE, TOUCHED = 64, 3706, 4, 900
ROWS = {"low_rank": 4, "quantised": 28}
"""A client of ML-1M rates 165 items and draws 6 as many at which it did not look."""


def case(kind: str) -> tuple[Codec, np.ndarray]:
    """A codec, and an update for it to encode (float32[rows, N])."""
    rng = np.random.default_rng(0)
    A = np.zeros((D, N), np.float32)
    A[:, rng.permutation(N)[:TOUCHED]] = rng.standard_normal((D, TOUCHED))
    A = A[: ROWS.get(kind, D)]
    return codec_named(kind, len(A), N, SIZE), A


@pytest.mark.benchmark(timer=time.thread_time)  # other work on the machine shows less in it
@pytest.mark.parametrize("kind", list(CODECS))
def test_an_update_encodes_in_milliseconds(benchmark: Any, kind: str) -> None:
    codec, A = case(kind)
    encoded = benchmark(codec.encode, A, b"beacon")
    assert codec.check(encoded) is None
    assert benchmark.stats["mean"] < 0.02
