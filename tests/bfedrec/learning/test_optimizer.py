"""The step on the merged update, by hand and in a genesis."""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.compression.exchange import Exchange
from bfedrec.federation.global_model import GlobalModel
from bfedrec.learning.basis import basis
from bfedrec.learning.optimizer import (
    OPTIMIZERS,
    Optimizer,
    Plain,
    Progress,
    RowAdaptive,
    optimizer_named,
)

N, D = 7, 4


def model(optimizer: Optimizer | None, every: int | None = None, rounds: int = 5) -> GlobalModel:
    Q = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    exchange = Exchange.named(aggregator_named("uniform"), "low_rank", D, N, D)
    return GlobalModel(Q, "identity", exchange, every, b"first", optimizer, rounds)


def aggregates(count: int) -> list[bytes]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((D, N)).astype("<f4").tobytes() for _ in range(count)]


@pytest.mark.parametrize("r", [0, 2])
def test_the_adaptive_step_is_the_stated_one(r: int) -> None:
    told = RowAdaptive(
        step_ppm=50_000, final_step_ppm=10_000, momentum_permille=800, memory_permille=700
    )
    rng = np.random.default_rng(2)
    B = basis("seeded", D, r, b"b") if r else np.eye(D, dtype=np.float32)
    Q = first = rng.standard_normal((N, D)).astype(np.float32)
    state: tuple[np.ndarray, ...] = tuple(np.zeros(shape) for shape in told.state_shapes(N, D))
    exact, V, s = Q.astype(np.float64), np.zeros((N, D)), np.zeros(N)
    for t in range(1, 6):
        A = rng.standard_normal((r or D, N)).astype(np.float32)
        A[:, 3] = 0  # an item that nobody moves
        Q, state = told.merged(Q, state, B, A, Progress(t, 5))
        Z = A.T @ B.T.astype(np.float64)
        V = 0.8 * V + 0.2 * Z
        s = 0.7 * s + 0.3 * (Z**2).mean(axis=1)
        h = 0.05 + (0.01 - 0.05) * (t - 1) / 4
        exact += h / (1 - 0.8**t) * V / (np.sqrt(s / (1 - 0.7**t)) + 1e-8)[:, None]
        assert pytest.approx(exact, abs=1e-5) == Q
        assert pytest.approx(V, abs=1e-5) == state[0]
    assert np.array_equal(Q[3], first[3])
    assert Q.dtype == state[0].dtype == state[1].dtype == np.float32


def test_a_step_falls_to_its_last_value_and_stays() -> None:
    assert [Progress(t, 5).falling(4.0, 0.0) for t in (1, 2, 5, 9)] == [4.0, 3.0, 0.0, 0.0]
    assert Progress(1, 1).falling(4.0, 0.0) == 4.0


def test_what_is_given_stays_as_it_is() -> None:
    told, A = RowAdaptive(), np.ones((D, N), np.float32)
    Q, V, s = np.ones((N, D), np.float32), np.ones((N, D), np.float32), np.ones(N, np.float32)
    told.merged(Q, (V, s), np.eye(D, dtype=np.float32), A, Progress(2, 5))
    assert all((array == 1).all() for array in (Q, V, s, A))


def test_the_genesis_rebuilds_the_optimizer_and_its_state_follows_from_the_blocks() -> None:
    one = model(RowAdaptive(step_ppm=30_000, memory_permille=998))
    other = GlobalModel.from_genesis(one.describe(), one.encode(), b"first")
    assert other.optimizer == one.optimizer
    assert other.rounds == 5
    for height, aggregate in enumerate(aggregates(4), 1):
        one.commit(height, b"beacon", aggregate)
        other.commit(height, b"beacon", aggregate)
    assert one.Q.tobytes() == other.Q.tobytes()
    assert [array.tobytes() for array in one.state] == [array.tobytes() for array in other.state]
    assert any(array.any() for array in one.state)


def test_a_snapshot_holds_what_a_returning_client_needs() -> None:
    told = model(RowAdaptive(), every=2)
    sent = aggregates(3)
    told.commit(1, b"", sent[0])
    assert told.snapshot(1, b"", sent[0]) is None
    whole = told.snapshot(2, b"", sent[1])
    told.commit(2, b"", sent[1])
    assert whole is not None
    assert len(whole) == told.snapshot_size == 4 * (2 * N * D + N)
    Q, V, s = np.split(np.frombuffer(whole, "<f4"), [N * D, 2 * N * D])
    back = model(RowAdaptive(), every=2)
    back.Q, back.state = Q.reshape(N, D), (V.reshape(N, D), s)
    for each in (told, back):
        each.commit(3, b"", sent[2])
    assert back.Q.tobytes() == told.Q.tobytes()
    assert model(None, every=2).snapshot_size == 4 * N * D


def test_a_plain_model_describes_itself_as_ever() -> None:
    assert "optimizer" not in model(None).describe()
    assert "optimizer" not in model(Plain()).describe()


GOOD = {"kind": "row_adaptive", "rounds": 5, "parameters": RowAdaptive().parameters}


@pytest.mark.parametrize(
    "told",
    [
        None,
        7,
        {},
        GOOD | {"kind": "adam"},
        GOOD | {"kind": 7},
        GOOD | {"rounds": 0},
        GOOD | {"rounds": 2**31},
        GOOD | {"rounds": True},
        GOOD | {"rounds": 1.5},
        GOOD | {"parameters": None},
        GOOD | {"parameters": {}},
        GOOD | {"parameters": RowAdaptive().parameters | {"more": 1}},
        GOOD | {"parameters": RowAdaptive().parameters | {"memory_permille": 1000}},
        GOOD | {"parameters": RowAdaptive().parameters | {"memory_permille": 0.5}},
    ],
)
def test_a_genesis_with_another_optimizer_is_refused(told: object) -> None:
    one = model(None)
    with pytest.raises(ValueError, match=r"optimizer|memory_permille|rounds"):
        GlobalModel.from_genesis(one.describe() | {"optimizer": told}, one.encode(), b"first")


def test_optimizers_by_name() -> None:
    assert list(OPTIMIZERS) == ["plain", "row_adaptive"]
    assert optimizer_named("plain", {}) == Plain()
    with pytest.raises(ValueError, match="takes no parameters"):
        optimizer_named("plain", {"step_ppm": 1})
