"""The draws on a device: those of the compiled path, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.learning import draws_torch
from bfedrec.learning.draws_torch import DeviceDraws
from bfedrec.learning.negative_sampling import client_draws
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from tests.helpers.learning_data import csr, random_clients

LOSSES = st.sampled_from([("bce", 0.0), ("bce", 0.7), ("bce", 100.0), ("softmax", 0.0)])
TRAINING = st.builds(
    lambda loss, **others: TrainingSettings(loss=loss[0], virtual_share=loss[1], **others),
    loss=LOSSES,
    local_epochs=st.integers(1, 3),
    user_epochs=st.integers(0, 2),
    negatives=st.integers(1, 5),
)


def task_of(
    data: tuple[np.ndarray, np.ndarray], items: int, training: TrainingSettings, seed: int
) -> TrainingTask:
    Q, B = np.zeros((items, 2), np.float32), np.eye(2, dtype=np.float32)
    return TrainingTask(Q, B, *data, training, seed)


def assert_same(task: TrainingTask, clients: np.ndarray) -> None:
    """Compare every pass of every client with `client_draws`."""
    training, N = task.settings, len(task.Q)
    draws = DeviceDraws(task, clients, "cpu")
    expected = [
        client_draws(task.seed, int(u), task.positives(u), N, training, task.known(u))
        for u in clients
    ]
    for number in range(training.user_epochs + training.local_epochs):
        if number == training.user_epochs:
            owner, items = draws.virtual()
            assert len(owner) == len(items)
        drawn = draws.next_pass()
        ends = np.cumsum(drawn.lengths)
        assert len(drawn.items) == ends[-1]
        for place, epochs in enumerate(expected):
            mine = slice(ends[place] - drawn.lengths[place], ends[place])
            assert np.array_equal(drawn.items[mine].numpy(), epochs[number].items)
            labels = drawn.labels[mine].numpy()
            assert np.array_equal(labels, epochs[number].labels, equal_nan=True)


@given(training=TRAINING, seed=st.integers(-(2**63), 2**63 - 1), items=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_they_are_those_of_the_compiled_path(
    training: TrainingSettings, seed: int, items: int
) -> None:
    rng = np.random.default_rng(abs(seed))
    data = random_clients(rng, 6, items)
    assert_same(task_of(data, items, training, seed), rng.permutation(6))


@pytest.mark.parametrize("ahead", [1, 2**22])
def test_clients_with_nearly_every_item_are_drawn_for_in_little_memory(
    monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Of their numbers nearly all are refused."""
    monkeypatch.setattr(draws_torch, "AHEAD", ahead)
    most = 0
    numbers = DeviceDraws._numbers

    def counted(self: DeviceDraws, lengths: np.ndarray):  # type: ignore[no-untyped-def]
        nonlocal most
        most = max(most, int(lengths.sum()))
        return numbers(self, lengths)

    monkeypatch.setattr(DeviceDraws, "_numbers", counted)
    data = csr([list(range(1, 50)), list(range(50)), [7], list(range(48))])
    training = TrainingSettings(negatives=2, virtual_share=0.02)
    assert_same(task_of(data, 50, training, 3), np.arange(4))
    if ahead == 1:  # what is needed, two for each of 148 interactions, and little more
        assert most <= 2 * 148 + 4
    else:
        assert most > 49 * 2 * 50 / 2


def test_long_lists_are_shuffled_in_few_rounds() -> None:
    """Swaps of one list wait for each other; they are not made one by one."""
    items = 20_000
    data = csr([list(range(0, items, 2)), [3, 4]])
    training = TrainingSettings(negatives=1, local_epochs=1)
    assert_same(task_of(data, items, training, 11), np.array([1, 0]))
