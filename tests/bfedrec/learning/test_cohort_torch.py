"""The cohort on a device: chunks of bounded memory, and results that repeat.

`test_client.py` holds it equal to the compiled cohort and the readable client.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.learning.basis import basis
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from tests.helpers.learning_data import csr

torch = pytest.importorskip("torch")
from bfedrec.learning import cohort_torch  # noqa: E402
from bfedrec.learning.cohort_torch import PARTS, chunks, device_of, train_cohort_on  # noqa: E402

USERS, ITEMS, D = 40, 3000, 8
P = initial_factors(USERS, D, 1.0, np.random.default_rng(0))


def task(**training: float) -> TrainingTask:
    """A round of clients with 1 to 300 interactions, some of them twice the same."""
    rng = np.random.default_rng(4)
    sizes = np.clip(rng.lognormal(3.0, 1.5, USERS), 1, 300).astype(int)
    lists = [sorted(rng.choice(ITEMS, size).tolist()) for size in sizes]
    Q = initial_factors(ITEMS, D, 1.0, rng)
    settings = TrainingSettings(item_step=0.1, user_step=0.1, batch_size=16, **training)  # type: ignore[arg-type]
    return TrainingTask(Q, basis("seeded", D, 3, b""), *csr(lists), settings, 9)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
def test_chunks_are_all_clients_in_order_within_the_memory(needs: list[int], most: int) -> None:
    found = list(chunks(np.array(needs, np.int64), most))
    assert [place for part in found for place in range(part.start, part.stop)] == list(
        range(len(needs))
    )
    for part in found:
        assert sum(needs[part]) <= most or part.stop - part.start == 1
    for one, two in pairwise(found):  # the next one would not have fitted
        assert sum(needs[one]) + needs[two.start] > most


@pytest.mark.parametrize("threads", [1, 3])
def test_a_cohort_in_chunks_of_little_memory_learns_the_same(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    trained: list[np.ndarray] = []
    train = cohort_torch._train

    def noted(shared, clients, chunk, update):  # type: ignore[no-untyped-def]
        trained.append(chunk)
        train(shared, clients, chunk, update)

    monkeypatch.setattr(cohort_torch, "_train", noted)
    monkeypatch.setattr(cohort_torch, "thread_count", lambda limit: limit or 1)
    clients, few = np.arange(USERS), task(chunk_mib=1)
    parts = train_cohort_on("cpu", few, clients, P, threads)
    lengths, needs = cohort_torch._needs(few, clients)
    assert len(trained) > PARTS
    assert all(needs[chunk].sum() <= 2**20 // PARTS or len(chunk) == 1 for chunk in trained)
    assert sorted(np.concatenate(trained)) == list(range(USERS))
    for chunk in trained:  # of like length
        assert (np.diff(lengths[chunk]) <= 0).all()
    trained.clear()
    whole = train_cohort_on("cpu", task(), clients, P, 1)
    assert len(trained) == PARTS
    compiled = train_cohort(task(), clients, P)
    for other in (whole, compiled):
        assert np.array_equal(parts.touched, other.touched)
        for name in ("A", "P", "loss"):
            np.testing.assert_allclose(
                getattr(parts, name), getattr(other, name), rtol=1e-3, atol=2e-5
            )


@pytest.mark.parametrize("count", [1, 5, USERS])
def test_the_same_seed_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """On any number of threads, and with items that a step holds more than once, whose updates add
    up: a run is resumed to the same result on a machine with fewer processors."""
    monkeypatch.setattr(cohort_torch, "thread_count", lambda limit: limit)
    clients = np.arange(count)
    one, *others = (
        train_cohort_on("cpu", task(), clients, P[:count], threads)
        for threads in (1, 1, 2, 3, PARTS, PARTS + 1)
    )
    for other in others:
        for name in ("A", "touched", "P", "loss"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_the_settings_of_torch_stay_as_they_were() -> None:
    from torch.utils import deterministic

    def settings() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            deterministic.fill_uninitialized_memory,
        )

    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = settings()
        train_cohort_on("cpu", task(), [0, 1], P[:2])
        assert settings() == before
    finally:
        torch.set_num_threads(usual)


def test_devices_of_configs_are_those_of_torch() -> None:
    assert [device_of(name) for name in ("torch", "torch:cpu", "cuda", "cuda:1", "mps")] == [
        "cpu",
        "cpu",
        "cuda",
        "cuda:1",
        "mps",
    ]
