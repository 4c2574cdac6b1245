"""Speed of cohorts on torch's devices beside the compiled path: `pytest tests/bench
--benchmark-only`. `tests/bench/training.py` prints the same as a table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.training import COHORTS, DEVICES, is_there, reached, training

CLIENTS_PER_CORE = 5_950
"""Least clients in a second of a core's time: half of what two are to train, 11,900."""


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("M", COHORTS)
def test_a_cohort_on_a_device(benchmark: Any, device: str, M: int) -> None:
    if not is_there(device):
        pytest.skip(f"torch finds no {device} here")
    benchmark.group = f"a cohort of {M:,}"
    update = benchmark.pedantic(training(device, M), rounds=3, warmup_rounds=1)
    benchmark.extra_info["clients_per_second"] = round(M / benchmark.stats["min"])
    assert update.A.any(axis=(1, 2)).all()


def test_share_of_the_arithmetic_of_a_core(benchmark: Any) -> None:
    clients, ours, peak = benchmark.pedantic(reached, rounds=1)
    benchmark.extra_info["clients_per_second"] = round(clients)
    benchmark.extra_info["gflops"] = round(ours / 1e9, 2)
    benchmark.extra_info["share"] = round(ours / peak, 3)
    assert clients >= CLIENTS_PER_CORE
