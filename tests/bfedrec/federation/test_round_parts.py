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
from bfedrec.federation import federation as rounds
from bfedrec.federation.federation import Federation
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
    monkeypatch.setattr(rounds, "TRAINING_PARTS", parts)
    config = load(None, [*SMALL, *IMPATIENT, *overrides])
    left: dict[int, bytes] = {}
    federation = Federation(
        config, prepare(config.data), lambda _, asked: {c: left[c] for c in asked if c in left}
    )
    federation._worker.shutdown()
    federation._worker = worker  # type: ignore[assignment]
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
