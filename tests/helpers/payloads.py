"""The exchange of the paper, A (r x N) whole in both directions, in one call each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bfedrec.aggregation.aggregator import Aggregator
from bfedrec.aggregation.registry import aggregator_named
from bfedrec.compression.exchange import Exchange


def exchange(r: int, N: int, rule: str | Aggregator) -> Exchange:
    return Exchange.low_rank(aggregator_named(rule) if isinstance(rule, str) else rule, r, N)


def encode_update(A: np.ndarray, touched: np.ndarray, rule: str | Aggregator) -> bytes:
    return exchange(*A.shape, rule).encode(A, touched, b"")


def check_payload(payload: bytes, r: int, N: int, rule: str | Aggregator) -> str | None:
    return exchange(r, N, rule).check(payload)


def aggregate(
    payloads: Sequence[bytes], sample_counts: Sequence[int], r: int, N: int, rule: str | Aggregator
) -> bytes:
    return exchange(r, N, rule).aggregate(payloads, sample_counts, b"")


def decode_aggregate(aggregate: bytes, r: int, N: int) -> np.ndarray:
    return exchange(r, N, "samples").decode_aggregate(aggregate, b"")
