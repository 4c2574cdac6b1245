"""A cohort trains in parts beside the servers: how many there are, and when the worker gets to
them, moves no result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation import cohorts, round_training
from bfedrec.federation.federation import Federation
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import parts_for
from bfedrec.federation.unledgered import learner_alone, rounds_of
from tests.bfedrec.runs.test_simulation import SMALL

ROUNDS = 3
#: A quarter of the updates decides a round, and links differ so much that the last parts are not
#: waited for before the block is merged.
IMPATIENT = (
    f"rounds={ROUNDS}",
    "crypto=modelled",
    "committee.update_quota=0.25",
    "clients.spread=1.5",
    "clients.upload_mib_per_s=0.0002",
)


class _Late(Future[Any]):
    """Work that is done when its result is asked for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.set_result(self._work())
        return super().result(timeout)


class SlowWorker(Executor):
    """Runs each part at once or not before its result is asked for, as a seed decides; ``late`` is
    the number of the latter."""

    def __init__(self, seed: int | None) -> None:
        """``seed``: None to run every part at once."""
        self._generator = None if seed is None else np.random.default_rng(seed)
        self.late = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The future of ``fn(*args, **kwargs)``."""
        future = _Late(lambda: fn(*args, **kwargs))
        if self._generator is not None and self._generator.random() < 0.7:
            self.late += 1
        else:
            future.result()
        return future


def learnt(
    monkeypatch: pytest.MonkeyPatch, parts: int, worker: Executor, *overrides: str
) -> tuple[str, str, str]:
    """Digests of P and Q, and the chain's head, after some rounds in so many parts."""
    monkeypatch.setattr(cohorts, "TRAINING_PARTS", parts)
    config = load(None, [*SMALL, *IMPATIENT, *overrides])
    left: dict[int, bytes] = {}
    federation = Federation(
        config, prepare(config.data), lambda _, asked: {c: left[c] for c in asked if c in left}
    )
    federation.cohorts.thread.shutdown()
    federation.cohorts.thread = worker
    for _ in range(ROUNDS):
        played = federation.play_round()
        left |= played.residuals
        assert len(played.result.updates) < len(played.clients)
    learner = federation.learner
    P, Q = (hashlib.sha256(array.tobytes()).hexdigest() for array in (learner.P, learner.Q))
    return P, Q, federation.world.head.cid.hex()


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_worker_changes_nothing(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    words = (f"seed={seed}", f"model.basis={('seeded', 'svd')[seed % 2]}")
    slow = SlowWorker(seed)
    whole = learnt(monkeypatch, 1, SlowWorker(None), *words)
    assert learnt(monkeypatch, 4, slow, *words) == whole
    assert slow.late > 0


def test_nor_with_error_feedback(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("compression.kind=top_k", "compression.size=1", "compression.error_feedback=true")
    slow = SlowWorker(1)
    whole = learnt(monkeypatch, 1, SlowWorker(None), *words)
    assert learnt(monkeypatch, 4, slow, *words) == whole
    assert slow.late > 0


def test_a_cohort_that_does_not_fit_is_written_out_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a ledger and without one: at no time are more updates written out than fit."""
    config = load(None, [*SMALL, *IMPATIENT])
    data = prepare(config.data)
    size = data.items * (4 * config.model.rank + 1)
    most: list[int] = []
    trained = Learner.trained

    def noted(self: Learner, height: int, clients: np.ndarray, *more: Any) -> Any:
        most.append(len(clients))
        return trained(self, height, clients, *more)

    monkeypatch.setattr(Learner, "trained", noted)
    whole = learnt(monkeypatch, 1, SlowWorker(None))
    assert max(most) == config.clients.per_round
    alone = learner_alone(config, data)
    for _ in rounds_of(alone):
        pass
    monkeypatch.setattr(round_training, "PART_BYTES", 3 * size)
    most.clear()
    assert learnt(monkeypatch, 1, SlowWorker(3)) == whole
    in_parts = learner_alone(config, data)
    for _ in rounds_of(in_parts):
        pass
    assert max(most) == 3
    assert np.array_equal(in_parts.Q, alone.Q)
    assert np.array_equal(in_parts.P, alone.P)


def test_updates_are_let_go_when_they_are_encoded() -> None:
    config = load(None, [*SMALL, *IMPATIENT])
    federation = Federation(config, prepare(config.data))
    learner, head = federation.learner, federation.world.head
    clients = learner.clients(1)
    task, P = learner.task(1, head.beacon), learner.P[clients]
    kept, uploads = federation.cohorts.train(1, head.beacon, task, None, clients, P)
    sent = federation.cohorts.sign(head, uploads)
    federation.close()
    assert all(upload.A.size == upload.touched.size == 0 for upload, _ in sent)
    assert all(len(message.payload) > 0 for _, message in sent)
    assert kept._fields == ("P", "loss")


@pytest.mark.parametrize(
    ("clients", "items", "parts"),
    [(60, 3706, 1), (1000, 100_000, 7), (3, 10**8, 3), (0, 10, 1)],
)
def test_parts_are_as_few_as_fit(clients: int, items: int, parts: int) -> None:
    assert parts_for(clients, 4, items) == parts
    if parts > 1 and clients > parts:
        size = items * 17
        assert -(-clients // parts) * size <= round_training.PART_BYTES
        assert -(-clients // (parts - 1)) * size > round_training.PART_BYTES
