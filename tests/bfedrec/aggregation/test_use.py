"""The use of updates: the cosine with the sum of the others, to the last digit anywhere."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.aggregation.use import MILLION, agreement

ROOT = Path(__file__).resolve().parents[3]
numbers = st.floats(-(2.0**100), 2.0**100, width=32)
cohorts = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=1, max_size=8)
)


def use(*groups: list[np.ndarray]) -> list[int]:
    return agreement(lambda: iter(groups), sum(map(len, groups)))


def alone(updates: list[np.ndarray]) -> list[int]:
    """Each in a group of its own."""
    return use(*([update] for update in updates))


def arrays(rows: list[list[float]]) -> list[np.ndarray]:
    return [np.array([row], np.float32) for row in rows]


@given(cohorts, st.integers(1, 3))
def test_use_is_at_most_a_million_an_update_whatever_clients_send(
    rows: list[list[float]], parts: int
) -> None:
    updates = arrays(rows)
    groups = [updates[part::parts] for part in range(min(parts, len(updates)))]
    found = use(*groups)
    assert len(found) == len(groups)
    for each, group in zip(found, groups, strict=True):
        assert 0 <= each <= 1.0001 * MILLION * len(group)
    turned = use(*(group[::-1] for group in groups[::-1]))
    assert turned == found[::-1], "the order of updates does not matter"


@given(cohorts, st.integers(-20, 20))
def test_longer_updates_are_of_no_more_use(rows: list[list[float]], power: int) -> None:
    updates = arrays([[max(-1e6, min(1e6, each)) for each in row] for row in rows])
    updates = [np.where(np.abs(update) < 1e-6, np.float32(0), update) for update in updates]
    longer = [updates[0] * np.float32(2.0**power), *updates[1:]]
    assert alone(longer) == alone(updates)


def test_use_is_the_cosine_with_the_updates_of_other_groups() -> None:
    draws = np.random.default_rng(1)
    common = draws.standard_normal((4, 50))
    updates = [(common + 2 * draws.standard_normal((4, 50))).astype(np.float32) for _ in range(9)]
    unit = [update / np.linalg.norm(update.astype(np.float64)) for update in updates]
    groups = [range(3), range(3, 4), range(4, 9)]
    found = use(*([updates[place] for place in group] for group in groups))
    for group, each in zip(groups, found, strict=True):
        others = sum(unit[place] for place in range(9) if place not in group)
        length = math.sqrt(float((others**2).sum()))
        cosines = [float((unit[place] * others).sum()) / length for place in group]
        assert each == pytest.approx(sum(cosines) * MILLION, abs=100)


def test_what_opposes_the_others_or_stands_alone_is_of_no_use() -> None:
    one = np.ones((2, 3), np.float32)
    assert alone([one, one, -one]) == [0, 0, 0], "without either of two, the others cancel out"
    assert alone([one, one, one, -one])[3] == 0
    assert alone([one, one, 0 * one]) == pytest.approx([MILLION, MILLION, 0], rel=1e-6)
    assert use([one, one, one]) == use([one]) == [0]
    assert use() == []
    assert alone([0 * one, 0 * one]) == [0, 0]


def test_a_servers_own_clients_cannot_vouch_for_each_other() -> None:
    draws = np.random.default_rng(4)
    honest = [draws.standard_normal((4, 50)).astype(np.float32) for _ in range(8)]
    secret = draws.standard_normal((4, 50)).astype(np.float32)
    groups = [honest[:4], honest[4:]]
    one, many = use(*groups, [secret])[-1], use(*groups, 20 * [secret])[-1]
    assert many == pytest.approx(20 * one, abs=100), "each copy is of as much use as the only one"
    apart = use(*groups, *([secret] for _ in range(20)))
    assert min(apart[2:]) > 5 * max(apart[:2]), "those of many servers can, as the docs say"


def test_noise_is_of_less_use_than_what_agrees_even_if_it_is_long() -> None:
    draws = np.random.default_rng(2)
    common = draws.standard_normal((8, 500))
    honest = [common + 3 * draws.standard_normal((8, 500)) for _ in range(20)]
    noise = [1000 * draws.standard_normal((8, 500)) for _ in range(10)]
    found = alone([update.astype(np.float32) for update in [*honest, *noise]])
    assert 5 * max(found[20:]) < min(found[:20])


@given(st.integers(1, 2**14), st.integers(0, 2**31))
def test_nothing_overflows(count: int, seed: int) -> None:
    """As many clients as there may be, all of whom say the same with all they have."""
    draws = np.random.default_rng(seed)
    row = np.float32(3e38) * draws.choice((-1, 0, 1), (1, int(draws.integers(1, 9))))
    row[0, 0] = 3e38
    found = agreement(lambda: ([row] * count, [row]), count + 1)
    assert found == pytest.approx([MILLION * count, MILLION], rel=1e-3)


@pytest.mark.parametrize(("count", "length"), [(7, 2**27), (2**24, 2**5), (2**30, 1)])
def test_sums_are_of_integers_that_whoever_reads_the_definition_comes_to(
    count: int, length: int
) -> None:
    """The definition once more in Python's integers, whose sums have no order; with a short length,
    so that rounding shows."""
    draws = np.random.default_rng(5)
    for size in (1, 3, 40):
        updates = [draws.standard_normal((2, size)).astype(np.float32) for _ in range(7)]
        updates[3] *= np.float32(1e30)
        updates[4] *= np.float32(1e-42)
        scaled = [_by_definition(update, length) for update in updates]
        groups = [range(2), range(2, 3), range(3, 7)]
        expected = []
        for group in groups:
            own, others = (
                [sum(scaled[place][each] for place in part) for each in range(2 * size)]
                for part in (group, set(range(7)) - set(group))
            )
            along = sum(a * b for a, b in zip(own, others, strict=True))
            root = math.isqrt(sum(b * b for b in others))
            expected.append(MILLION * along // (length * root) if along > 0 else 0)
        parts = [[updates[place] for place in group] for group in groups]
        assert agreement(partial(iter, parts), count) == expected


def _by_definition(update: np.ndarray, length: int) -> list[int]:
    values = [float(value) for value in update.ravel()]
    greatest = max(map(abs, values))
    levels = [round(value / greatest * 2**16) for value in values]
    factor = length / math.sqrt(sum(level * level for level in levels))
    return [round(level * factor) for level in levels]


STATEMENT = """
import numpy as np
from bfedrec.aggregation.use import agreement
draws = np.random.default_rng(3)
updates = [draws.standard_normal((16, 3001)).astype(np.float32) for _ in range(12)]
print(agreement(lambda: iter((updates[:5], updates[5:])), 12))
"""


def test_another_process_and_other_threads_find_the_same() -> None:
    told = set()
    for threads in ("1", "4"):
        done = subprocess.run(
            [sys.executable, "-c", STATEMENT],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"OMP_NUM_THREADS": threads, "NPY_DISABLE_CPU_FEATURES": "", "PYTHONPATH": "."},
        )
        told.add(done.stdout)
    draws = np.random.default_rng(3)
    updates = [draws.standard_normal((16, 3001)).astype(np.float32) for _ in range(12)]
    assert told == {f"{use(updates[:5], updates[5:])}\n"}
    plain = [np.asfortranarray(update) for update in updates]
    assert alone(plain) == alone(updates), "the order in memory does not matter either"
